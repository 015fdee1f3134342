//! Epochs of LeNet-5 on real MNIST, data and optimiser included: every engine, algorithm and level, on one thread and on all.
//!
//! An argument picks the ids that contain it, as in `cargo bench --bench lenet5 -- lanes`. The level `scalar` takes minutes
//! and runs only in test mode, where it is picked, or where there is no other.
//!
//! Epochs of all configurations take turns with measurements of the CPU's peak, so that ratios hold on a machine whose
//! speed drifts. Criterion is handed each epoch as a sample of its id, `lenet5/train/way/how/level`; a table of
//! medians follows.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use convlane::prelude::*;
use criterion::{Criterion, SamplingMode, Throughput};
use harness::{in_test_mode, median};

#[allow(dead_code)]
#[path = "harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "networks/mod.rs"]
mod networks;
#[path = "peak/mod.rs"]
mod peak;

/// Engines and algorithms, by the names they go by.
const WAYS: [(&str, Engine, Algorithm); 3] = [
    ("nhwc", Engine::Nhwc, Algorithm::Direct),
    ("lanes_direct", Engine::Lanes, Algorithm::Direct),
    ("lanes", Engine::Lanes, Algorithm::Auto),
];

const BATCH: usize = 256;

fn main() {
    let (train, _) = mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist")).expect("the bundled MNIST");
    let images = if in_test_mode() { 2 * BATCH + 1 } else { train.len() };
    let mut contest = Contest::new(train.take(images).expect("that many images"));

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("lenet5/train");
    group.throughput(Throughput::Elements(images as u64));
    // Criterion plans by the clock on the wall, which epochs of the past do not move: the least time makes it ask for one
    // epoch to warm up and one a sample. It warns that they take longer, as they should.
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_nanos(1)).measurement_time(Duration::from_nanos(10));
    for index in 0..contest.entrants.len() {
        let id = contest.entrants[index].id();
        group.bench_function(id, |b| b.iter_custom(|epochs| (0..epochs).map(|_| contest.epoch(index)).sum()));
    }
    group.finish();
    criterion.final_summary();
    if contest.rounds > 0 {
        println!("\n{contest}");
    }
}

/// One way to train, and what came of it.
struct Entrant {
    way: &'static str,
    level: Level,
    threads: usize,
    trainer: Trainer,
    epochs: Vec<Duration>,
    /// Epochs that criterion has not been handed yet.
    waiting: VecDeque<Duration>,
    accuracy: f64,
}

impl Entrant {
    fn new(
        model: Model,
        (way, engine, algorithm): (&'static str, Engine, Algorithm),
        level: Level,
        threads: usize,
    ) -> Self {
        let plan = PlanOptions { engine, algorithm, level, ..PlanOptions::default() };
        let config = TrainConfig { threads: Threads::Own(threads), plan };
        let trainer = Trainer::new(model, Sgd::new(0.05), config).expect("a thread pool");
        Entrant { way, level, threads, trainer, epochs: Vec::new(), waiting: VecDeque::new(), accuracy: 0.0 }
    }

    fn id(&self) -> String {
        let how = if self.threads == 1 { "serial" } else { "par" };
        format!("{}/{how}/{}", self.way, self.level)
    }

    fn is_picked(&self) -> bool {
        let pattern = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
        let by_level = self.level != Level::scalar()
            || Level::best() == Level::scalar()
            || pattern.contains("scalar")
            || in_test_mode();
        by_level && format!("lenet5/train/{}", self.id()).contains(&pattern)
    }

    fn train(&mut self, images: &Dataset) {
        let clock = Instant::now();
        let history = self.trainer.fit(images, Fit::epochs(1).batch_size(BATCH)).expect("a finite loss");
        let epoch = clock.elapsed();
        self.epochs.push(epoch);
        self.waiting.push_back(epoch);
        self.accuracy = history.epochs[0].accuracy;
    }
}

/// Entrants that take turns on the same images.
struct Contest {
    images: Dataset,
    entrants: Vec<Entrant>,
    /// By number of threads, the multiply-adds a second of each round.
    peaks: Vec<(usize, Vec<f64>)>,
    rounds: usize,
    /// Of one image's training step.
    multiply_adds: usize,
}

impl Contest {
    fn new(images: Dataset) -> Self {
        let [network, ..] = networks::networks();
        assert_eq!((network.name, network.input, network.batch), ("lenet5", images.shape(), BATCH));
        let model = network.model();
        let mut threads = vec![1, rayon::current_num_threads()];
        threads.dedup();
        let mut entrants = Vec::new();
        for way in WAYS {
            for &threads in &threads {
                entrants.extend(Level::available().map(|level| Entrant::new(model.clone(), way, level, threads)));
            }
        }
        entrants.retain(Entrant::is_picked);
        let peaks = threads.into_iter().map(|threads| (threads, Vec::new())).collect();
        let multiply_adds = network.multiply_adds();
        assert_eq!(multiply_adds, 758_520, "LeNet-5: 3 x (86,400 + 153,600 + 30,720 + 10,080 + 840) - 86,400");
        Contest { images, entrants, peaks, rounds: 0, multiply_adds }
    }

    /// The next epoch of an entrant, from a new round if need be.
    fn epoch(&mut self, entrant: usize) -> Duration {
        loop {
            if let Some(epoch) = self.entrants[entrant].waiting.pop_front() {
                return epoch;
            }
            self.round();
        }
    }

    fn round(&mut self) {
        for (threads, peaks) in &mut self.peaks {
            peaks.push(peak::measure(*threads));
        }
        for entrant in &mut self.entrants {
            entrant.train(&self.images);
        }
        self.rounds += 1;
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (images, rounds) = (self.images.len(), self.rounds);
        writeln!(f, "LeNet-5 on {images} images in batches of {BATCH}, medians of {rounds} rounds")?;
        for (threads, peaks) in &self.peaks {
            writeln!(f, "peak of {threads} threads: {:.1} G multiply-adds/s", median(peaks.clone()) / 1e9)?;
        }
        writeln!(f, "way           level   threads  s/epoch  images/s  of peak  accuracy")?;
        for Entrant { way, level, threads, epochs, accuracy, .. } in &self.entrants {
            let seconds = seconds(epochs);
            let rate = images as f64 / seconds;
            let (_, peaks) = self.peaks.iter().find(|peak| peak.0 == *threads).expect("a peak for every entrant");
            let share = 100.0 * rate * self.multiply_adds as f64 / median(peaks.clone());
            writeln!(f, "{way:12}  {level:6}  {threads:7}  {seconds:7.3}  {rate:8.0}  {share:5.1} %  {accuracy:8.4}")?;
        }
        for lanes in self.entrants.iter().filter(|entrant| entrant.way != "nhwc") {
            let (level, threads) = (lanes.level, lanes.threads);
            let same = |other: &&Entrant| other.way == "nhwc" && (other.level, other.threads) == (level, threads);
            if let Some(nhwc) = self.entrants.iter().find(same) {
                let ratio = seconds(&nhwc.epochs) / seconds(&lanes.epochs);
                writeln!(f, "nhwc / {}, {level}, threads {threads}: {ratio:.1}", lanes.way)?;
            }
        }
        Ok(())
    }
}

fn seconds(epochs: &[Duration]) -> f64 {
    median(epochs.iter().map(Duration::as_secs_f64).collect())
}
