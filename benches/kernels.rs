//! Every kernel, forward and backward: the reference in `f64`, then each level on one thread, on all, and on one in the
//! lanes layout, where random numbers are blocks of random samples as they are.
//!
//! Ids are `op/pass/case/how/level`. Throughput counts what the formula needs: two operations a multiply-add for
//! convolutions and dense layers, so that Gelem/s reads as GFLOP/s, and bytes read and written for all others.

use std::time::{Duration, Instant};

use convlane::Level;
use convlane::kernels::cast::{self, Pixels};
use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::lanes::winograd;
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use convlane::kernels::{activation, lanes, update};
use convlane::layer::Activation;
use convlane::optim::Sgd;
use convlane::reference;
use convlane::rng::{Rng, Seed};
use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use support::geometry::{self, Case};
use support::pass::by_block;
use support::way::{How, Way, nhwc, pick};

#[path = "../tests/support/mod.rs"]
mod support;

/// Samples of a run, whole blocks at every level; the reference is slow and gets few.
const SAMPLES: usize = 64;
const FEW: usize = 2;

/// Vectors of channels in a run of an element-wise kernel, whole blocks again.
const ROWS: usize = 4096;

/// What a pass does to one sample.
#[derive(Clone, Copy)]
enum Work {
    MultiplyAdds(usize),
    Bytes(usize),
}

impl Work {
    /// Reading or writing so many `f32`.
    fn floats(len: usize) -> Self {
        Work::Bytes(len * size_of::<f32>())
    }

    fn times(self, n: usize) -> Throughput {
        match self {
            Work::MultiplyAdds(count) => Throughput::Elements((2 * count * n) as u64),
            Work::Bytes(count) => Throughput::Bytes((count * n) as u64),
        }
    }
}

/// One pass of one operation on one case.
struct Pass<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    work: Work,
}

impl<'a> Pass<'a> {
    fn new(c: &'a mut Criterion, pass: &str, case: &str, work: Work) -> Self {
        let mut group = c.benchmark_group(format!("{pass}/{case}"));
        group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
        Pass { group, work }
    }

    fn reference<T>(mut self, n: usize, run: impl Fn() -> T + Sync) -> Self {
        self.bench(n, "reference/f64", |b| b.iter(&run));
        self
    }

    fn kernel(&mut self, n: usize, run: impl FnMut(Way) + Send) {
        self.kernel_on(Way::all(&How::ALL), n, run);
    }

    fn kernel_on(&mut self, ways: impl IntoIterator<Item = Way>, n: usize, mut run: impl FnMut(Way) + Send) {
        for way in ways {
            self.bench(n, &way.to_string(), |b| b.iter(|| run(way)));
        }
    }

    /// A kernel that changes `start`; every run is given a fresh copy, made while the clock stands.
    fn kernel_in_place(&mut self, n: usize, start: &[f32], run: impl Fn(Way, &mut [f32]) + Sync) {
        let mut y = start.to_vec();
        let mut timed = |way| {
            y.copy_from_slice(start);
            let clock = Instant::now();
            run(way, &mut y);
            clock.elapsed()
        };
        for way in Way::all(&How::ALL) {
            self.bench(n, &way.to_string(), |b| b.iter_custom(|runs| (0..runs).map(|_| timed(way)).sum()));
        }
    }

