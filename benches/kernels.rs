//! Every kernel, forward and backward: the reference in `f64`, then each level on one thread and on all.
//!
//! Ids are `op/pass/case/how/level`. Throughput counts what the formula needs: two operations a multiply-add for
//! convolutions and dense layers, so that Gelem/s reads as GFLOP/s, and the bytes of inputs and outputs for all others.

use std::time::Duration;

use convlane::Level;
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, cast, update};
use convlane::layer::Activation;
use convlane::optim::Sgd;
use convlane::reference;
use convlane::rng::{Rng, Seed};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use geometry::Case;

#[allow(dead_code)]
#[path = "../tests/support/geometry.rs"]
mod geometry;

/// Samples of a run; the reference is slow and gets few.
const SAMPLES: usize = 64;
const FEW: usize = 2;

/// A kernel on one thread or its twin on all.
type Run<'a> = Box<dyn FnMut(Level) + Send + 'a>;

/// Runs one pass in every way.
fn pass<T>(c: &mut Criterion, id: &str, work: u64, bytes: bool, reference: impl Fn() -> T, ways: [Run<'_>; 2]) {
    let mut group = c.benchmark_group(id);
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
    let throughput = |n: usize| {
        let work = work * n as u64;
        if bytes { Throughput::Bytes(work) } else { Throughput::Elements(work) }
    };
    group.throughput(throughput(FEW)).bench_function("reference/f64", |b| b.iter(&reference));
    group.throughput(throughput(SAMPLES));
    for (how, mut run) in ["serial", "par"].into_iter().zip(ways) {
        for level in Level::available() {
            // From inside the pool, as training does: entering it costs more than many a kernel.
            let run = &mut run;
            group.bench_function(format!("{how}/{level}"), |b| rayon::scope(|_| b.iter(|| run(level))));
        }
    }
}

/// Bytes of so many `f32`.
fn floats(len: usize) -> u64 {
    (len * size_of::<f32>()) as u64
}

fn pick<S>(cases: Vec<Case<S>>, names: &[&str]) -> Vec<Case<S>> {
    assert!(names.iter().all(|name| cases.iter().any(|case| case.name == *name)), "no such case among {names:?}");
    cases.into_iter().filter(|case| names.contains(&case.name)).collect()
}

fn random(len: usize) -> Vec<f32> {
    let mut rng = Rng::new(Seed(1), len as u64);
    (0..len).map(|_| rng.symmetric(1.0)).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn conv2d(c: &mut Criterion) {
    let names = ["lenet1", "lenet2", "one_by_one", "channels_32_33", "channels_64_64", "depthwise"];
    for Case { name, shape, .. } in pick(geometry::conv2d(), &names) {
        let (x_len, y_len) = (shape.x_len(), shape.y_len());
        let (x, dy) = (random(SAMPLES * x_len), random(SAMPLES * y_len));
        let (w, b) = (random(shape.w_len()), random(shape.out_c()));
        let (x64, dy64, w64, b64) = (wide(&x[..FEW * x_len]), wide(&dy[..FEW * y_len]), wide(&w), wide(&b));
        let flops = 2 * shape.multiply_adds() as u64;
        let scratch = || (vec![0.0; conv2d::scratch_len(&shape)], vec![0.0; conv2d::par::scratch_len(&shape, SAMPLES)]);

        let ((mut one, mut all), mut y, mut y2) = (scratch(), dy.clone(), dy.clone());
        pass(
            c,
            &format!("conv2d/forward/{name}"),
            flops,
            false,
            || reference::conv2d::forward(&shape, FEW, &x64, &w64, Some(&b64)),
            [
                Box::new(|level| conv2d::forward(level, &shape, SAMPLES, &x, &w, Some(&b), &mut y, &mut one)),
                Box::new(|level| conv2d::par::forward(level, &shape, SAMPLES, &x, &w, Some(&b), &mut y2, &mut all)),
            ],
        );
        let ((mut one, mut all), mut dx, mut dx2) = (scratch(), x.clone(), x.clone());
        pass(
            c,
            &format!("conv2d/backward_input/{name}"),
            flops,
            false,
            || reference::conv2d::backward_input(&shape, FEW, &dy64, &w64),
            [
                Box::new(|level| conv2d::backward_input(level, &shape, SAMPLES, &dy, &w, &mut dx, &mut one)),
                Box::new(|level| conv2d::par::backward_input(level, &shape, SAMPLES, &dy, &w, &mut dx2, &mut all)),
            ],
        );
        let ((mut one, mut all), mut dw, mut dw2) = (scratch(), w.clone(), w.clone());
        pass(
            c,
            &format!("conv2d/backward_params/{name}"),
            flops,
            false,
            || reference::conv2d::backward_params(&shape, FEW, &x64, &dy64),
            [
                Box::new(|level| conv2d::backward_params(level, &shape, SAMPLES, &x, &dy, &mut dw, None, &mut one)),
                Box::new(|level| {
                    conv2d::par::backward_params(level, &shape, SAMPLES, &x, &dy, &mut dw2, None, &mut all);
                }),
            ],
        );
    }
}

fn dense(c: &mut Criterion) {
    for Case { name, shape, .. } in pick(geometry::dense(), &["lenet1", "lenet2", "lenet3"]) {
        let (x, dy) = (random(SAMPLES * shape.inputs()), random(SAMPLES * shape.outputs()));
        let (w, b) = (random(shape.w_len()), random(shape.outputs()));
        let (x64, dy64) = (wide(&x[..FEW * shape.inputs()]), wide(&dy[..FEW * shape.outputs()]));
        let (w64, b64) = (wide(&w), wide(&b));
        let flops = 2 * shape.w_len() as u64;

        let [mut y, mut y2] = [dy.clone(), dy.clone()];
        pass(
            c,
            &format!("dense/forward/{name}"),
            flops,
            false,
            || reference::dense::forward(&shape, FEW, &x64, &w64, Some(&b64)),
            [
                Box::new(|level| dense::forward(level, &shape, SAMPLES, &x, &w, Some(&b), &mut y)),
                Box::new(|level| dense::par::forward(level, &shape, SAMPLES, &x, &w, Some(&b), &mut y2)),
            ],
        );
        let [mut dx, mut dx2] = [x.clone(), x.clone()];
        pass(
            c,
            &format!("dense/backward_input/{name}"),
            flops,
            false,
            || reference::dense::backward_input(&shape, FEW, &dy64, &w64),
            [
                Box::new(|level| dense::backward_input(level, &shape, SAMPLES, &dy, &w, &mut dx)),
                Box::new(|level| dense::par::backward_input(level, &shape, SAMPLES, &dy, &w, &mut dx2)),
            ],
        );
        let [mut dw, mut dw2] = [w.clone(), w.clone()];
        pass(
            c,
            &format!("dense/backward_params/{name}"),
            flops,
            false,
            || reference::dense::backward_params(&shape, FEW, &x64, &dy64),
            [
                Box::new(|level| dense::backward_params(level, &shape, SAMPLES, &x, &dy, &mut dw, None)),
                Box::new(|level| dense::par::backward_params(level, &shape, SAMPLES, &x, &dy, &mut dw2, None)),
            ],
        );
    }
}

fn pool2d(c: &mut Criterion) {
    for Case { name, shape, .. } in pick(geometry::pool2d(), &["lenet1", "lenet2", "single_sample"]) {
        let (x, dy) = (random(SAMPLES * shape.x_len()), random(SAMPLES * shape.y_len()));
        let (x64, dy64) = (wide(&x[..FEW * shape.x_len()]), wide(&dy[..FEW * shape.y_len()]));
        let bytes = floats(shape.x_len() + shape.y_len());
        let mut max = dy.clone();
        max_pool2d::forward(Level::best(), &shape, SAMPLES, &x, &mut max);
        let (mut ys, mut dxs) = ([(); 4].map(|()| dy.clone()), [(); 4].map(|()| x.clone()));
        let ([y, y2, y3, y4], [dx, dx2, dx3, dx4]) = (&mut ys, &mut dxs);

        pass(
            c,
            &format!("avg_pool2d/forward/{name}"),
            bytes,
            true,
            || reference::avg_pool2d::forward(&shape, FEW, &x64),
            [
                Box::new(|level| avg_pool2d::forward(level, &shape, SAMPLES, &x, y)),
                Box::new(|level| avg_pool2d::par::forward(level, &shape, SAMPLES, &x, y2)),
            ],
        );
        pass(
            c,
            &format!("avg_pool2d/backward/{name}"),
            bytes,
            true,
            || reference::avg_pool2d::backward(&shape, FEW, &dy64),
            [
                Box::new(|level| avg_pool2d::backward(level, &shape, SAMPLES, &dy, dx)),
                Box::new(|level| avg_pool2d::par::backward(level, &shape, SAMPLES, &dy, dx2)),
            ],
        );
        pass(
            c,
            &format!("max_pool2d/forward/{name}"),
            bytes,
            true,
            || reference::max_pool2d::forward(&shape, FEW, &x64),
            [
                Box::new(|level| max_pool2d::forward(level, &shape, SAMPLES, &x, y3)),
                Box::new(|level| max_pool2d::par::forward(level, &shape, SAMPLES, &x, y4)),
            ],
        );
        pass(
            c,
            &format!("max_pool2d/backward/{name}"),
            2 * bytes,
            true,
            || reference::max_pool2d::backward(&shape, FEW, &x64, &dy64),
            [
                Box::new(|level| max_pool2d::backward(level, &shape, SAMPLES, &x, &max, &dy, dx3)),
                Box::new(|level| max_pool2d::par::backward(level, &shape, SAMPLES, &x, &max, &dy, dx4)),
            ],
        );
    }
}

/// Activations in place, forward again and again on their own output: the time does not depend on the values.
fn activations(c: &mut Criterion) {
    const CHANNELS: usize = 10;
    const LEN: usize = 1000 * CHANNELS;
    for function in [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Softmax] {
        let name = format!("{function:?}").to_lowercase();
        let x = random(SAMPLES * LEN);
        let x64 = wide(&x[..FEW * LEN]);
        let [mut y, mut y2, mut dy, mut dy2] = [(); 4].map(|()| x.clone());
        pass(
            c,
            &format!("activation/forward/{name}"),
            floats(2 * LEN),
            true,
            || reference::activation::forward(function, CHANNELS, &x64),
            [
                Box::new(|level| activation::forward(level, function, CHANNELS, &mut y)),
                Box::new(|level| activation::par::forward(level, function, CHANNELS, &mut y2)),
            ],
        );
        pass(
            c,
            &format!("activation/backward/{name}"),
            floats(3 * LEN),
            true,
            || reference::activation::backward(function, CHANNELS, &x64, &x64),
            [
                Box::new(|level| activation::backward(level, function, CHANNELS, &x, &mut dy)),
                Box::new(|level| activation::par::backward(level, function, CHANNELS, &x, &mut dy2)),
            ],
        );
    }
}

fn cross_entropy(c: &mut Criterion) {
    const CLASSES: usize = 10;
    const ROWS: usize = 100;
    let logits = random(SAMPLES * ROWS * CLASSES);
    let labels: Vec<u32> = (0..SAMPLES * ROWS).map(|row| (row % CLASSES) as u32).collect();
    let few = FEW * ROWS;
    let logits64 = wide(&logits[..few * CLASSES]);
    let one_hot: Vec<f64> =
        (0..few).flat_map(|row| (0..CLASSES).map(move |class| f64::from(class == row % CLASSES))).collect();
    let targets = Targets::Sparse(&labels);
    let [mut losses, mut losses2] = [(); 2].map(|()| vec![0.0; SAMPLES * ROWS]);
    let [mut dz, mut dz2] = [(); 2].map(|()| logits.clone());
    pass(
        c,
        "cross_entropy/forward/classes_10",
        floats(ROWS * (CLASSES + 2)),
        true,
        || reference::cross_entropy::forward(CLASSES, &logits64, &one_hot),
        [
            Box::new(|level| cross_entropy::forward(level, CLASSES, &logits, targets, &mut losses)),
            Box::new(|level| cross_entropy::par::forward(level, CLASSES, &logits, targets, &mut losses2)),
        ],
    );
    pass(
        c,
        "cross_entropy/backward/classes_10",
        floats(ROWS * (2 * CLASSES + 1)),
        true,
        || reference::cross_entropy::backward(CLASSES, &logits64, &one_hot, 1.0),
        [
            Box::new(|level| cross_entropy::backward(level, CLASSES, &logits, targets, 1.0, &mut dz)),
            Box::new(|level| cross_entropy::par::backward(level, CLASSES, &logits, targets, 1.0, &mut dz2)),
        ],
    );
}

/// Kernels that have no `par` twin, since the plan cuts their work itself.
fn serial(c: &mut Criterion) {
    const LEN: usize = 44_426;
    let (dw, bytes) = (random(LEN), vec![7u8; LEN]);
    let sgd = Sgd::new(1e-3).momentum(0.9);
    let (mut w, mut v, mut x) = (dw.clone(), dw.clone(), dw.clone());
    let runs: [(&str, u64, Run<'_>); 2] = [
        ("update/sgd/lenet5", floats(5 * LEN), Box::new(|level| update::sgd(level, &sgd, &dw, &mut w, &mut v))),
        (
            "cast/scale_u8/lenet5",
            floats(LEN) + LEN as u64,
            Box::new(|level| cast::scale_u8(level, 1.0 / 255.0, &bytes, &mut x)),
        ),
    ];
    for (id, work, mut run) in runs {
        let mut group = c.benchmark_group(id);
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
        group.throughput(Throughput::Bytes(work));
        for level in Level::available() {
            let run = &mut run;
            group.bench_function(format!("serial/{level}"), |b| b.iter(|| run(level)));
        }
    }
}

criterion_group!(benches, conv2d, dense, pool2d, activations, cross_entropy, serial);
criterion_main!(benches);
