//! What the kernels of the lanes layout promise beyond what others do: how samples lie in blocks, and that passes in one
//! are the same bits as passes one after the other.

mod support;

use convlane::Level;
use convlane::kernels::cast::{self, Pixels};
use convlane::kernels::cross_entropy::Targets;
use convlane::kernels::lanes::{activation, avg_pool2d, conv2d, cross_entropy, dense, max_pool2d, pack};
use convlane::layer::Activation;
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, Pool2dShape, Shape, Window};
use support::geometry::{self, Case};
use support::pass::ELEMENT_WISE;
use support::tensor::{START, Tensor, added, in_place, overwritten};

/// Blocks of a batch.
const BLOCKS: usize = 2;

/// Samples of the packed data.
const SAMPLES: usize = 23;

fn rng() -> Rng {
    Rng::new(Seed(6), 0)
}

fn floats(len: usize, stream: u64) -> Tensor {
    Tensor::floats(len, 1.0, &mut Rng::new(Seed(6), stream))
}

/// Every level, length of a sample and number of samples in a block.
fn sizes() -> impl Iterator<Item = (Level, usize, usize)> {
    let numbers = |level: Level, len| (0..=level.lanes()).map(move |n| (level, len, n));
    Level::available().flat_map(move |level| (1..70).flat_map(move |len| numbers(level, len)))
}

/// Numbers of `n` samples in any order, some of them more than once.
fn indices(n: usize, rng: &mut Rng) -> Vec<usize> {
    (0..n).map(|_| rng.below(SAMPLES as u64) as usize).collect()
}

/// Numbers of any bits, NaN and subnormal ones among them.
fn any_bits(len: usize, rng: &mut Rng) -> Tensor {
    Tensor::collect((0..len).map(|_| f32::from_bits(rng.below(1 << 32) as u32)))
}

/// The bits of a block of samples of `len`, given for each lane.
fn block<'a>(level: Level, len: usize, sample: impl Fn(usize) -> &'a [f32]) -> Vec<u32> {
    let lanes = level.lanes();
    (0..len * lanes).map(|i| sample(i % lanes)[i / lanes].to_bits()).collect()
}

/// Packs samples, holds the block against `values` that `pixels` stand for, and unpacks it.
fn check_samples(level: Level, len: usize, indices: &[usize], pixels: Pixels<'_>, values: &[f32]) {
    let (n, zeros) = (indices.len(), vec![0.0; len]);
    let sample = |index: usize| &values[index * len..][..len];
    let x = overwritten(len * level.lanes(), |x| pack::samples(level, pixels, indices.iter().copied(), x));
    let want = block(level, len, |lane| indices.get(lane).map_or(&zeros, |&index| sample(index)));
    assert_eq!(x.bits(), want, "{level}: samples {indices:?} of {len}");
    let y = overwritten(n * len, |y| pack::unpack(level, n, &x, y));
    let want = Tensor::collect(indices.iter().flat_map(|&index| sample(index)).copied());
    assert_eq!(y.bits(), want.bits(), "{level}: samples {indices:?} of {len} unpacked");
}

#[test]
fn samples_of_floats_keep_their_bits() {
    let mut rng = rng();
    for (level, len, n) in sizes() {
        let (values, indices) = (any_bits(SAMPLES * len, &mut rng), indices(n, &mut rng));
        check_samples(level, len, &indices, Pixels::F32(&values), &values);
    }
}

#[test]
fn samples_of_bytes_are_scaled() {
    let mut rng = rng();
    for (level, len, n) in sizes() {
        let bytes: Vec<u8> = (0..SAMPLES * len).map(|_| rng.below(256) as u8).collect();
        for scale in [1.0 / 255.0, -0.3] {
            let values = overwritten(bytes.len(), |values| cast::scale_u8(level, scale, &bytes, values));
            let pixels = Pixels::U8 { values: &bytes, scale };
            check_samples(level, len, &indices(n, &mut rng), pixels, &values);
        }
    }
}

#[test]
fn a_block_without_targets_has_no_gradient() {
    for level in Level::available() {
        let z = floats(3 * level.lanes(), 0);
        for none in [Targets::Sparse(&[]), Targets::OneHot(&[])] {
            cross_entropy::forward(level, 3, &z, none, &mut []);
            let dz = overwritten(z.len(), |dz| cross_entropy::backward(level, 3, &z, none, 1.0, dz));
            assert!(dz.iter().all(|&dz| dz == 0.0), "{level}");
        }
    }
}

