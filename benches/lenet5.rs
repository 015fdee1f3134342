//! Epochs of LeNet-5 on real MNIST: images a second, and the share of the CPU's FMA peak measured in the same run.
//!
//! Configurations take turns epoch by epoch, so that their ratios hold on a machine whose speed drifts; every epoch is
//! criterion's sample too. Ids are `lenet5/epoch/batch_256/engine-threads/level`.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use convlane::prelude::*;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

#[path = "peak/mod.rs"]
mod peak;

/// Multiply-adds of a training step an image: 281,640 forward, as many for the parameter gradients, and for the input
/// gradients as many without the first layer's, which nobody needs: 758,520.
const STEP_MULTIPLY_ADDS: usize = 3 * (86_400 + 153_600 + 30_720 + 10_080 + 840) - 86_400;

const BATCH: usize = 256;

/// One way to train.
struct Configuration {
    id: String,
    threads: usize,
    level: Level,
    trainer: Trainer,
    seconds: RefCell<Vec<f64>>,
}

impl Configuration {
    fn new(engine: Engine, level: Level, threads: usize, shape: Shape) -> Self {
        let model = Sequential::new(shape)
            .layer(Conv2d::new(6, 5).relu())
            .layer(AvgPool2d::new(2))
            .layer(Conv2d::new(16, 5).relu())
            .layer(AvgPool2d::new(2))
            .layer(Flatten)
            .layer(Dense::new(120).relu())
            .layer(Dense::new(84).relu())
            .layer(Dense::new(10).softmax())
            .build(Seed(42))
            .expect("LeNet-5 fits MNIST");
        let plan = PlanOptions { engine, level, ..PlanOptions::default() };
        let config = TrainConfig { threads: Threads::Own(threads), plan };
        let trainer = Trainer::new(model, Sgd::new(0.05), config).expect("a thread pool");
        Configuration {
            id: format!("{engine}-{threads}/{level}"),
            threads,
            level,
            trainer,
            seconds: RefCell::default(),
        }
    }

    /// Trains an epoch; its seconds are those of the fit, data and optimiser included.
    fn epoch(&mut self, train: &Dataset) -> f64 {
        let start = Instant::now();
        self.trainer.fit(train, Fit::epochs(1).batch_size(BATCH)).expect("a finite loss");
        start.elapsed().as_secs_f64()
    }
}

fn main() {
    let test_mode = std::env::args().any(|arg| arg == "--test");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist");
    let (train, _) = mnist::load(data).expect("the bundled MNIST");
    let train = if test_mode { train.take(BATCH + 10).expect("that many images") } else { train };

    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if all > 1 { vec![1, all] } else { vec![1] };
    let mut configurations = Vec::new();
    for &threads in &threads {
        configurations
            .extend(Level::available().map(|level| Configuration::new(Engine::Nhwc, level, threads, train.shape())));
    }

    let rounds = if test_mode { 1 } else { 7 };
    let mut peaks: Vec<Vec<f64>> = vec![Vec::new(); threads.len()];
    for configuration in &mut configurations {
        configuration.epoch(&train.take(BATCH).expect("a batch"));
    }
    for _ in 0..rounds {
        for (peak, &threads) in peaks.iter_mut().zip(&threads) {
            peak.push(peak::multiply_adds_per_second(threads, if test_mode { 0.01 } else { 0.3 }));
        }
        for configuration in &mut configurations {
            let seconds = configuration.epoch(&train);
            configuration.seconds.borrow_mut().push(seconds);
        }
    }

    report_to_criterion(&configurations, train.len());
    if !test_mode {
        print_table(&configurations, &threads, &peaks, train.len());
    }
}

/// Hands criterion the epochs measured above, each as a sample.
fn report_to_criterion(configurations: &[Configuration], images: usize) {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("lenet5/epoch/batch_256");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_nanos(1));
    group.throughput(Throughput::Elements(images as u64));
    for configuration in configurations {
        let mut turn = configuration.seconds.borrow().clone().into_iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(&configuration.id), |b| {
            b.iter_custom(|runs| (0..runs).map(|_| Duration::from_secs_f64(turn.next().expect("an epoch"))).sum());
        });
    }
    group.finish();
    criterion.final_summary();
}

fn print_table(configurations: &[Configuration], threads: &[usize], peaks: &[Vec<f64>], images: usize) {
    println!("{:24} {:>8} {:>10} {:>10} {:>8}", "lenet5, batch 256", "threads", "s an epoch", "images/s", "of peak");
    for Configuration { id, threads: count, level, seconds, .. } in configurations {
        let seconds = median(&seconds.borrow());
        let at = threads.iter().position(|threads| threads == count).expect("a peak for every thread count");
        let rate = images as f64 / seconds;
        let share = 100.0 * rate * STEP_MULTIPLY_ADDS as f64 / median(&peaks[at]);
        let name = id.split('-').next().unwrap_or_default();
        println!("{:24} {count:>8} {seconds:>10.3} {rate:>10.0} {share:>7.1}%", format!("{name}/{level}"));
    }
    for (threads, peak) in threads.iter().zip(peaks) {
        println!("FMA peak, {threads} threads: {:.1} G multiply-adds/s", median(peak) / 1e9);
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
