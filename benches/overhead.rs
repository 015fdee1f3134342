//! What a training step costs beside its arithmetic: on a network of almost none, and as batches and channels grow.
//!
//! Ids are `overhead/case/engine/how/level`. Every step is taken inside a pool, as those of a fit are.

use std::time::Duration;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use convlane::rng::Rng;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use networks::{Network, networks};

#[allow(dead_code)] // There are no epochs here, so that nobody asks for their number of images.
#[path = "networks/mod.rs"]
mod networks;

/// Of the one-convolution networks.
const SIDE: usize = 16;

criterion_group!(benches, overhead);
criterion_main!(benches);

fn overhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("overhead");
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500)).sample_size(20);

    let layers = vec![Flatten.into(), Dense::new(2).softmax().into()];
    let least = network("least", Shape::hwc(1, 1, 1), layers, 16);
    for engine in [Engine::Nhwc, Engine::Lanes] {
        for threads in [1, 2] {
            for level in Level::available().filter(|&level| level != Level::scalar()) {
                step(&mut group, "step", &least, engine, threads, level);
            }
        }
    }

    let [lenet5, ..] = networks();
    assert_eq!(lenet5.name, "lenet5");
    for batch in [16, 32, 64, 128, 256, 512] {
        let lenet5 = Network { batch, ..lenet5.clone() };
        for threads in [1, 2] {
            step(&mut group, &format!("lenet5_batch_{batch}"), &lenet5, Engine::Lanes, threads, Level::best());
        }
    }

    for channels in [1, 2, 4, 8, 16, 32, 64] {
        let convolution = Conv2d::new(channels, 3).same();
        let layers = vec![convolution.into(), Flatten.into(), Dense::new(10).softmax().into()];
        let network = network("one convolution", Shape::hwc(SIDE, SIDE, channels), layers, 64);
        step(&mut group, &format!("channels_{channels}"), &network, Engine::Lanes, 1, Level::best());
    }
    group.finish();
}

fn network(name: &'static str, input: Shape, layers: Vec<Layer>, batch: usize) -> Network {
    Network { name, input, layers, batch, images: batch }
}

/// A training step on a batch of noise, again and again.
fn step(
    group: &mut BenchmarkGroup<'_, WallTime>,
    case: &str,
    network: &Network,
    engine: Engine,
    threads: usize,
    level: Level,
) {
    let options = PlanOptions { engine, level, ..PlanOptions::default() };
    let plan = Plan::new(network.input, &network.layers, network.batch, &options).expect("the layers fit each other");
    let mut rng = Rng::new(Seed(1), 0);
    let values: Vec<u8> = (0..network.batch * plan.x_len()).map(|_| rng.below(256) as u8).collect();
    let labels: Vec<u32> = (0..network.batch).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
    let x = Samples::all(Pixels::U8 { values: &values, scale: 1.0 / 255.0 });
    // So slow that no number of steps moves the parameters to where numbers are of another kind.
    let (sgd, mut params) = (Sgd::new(1e-9), network.model().params().to_vec());

    let how = if threads == 1 { "serial" } else { "par" };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    let mut worker = pool.install(|| plan.worker());
    group.throughput(Throughput::Elements(network.batch as u64));
    group.bench_function(format!("{case}/{engine}/{how}/{level}"), |b| {
        pool.install(|| {
            b.iter(|| {
                let score = plan.train_step(&mut params, &mut [], &sgd, x, Targets::Sparse(&labels), &mut worker);
                score.expect("a checked batch").loss_sum
            })
        })
    });
}