#[test]
fn relu_fused_is_relu_after() {
    for level in Level::available() {
        let numbers = |len: usize| BLOCKS * level.lanes() * len;
        let same = |id: &str, y_len: usize, forward: &dyn Fn(f32, &mut [f32])| {
            let fused = overwritten(numbers(y_len), |y| forward(0.0, y));
            let after = overwritten(numbers(y_len), |y| {
                forward(f32::NEG_INFINITY, y);
                activation::forward(level, Activation::Relu, 1, y);
            });
            assert!(fused.bits() == after.bits(), "{id}/{level}");
        };
        for Case { name, shape, .. } in geometry::conv2d() {
            let [x, w, b] = [numbers(shape.x_len()), shape.w_len(), shape.out_c()].map(|len| floats(len, len as u64));
            same(name, shape.y_len(), &|floor, y| {
                conv2d::forward(level, &shape, BLOCKS, &x, &w, Some(&b), floor, y);
            });
        }
        for Case { name, shape, .. } in geometry::dense() {
            let [x, w] = [numbers(shape.inputs()), shape.w_len()].map(|len| floats(len, len as u64));
            same(name, shape.outputs(), &|floor, y| dense::forward(level, &shape, BLOCKS, &x, &w, None, floor, y));
        }
    }
}

/// Every geometry of a pooling with activations, their output, and the gradient of the pooling's output.
fn pooled(check: impl Fn(&str, Level, &Case<Pool2dShape>, Activation, &Tensor, &Tensor)) {
    for level in Level::available() {
        for case in geometry::pool2d().into_iter().filter(|case| case.shape.is_partition()) {
            let [x, dy] = [case.shape.x_len(), case.shape.y_len()].map(|len| BLOCKS * level.lanes() * len);
            for function in ELEMENT_WISE {
                let x = in_place(&floats(x, 0), |x| activation::forward(level, function, case.shape.c(), x));
                check(&format!("{function:?}/{}/{level}", case.name), level, &case, function, &x, &floats(dy, 1));
            }
        }
    }
}

/// The gradient of the bias of a convolution before a pooling, from that of the pooling's input.
fn bias_gradient(level: Level, shape: &Pool2dShape, dx: &Tensor) -> Tensor {
    let (c, ones) = (shape.c(), Tensor::filled(dx.len() / shape.c(), 1.0));
    let image = Shape::hwc(shape.h().input(), shape.w().input(), 1);
    let conv = Conv2dShape::new(image, c, 1, &Window::new(1)).unwrap();
    let params = |[dw, db]: [&mut [f32]; 2]| conv2d::backward_params(level, &conv, BLOCKS, &ones, dx, dw, Some(db));
    let [_, db] = added([c, c], params);
    db
}

#[test]
fn average_pooling_and_activation_go_back_at_once_as_one_after_the_other() {
    pooled(|id, level, Case { shape, .. }, function, x, dy| {
        let c = shape.c();
        let fused = |db: Option<&mut [f32]>| {
            in_place(x, |x| avg_pool2d::backward_activated(level, shape, BLOCKS, function, dy, x, db))
        };
        let after = overwritten(x.len(), |dx| {
            avg_pool2d::backward(level, shape, BLOCKS, dy, dx);
            activation::backward(level, function, c, x, dx);
        });
        let mut db = Tensor::filled(c, START);
        assert!(fused(None).bits() == after.bits(), "{id}");
        assert!(fused(Some(&mut db)).bits() == after.bits(), "{id} with a bias");

        assert!(bias_gradient(level, shape, &after).bits() == db.bits(), "{id}: the gradient of the bias");
    });
}

#[test]
fn max_pooling_and_activation_go_back_at_once_as_one_after_the_other() {
    pooled(|id, level, Case { shape, .. }, function, x, dy| {
        let y = overwritten(dy.len(), |y| max_pool2d::forward(level, shape, BLOCKS, x, y));
        let fused = |db: Option<&mut [f32]>| {
            in_place(x, |x| max_pool2d::backward_activated(level, shape, BLOCKS, function, &y, dy, x, db))
        };
        let after = overwritten(x.len(), |dx| {
            max_pool2d::backward(level, shape, BLOCKS, x, &y, dy, dx);
            activation::backward(level, function, shape.c(), x, dx);
        });
        let mut db = Tensor::filled(shape.c(), START);
        assert!(fused(None).bits() == after.bits(), "{id}");
        assert!(fused(Some(&mut db)).bits() == after.bits(), "{id} with a bias");
        assert!(bias_gradient(level, shape, &after).bits() == db.bits(), "{id}: the gradient of the bias");
    });
}
