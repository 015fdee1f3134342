//! What it costs to stop and to go on: sizes of files, the times to write and to read them, and short epochs after each of
//! which training is resumed from a file, in turns with epochs run through. LeNet-5 on MNIST, on all threads.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use convlane::io::{checkpoint, safetensors};
use convlane::prelude::*;
use harness::{in_test_mode, median, microseconds};

#[path = "harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "networks/mod.rs"]
mod networks;

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist");
const BATCH: usize = 256;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let (images, epochs, rounds) = if in_test_mode() { (2 * BATCH + 1, 2, 1) } else { (6000, 10, 9) };
    let [network, ..] = networks::networks();
    let (all, _) = mnist::load(MNIST)?;
    let train = all.take(images)?;
    let columns = [Sgd::new(0.05), Sgd::new(0.05).momentum(0.9)]
        .map(|sgd| Training { model: network.model(), sgd, train: &train, epochs }.measured(rounds));
    let [sgd, momentum] = columns;
    println!("{:48}  {:>9}  {:>9}", format!("{}, epochs of {images} images", network.name), "SGD", "momentum");
    for ((what, sgd), (_, momentum)) in sgd?.into_iter().zip(momentum?) {
        println!("{what:48}  {sgd:>9}  {momentum:>9}");
    }

    let checksum = |_| all.take(all.len()).map_err(Into::into).and_then(|samples| milliseconds(|| Ok(samples.crc32())));
    let checksum = median((0..rounds).map(checksum).collect::<Result<_, Failure>>()?);
    let read = median((0..rounds).map(|_| milliseconds(|| Ok(mnist::load(MNIST)?))).collect::<Result<_, _>>()?);
    println!("all of MNIST: {read:.1} ms to read them from .gz files, {checksum:.1} ms for their checksum");
    Ok(())
}

/// A training of some epochs from the start.
struct Training<'a> {
    model: Model,
    sgd: Sgd,
    train: &'a Dataset,
    epochs: usize,
}

impl Training<'_> {
    fn measured(&self, rounds: usize) -> Result<Vec<(String, String)>, Failure> {
        let [weights, state] = ["weights", "state"].map(file);
        let mut trainer = self.trainer()?;
        self.fit(&mut trainer, 1)?;
        safetensors::save(trainer.model(), &weights)?;
        let taken = trainer.checkpoint()?;
        let take = microseconds(&mut || drop(trainer.checkpoint().expect("a fit before")));
        let save = microseconds(&mut || checkpoint::save(&taken, &state).expect("a file that can be written"));
        let load = microseconds(&mut || drop(checkpoint::load(&self.model, &state).expect("the file just written")));
        let sizes = [fs::metadata(&weights)?.len(), fs::metadata(&state)?.len()];

        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            whole.push(milliseconds(|| self.run_through())?);
            parts.push(milliseconds(|| self.run_in_parts(&state))?);
        }
        let (whole, parts) = (median(whole), median(parts));
        let epochs = self.epochs;
        fs::remove_file(weights)?;
        fs::remove_file(state)?;
        let (stop, tenths) = ((parts - whole) / epochs as f64, |number: f64| format!("{number:.1}"));
        let rows = [
            ("file of weights, bytes".to_owned(), sizes[0].to_string()),
            ("file of a checkpoint, bytes".to_owned(), sizes[1].to_string()),
            ("taking a checkpoint, us".to_owned(), tenths(take)),
            ("saving it, us".to_owned(), tenths(save)),
            ("loading it, us".to_owned(), tenths(load)),
            (format!("{epochs} epochs in one go, ms"), tenths(whole)),
            (format!("{epochs} epochs, saved and resumed after each, ms"), tenths(parts)),
            ("a stop, ms".to_owned(), tenths(stop)),
        ];
        Ok(rows.into())
    }

    fn trainer(&self) -> convlane::Result<Trainer> {
        Trainer::new(self.model.clone(), self.sgd, TrainConfig::default())
    }

    fn fit(&self, trainer: &mut Trainer, epochs: usize) -> convlane::Result<History> {
        trainer.fit(self.train, Fit::until(epochs).batch_size(BATCH))
    }

    fn run_through(&self) -> Result<(), Failure> {
        self.fit(&mut self.trainer()?, self.epochs)?;
        Ok(())
    }

    fn run_in_parts(&self, file: &PathBuf) -> Result<(), Failure> {
        let mut trainer = self.trainer()?;
        for epoch in 1..=self.epochs {
            self.fit(&mut trainer, epoch)?;
            checkpoint::save(&trainer.checkpoint()?, file)?;
            trainer = Trainer::resume(checkpoint::load(&self.model, file)?, TrainConfig::default())?;
        }
        Ok(())
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-checkpoint-{name}.safetensors"))
}

fn milliseconds<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<f64, Failure> {
    let clock = Instant::now();
    let result = run()?;
    let time = clock.elapsed();
    drop(result);
    Ok(1e3 * time.as_secs_f64())
}
