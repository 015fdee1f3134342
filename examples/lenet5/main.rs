//! Trains LeNet-5 on MNIST, as the Keras tutorial does.

mod choices;
mod interrupt;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use choices::Choices;
use clap::{Parser, ValueEnum};
use convlane::io::{atomic, checkpoint, safetensors};
use convlane::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Trains LeNet-5 on MNIST and prints loss and accuracy.
#[derive(Parser)]
struct Options {
    /// Directory of the four MNIST files, plain or gz [default: the bundled MNIST]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training images, those before a checkpoint included
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// Images a training step [default: 256, or the checkpoint's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch_size: Option<usize>,
    /// Step length of the gradient descent [default: 0.05, or the checkpoint's]
    #[arg(long, value_name = "X", value_parser = step_length)]
    learning_rate: Option<f64>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    /// Seed of the first weights and of the order of the images [default: 42, or the checkpoint's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Whether the images are visited in another order each epoch [default: true, or the checkpoint's]
    #[arg(long, value_name = "true|false")]
    shuffle: Option<bool>,
    /// How the network is computed [default: auto, or the checkpoint's]
    #[arg(long)]
    engine: Option<EngineName>,
    /// Vector instructions: scalar, avx2 or avx512 [default: the widest of this CPU, or the checkpoint's]
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Writes loss and accuracy of every epoch
    #[arg(long, value_name = "FILE.json")]
    history: Option<PathBuf>,
    /// Starts from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// Writes all that is needed to go on, after every epoch and at Ctrl-C
    #[arg(long, value_name = "FILE.safetensors")]
    checkpoint: Option<PathBuf>,
    /// Goes on from a checkpoint, up to --epochs in all
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "weights")]
    resume: Option<PathBuf>,
    /// Writes the trained weights
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum EngineName {
    Auto,
    Nhwc,
    Lanes,
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
            eprintln!("{line}");
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match run(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    for path in [&options.save, &options.checkpoint, &options.history].into_iter().flatten() {
        atomic::check(path)?;
    }
    let bundled = || concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist").into();
    let (train, test) = mnist::load(options.data.clone().unwrap_or_else(bundled))?;

    let mut model = Sequential::new(train.shape())
        .layer(Conv2d::new(6, 5).relu())
        .layer(AvgPool2d::new(2))
        .layer(Conv2d::new(16, 5).relu())
        .layer(AvgPool2d::new(2))
        .layer(Flatten)
        .layer(Dense::new(120).relu())
        .layer(Dense::new(84).relu())
        .layer(Dense::new(train.classes()).softmax())
        .build(Seed(options.seed.unwrap_or(choices::SEED)))?;
    println!("{}", model.summary());
    if let Some(weights) = &options.weights {
        safetensors::load(&mut model, weights)?;
    }

    let checkpoint = options.resume.as_ref().map(|path| checkpoint::load(&model, path)).transpose()?;
    let saved = checkpoint.as_ref().map(|checkpoint| checkpoint.recipe.clone());
    let choices = Choices::new(options, saved.as_ref());
    let threads = options.threads.map_or(Threads::Current, Threads::Own);
    let config = TrainConfig { threads, plan: choices.plan.clone() };
    let rate = choices.learning_rate as f32;
    let mut trainer = match checkpoint {
        Some(mut checkpoint) => {
            checkpoint.recipe.sgd.learning_rate = rate;
            Trainer::resume(checkpoint, config)?
        }
        None => Trainer::new(model, Sgd::new(rate), config)?,
    };
    if let Some(saved) = saved {
        let now = trainer.recipe(&train, &choices.fit(options.epochs))?;
        saved.differences(&now).iter().for_each(|difference| eprintln!("warning: {difference}"));
    }
    let plan = trainer.plan(choices.batch_size.min(train.len()))?;
    println!("{plan}");

    interrupt::listen()?;
    let history = fit(&mut trainer, options, &choices, &train, &test)?;
    if let Some(path) = &options.history {
        let text = serde_json::to_string_pretty(&report(&trainer, &plan, options, &choices, &history))?;
        atomic::write(path, (text + "\n").as_bytes())?;
    }
    let position = trainer.position();
    if interrupt::came() && position.epochs < options.epochs {
        eprintln!("interrupted after step {} of epoch {}", position.steps, position.epochs + 1);
        return Ok(interrupt::EXIT.into());
    }

    let score = trainer.evaluate(&test)?;
    println!("test loss {:.4}  test accuracy {:.4}", score.loss(), score.accuracy());
    if let Some(path) = &options.save {
        safetensors::save(trainer.model(), path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Trains epoch by epoch, with a checkpoint after each, a progress bar, and a line an epoch.
fn fit(
    trainer: &mut Trainer,
    options: &Options,
    choices: &Choices,
    train: &Dataset,
    test: &Dataset,
) -> Result<History, Box<dyn Error>> {
    let style = "{prefix}  {bar:30} {pos}/{len} images  {per_sec}  {msg}";
    let bar = ProgressBar::new(train.len() as u64).with_style(ProgressStyle::with_template(style)?);
    let epochs = options.epochs;
    let observer = |event| {
        match event {
            Event::Batch(progress) => {
                let prefix = format!("epoch {}/{epochs}", progress.epoch);
                if bar.prefix() != prefix {
                    bar.reset();
                    bar.set_prefix(prefix);
                }
                bar.set_message(format!("loss {:.4}  accuracy {:.4}", progress.loss, progress.accuracy));
                bar.set_position(progress.samples as u64);
            }
            Event::Epoch(epoch) => bar.suspend(|| println!("{}", line(&epoch, epochs))),
            _ => {}
        }
        if interrupt::came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut history = History::default();
    loop {
        let next = epochs.min(trainer.position().epochs + 1);
        let fitted = trainer.fit(train, choices.fit(next).validation(test).observer(observer));
        history.epochs.extend(fitted.inspect_err(|_| bar.finish_and_clear())?.epochs);
        if let Some(path) = &options.checkpoint {
            checkpoint::save(&trainer.checkpoint()?, path)?;
        }
        if trainer.position().epochs >= epochs || interrupt::came() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(history)
}

fn line(epoch: &Epoch, epochs: usize) -> String {
    let Epoch { epoch, loss, accuracy, val_loss, val_accuracy, seconds } = *epoch;
    let [val_loss, val_accuracy] = [val_loss, val_accuracy].map(|value| value.unwrap_or(f64::NAN));
    format!(
        "epoch {epoch}/{epochs}  loss {loss:.4}  accuracy {accuracy:.4}  val_loss {val_loss:.4}  \
         val_accuracy {val_accuracy:.4}  {seconds:.2} s"
    )
}

fn report(
    trainer: &Trainer,
    plan: &Plan,
    options: &Options,
    choices: &Choices,
    history: &History,
) -> serde_json::Value {
    let epochs = history.epochs.iter().map(|epoch| {
        json!({
            "epoch": epoch.epoch,
            "loss": epoch.loss,
            "accuracy": epoch.accuracy,
            "val_loss": epoch.val_loss,
            "val_accuracy": epoch.val_accuracy,
            "seconds": epoch.seconds,
        })
    });
    json!({
        "options": {
            "data": options.data,
            "epochs": options.epochs,
            "batch_size": choices.batch_size,
            "learning_rate": choices.learning_rate,
            "seed": choices.seed,
            "shuffle": choices.shuffle,
            "weights": options.weights,
            "resume": options.resume,
        },
        "engine": plan.engine().to_string(),
        "level": plan.level().to_string(),
        "threads": trainer.threads(),
        "epochs": epochs.collect::<Vec<_>>(),
    })
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Auto => Engine::Auto,
            EngineName::Nhwc => Engine::Nhwc,
            EngineName::Lanes => Engine::Lanes,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1, got 0".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        threads if threads > Threads::MAX => Err(format!("at most {}, got {threads}", Threads::MAX)),
        threads => Ok(threads),
    }
}

fn step_length(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate >= 0.0 && (rate as f32).is_finite() => Ok(rate),
        Ok(rate) => Err(format!("must be finite and at least 0, got {rate}")),
        Err(error) => Err(error.to_string()),
    }
}

fn level(name: &str) -> Result<Level, String> {
    let level = match name {
        "scalar" => Some(Level::scalar()),
        "avx2" => Level::avx2(),
        "avx512" => Level::avx512(),
        _ => return Err("expected scalar, avx2 or avx512".into()),
    };
    level.ok_or_else(|| "this CPU has no such instructions".into())
}