    /// Runs inside the thread pool, as training does: entering it takes longer than many a kernel.
    fn bench(&mut self, n: usize, id: &str, mut run: impl FnMut(&mut Bencher<'_, WallTime>) + Send) {
        self.group.throughput(self.work.times(n));
        self.group.bench_function(id, |b| rayon::scope(|_| run(b)));
    }
}

fn picked<S>(cases: Vec<Case<S>>, names: &[&str]) -> impl Iterator<Item = Case<S>> {
    assert!(names.iter().all(|name| cases.iter().any(|case| case.name == *name)), "a case is missing of {names:?}");
    cases.into_iter().filter(|case| names.contains(&case.name))
}

fn random<const N: usize>(lens: [usize; N]) -> [Vec<f32>; N] {
    let mut rng = Rng::new(Seed(1), 0);
    lens.map(|len| (0..len).map(|_| rng.symmetric(1.0)).collect())
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn conv2d(c: &mut Criterion) {
    let names = ["lenet1", "lenet2", "one_by_one", "channels_32_33", "channels_64_64", "depthwise"];
    for Case { name, shape, .. } in picked(geometry::conv2d(), &names) {
        let (x_len, y_len) = (shape.x_len(), shape.y_len());
        let [x, w, b, dy] = random([SAMPLES * x_len, shape.w_len(), shape.out_c(), SAMPLES * y_len]);
        let [x64, w64, b64, dy64] = [&x[..FEW * x_len], &w, &b, &dy[..FEW * y_len]].map(wide);
        let [mut dx, mut dw, mut db, mut y] = [&x, &w, &b, &dy].map(Vec::clone);
        let lens = [conv2d::scratch_len(&shape), conv2d::par::scratch_len(&shape, SAMPLES)];
        let mut scratch = lens.map(|len| vec![0.0; len]);
        let work = Work::MultiplyAdds(shape.multiply_adds());

        Pass::new(c, "conv2d/forward", name, work)
            .reference(FEW, || reference::conv2d::forward(&shape, FEW, &x64, &w64, Some(&b64)))
            .kernel(SAMPLES, |way| {
                let (level, n) = (way.level, way.count(SAMPLES));
                if way.how == How::Lanes {
                    return lanes::conv2d::forward(level, &shape, n, &x, &w, Some(&b), f32::NEG_INFINITY, &mut y);
                }
                let (run, scratch) = (nhwc!(way, conv2d::forward), &mut scratch[usize::from(way.how == How::Par)]);
                run(level, &shape, n, &x, &w, Some(&b), &mut y, scratch);
            });
        Pass::new(c, "conv2d/backward_input", name, work)
            .reference(FEW, || reference::conv2d::backward_input(&shape, FEW, &dy64, &w64))
            .kernel(SAMPLES, |way| {
                let (level, n) = (way.level, way.count(SAMPLES));
                if way.how == How::Lanes {
                    return lanes::conv2d::backward_input(level, &shape, n, &dy, &w, &mut dx);
                }
                let run = nhwc!(way, conv2d::backward_input);
                run(level, &shape, n, &dy, &w, &mut dx, &mut scratch[usize::from(way.how == How::Par)]);
            });
        Pass::new(c, "conv2d/backward_params", name, work)
            .reference(FEW, || reference::conv2d::backward_params(&shape, FEW, &x64, &dy64))
            .kernel(SAMPLES, |way| {
                let (level, n) = (way.level, way.count(SAMPLES));
                if way.how == How::Lanes {
                    return lanes::conv2d::backward_params(level, &shape, n, &x, &dy, &mut dw, Some(&mut db));
                }
                let run = nhwc!(way, conv2d::backward_params);
                let scratch = &mut scratch[usize::from(way.how == How::Par)];
                run(level, &shape, n, &x, &dy, &mut dw, Some(&mut db), scratch);
            });
    }
}

/// The same convolutions in lanes with fewer products; they count as many multiply-adds.
fn winograd(c: &mut Criterion) {
    for Case { name, shape, .. } in
        picked(geometry::conv2d(), &["lenet1", "lenet2", "channels_32_33", "channels_64_64"])
    {
        let [x, w, b, dy] = random([SAMPLES * shape.x_len(), shape.w_len(), shape.out_c(), SAMPLES * shape.y_len()]);
        let [mut dx, mut dw, mut db, mut y] = [&x, &w, &b, &dy].map(Vec::clone);
        let (work, mut scratch) = (Work::MultiplyAdds(shape.multiply_adds()), Vec::new());
        let fit = |scratch: &mut Vec<f32>, level| scratch.resize(winograd::scratch_len(level, &shape), 0.0);
        let ways = || Way::all(&[How::Lanes]);
        Pass::new(c, "winograd/forward", name, work).kernel_on(ways(), SAMPLES, |Way { level, .. }| {
            fit(&mut scratch, level);
            let n = SAMPLES / level.lanes();
            winograd::forward(level, &shape, n, &x, &w, Some(&b), f32::NEG_INFINITY, &mut y, &mut scratch);
        });
        Pass::new(c, "winograd/backward_input", name, work).kernel_on(ways(), SAMPLES, |Way { level, .. }| {
            fit(&mut scratch, level);
            winograd::backward_input(level, &shape, SAMPLES / level.lanes(), &dy, &w, &mut dx, &mut scratch);
        });
        Pass::new(c, "winograd/backward_params", name, work).kernel_on(ways(), SAMPLES, |Way { level, .. }| {
            fit(&mut scratch, level);
            let n = SAMPLES / level.lanes();
            winograd::backward_params(level, &shape, n, &x, &dy, &mut dw, Some(&mut db), &mut scratch);
        });
    }
}

fn dense(c: &mut Criterion) {
    for Case { name, shape, .. } in picked(geometry::dense(), &["lenet1", "lenet2", "lenet3"]) {
        let (x_len, y_len) = (shape.inputs(), shape.outputs());
        let [x, w, b, dy] = random([SAMPLES * x_len, shape.w_len(), y_len, SAMPLES * y_len]);
        let [x64, w64, b64, dy64] = [&x[..FEW * x_len], &w, &b, &dy[..FEW * y_len]].map(wide);
        let [mut dx, mut dw, mut db, mut y] = [&x, &w, &b, &dy].map(Vec::clone);
        let (work, mut scratch) = (Work::MultiplyAdds(shape.w_len()), Vec::new());

        Pass::new(c, "dense/forward", name, work)
            .reference(FEW, || reference::dense::forward(&shape, FEW, &x64, &w64, Some(&b64)))
            .kernel(SAMPLES, |way| {
                let (level, n) = (way.level, way.count(SAMPLES));
                if way.how == How::Lanes {
                    return lanes::dense::forward(level, &shape, n, &x, &w, Some(&b), f32::NEG_INFINITY, &mut y);
                }
                nhwc!(way, dense::forward)(level, &shape, n, &x, &w, Some(&b), &mut y);
            });
        Pass::new(c, "dense/backward_input", name, work)
            .reference(FEW, || reference::dense::backward_input(&shape, FEW, &dy64, &w64))
            .kernel(SAMPLES, |way| {
                pick!(way, dense::backward_input)(way.level, &shape, way.count(SAMPLES), &dy, &w, &mut dx);
            });
        Pass::new(c, "dense/backward_params", name, work)
            .reference(FEW, || reference::dense::backward_params(&shape, FEW, &x64, &dy64))
            .kernel(SAMPLES, |way| {
                let (level, n) = (way.level, way.count(SAMPLES));
                if way.how == How::Lanes {
                    scratch.resize(lanes::dense::scratch_len(level, &shape, n), 0.0);
                    let db = Some(&mut db[..]);
                    return lanes::dense::backward_params(level, &shape, n, &x, &dy, &mut dw, db, &mut scratch);
                }
                nhwc!(way, dense::backward_params)(level, &shape, n, &x, &dy, &mut dw, Some(&mut db));
            });
    }
}

fn pool2d(c: &mut Criterion) {
    for Case { name, shape, .. } in picked(geometry::pool2d(), &["lenet1", "lenet2", "overlapping_same"]) {
        let (x_len, y_len) = (shape.x_len(), shape.y_len());
        let [x, dy] = random([SAMPLES * x_len, SAMPLES * y_len]);
        let [x64, dy64] = [&x[..FEW * x_len], &dy[..FEW * y_len]].map(wide);
        let [mut dx, mut y] = [&x, &dy].map(Vec::clone);
        let once = Work::floats(x_len + y_len);

        Pass::new(c, "avg_pool2d/forward", name, once)
            .reference(FEW, || reference::avg_pool2d::forward(&shape, FEW, &x64))
            .kernel(SAMPLES, |way| {
                pick!(way, avg_pool2d::forward)(way.level, &shape, way.count(SAMPLES), &x, &mut y);
            });
        Pass::new(c, "avg_pool2d/backward", name, once)
            .reference(FEW, || reference::avg_pool2d::backward(&shape, FEW, &dy64))
            .kernel(SAMPLES, |way| {
                pick!(way, avg_pool2d::backward)(way.level, &shape, way.count(SAMPLES), &dy, &mut dx);
            });
        Pass::new(c, "max_pool2d/forward", name, once)
            .reference(FEW, || reference::max_pool2d::forward(&shape, FEW, &x64))
            .kernel(SAMPLES, |way| {
                pick!(way, max_pool2d::forward)(way.level, &shape, way.count(SAMPLES), &x, &mut y);
            });

        let mut backward = Pass::new(c, "max_pool2d/backward", name, Work::floats(2 * (x_len + y_len)))
            .reference(FEW, || reference::max_pool2d::backward(&shape, FEW, &x64, &dy64));
        for way in Way::all(&How::ALL) {
            pick!(way, max_pool2d::forward)(way.level, &shape, way.count(SAMPLES), &x, &mut y);
            backward.kernel_on([way], SAMPLES, |way| {
                pick!(way, max_pool2d::backward)(way.level, &shape, way.count(SAMPLES), &x, &y, &dy, &mut dx);
            });
        }
    }
}

fn activations(c: &mut Criterion) {
    for Case { name, shape: channels, .. } in picked(geometry::rows(), &["lenet"]) {
        let [x, dy] = random([ROWS * channels; 2]);
        let [x64, dy64] = [&x, &dy].map(|x| wide(x));
        for function in [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Softmax] {
            let op = format!("{function:?}").to_lowercase();
            Pass::new(c, &format!("{op}/forward"), name, Work::floats(2 * channels))
                .reference(ROWS, || reference::activation::forward(function, channels, &x64))
                .kernel_in_place(ROWS, &x, |way, y| {
                    pick!(way, activation::forward)(way.level, function, channels, y);
                });

            let mut y = x.clone();
            activation::forward(Level::best(), function, channels, &mut y);
            let y64 = wide(&y);
            Pass::new(c, &format!("{op}/backward"), name, Work::floats(3 * channels))
                .reference(ROWS, || reference::activation::backward(function, channels, &y64, &dy64))
                .kernel_in_place(ROWS, &dy, |way, dy| {
                    pick!(way, activation::backward)(way.level, function, channels, &y, dy);
                });
        }
    }
}

fn cross_entropy(c: &mut Criterion) {
    const SCALE: f32 = 1.0 / ROWS as f32;
    for Case { name, shape: classes, .. } in picked(geometry::rows(), &["lenet"]) {
        let [z] = random([ROWS * classes]);
        let labels: Vec<u32> = (0..ROWS).map(|row| (row * 7 % classes) as u32).collect();
        let (mut losses, mut dz, targets) = (vec![0.0; ROWS], z.clone(), Targets::Sparse(&labels));
        let z64 = wide(&z);
        let mut one_hot = vec![0.0; ROWS * classes];
        for (row, &label) in one_hot.chunks_mut(classes).zip(&labels) {
            row[label as usize] = 1.0;
        }

        Pass::new(c, "cross_entropy/forward", name, Work::floats(classes + 2))
            .reference(ROWS, || reference::cross_entropy::forward(classes, &z64, &one_hot))
            .kernel(ROWS, |way| {
                let run = pick!(way, cross_entropy::forward);
                by_block(way, ROWS, classes, &z, targets, |rows, z, targets| {
                    run(way.level, classes, z, targets, &mut losses[rows]);
                });
            });
        Pass::new(c, "cross_entropy/backward", name, Work::floats(2 * classes + 1))
            .reference(ROWS, || reference::cross_entropy::backward(classes, &z64, &one_hot, SCALE.into()))
            .kernel(ROWS, |way| {
                let run = pick!(way, cross_entropy::backward);
                by_block(way, ROWS, classes, &z, targets, |rows, z, targets| {
                    run(way.level, classes, z, targets, SCALE, &mut dz[rows.start * classes..][..z.len()]);
                });
            });
    }
}

/// What has no parallel twin, since a plan splits it.
fn serial(c: &mut Criterion) {
    for Case { name, shape: channels, .. } in picked(geometry::rows(), &["lenet"]) {
        let [mut w, mut v, dw] = random([ROWS * channels; 3]);
        let [w64, v64, dw64] = [&w, &v, &dw].map(|x| wide(x));
        let rule = Sgd::new(0.05).momentum(0.9);
        Pass::new(c, "sgd/update", name, Work::floats(5 * channels))
            .reference(ROWS, || reference::update::sgd(0.05, 0.9, false, &w64, &dw64, &v64))
            .kernel_on(Way::all(&[How::Serial]), ROWS, |way| update::sgd(way.level, &rule, &dw, &mut w, &mut v));

        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(ROWS * channels).collect();
        let mut x = vec![0.0; bytes.len()];
        Pass::new(c, "cast/scale_u8", name, Work::Bytes((1 + size_of::<f32>()) * channels))
            .reference(ROWS, || bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect::<Vec<_>>())
            .kernel_on(Way::all(&[How::Serial]), ROWS, |way| cast::scale_u8(way.level, 1.0 / 255.0, &bytes, &mut x));
    }
}

/// Samples of an image into blocks.
fn pack(c: &mut Criterion) {
    for Case { name, shape, .. } in picked(geometry::conv2d(), &["lenet1"]) {
        let len = shape.x_len();
        let [floats] = random([SAMPLES * len]);
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(SAMPLES * len).collect();
        let mut x = floats.clone();
        for (pass, size, pixels) in [
            ("pack/samples_u8", size_of::<u8>(), Pixels::U8 { values: &bytes, scale: 1.0 / 255.0 }),
            ("pack/samples_f32", size_of::<f32>(), Pixels::F32(&floats)),
        ] {
            let work = Work::Bytes((size + size_of::<f32>()) * len);
            Pass::new(c, pass, name, work).kernel_on(Way::all(&[How::Lanes]), SAMPLES, |way| {
                for (samples, block) in way.blocks(SAMPLES).zip(x.chunks_exact_mut(way.len(1, len))) {
                    lanes::pack::samples(way.level, pixels, samples, block);
                }
            });
        }
    }
}

criterion_group!(benches, conv2d, winograd, dense, pool2d, activations, cross_entropy, serial, pack);
criterion_main!(benches);
