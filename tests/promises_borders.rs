//! Promises 8 and 9: what is not finite goes where the formula takes it and nowhere else; outputs are written whole, gradients
//! of parameters only added to, and nothing beside them is touched.

mod support;

use std::panic::catch_unwind;

use convlane::Level;
use convlane::kernels::lanes::winograd;
use convlane::layer::{AvgPool2d, Conv2d, MaxPool2d, Pool2d};
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, DenseShape, Pool2dShape, Shape};
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::geometry::Case;
use support::pass::{self, Pass};
use support::shapes;
use support::tensor::{Tensor, added, overwritten, with_scratch};
use support::way::{Data, How, Way};

const POISONS: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Every place of the first input, one after the other, is poisoned in one way or another.
fn goes_where_the_formula_says(pass: &Pass, every: usize, seed: u64) {
    let inputs = pass.integers(seed);
    for place in (seed as usize % every..inputs[0].len()).step_by(every) {
        let mut inputs = inputs.clone();
        inputs[0][place] = POISONS[place % POISONS.len()];
        pass.check_on(&inputs);
    }
}

/// Kernels of few pixels, so that each is at a border or next to one, on so many channels and `n` samples.
fn kernels(c: usize, n: usize) -> Vec<Pass> {
    let (image, name) = (Shape::hwc(3, 4, c), "poisoned");
    let conv = |conv: Conv2d| pass::conv2d(&Case { name, n, shape: conv.shape(image).unwrap() }).all();
    let direct = |conv: Conv2d| pass::direct(&Case { name, n, shape: conv.shape(image).unwrap() }).all();
    let pool = |pool: Pool2d| {
        let shape = Pool2dShape::new(image, &pool.window).unwrap();
        pass::pool2d(&Case { name, n, shape })
    };
    let mut passes = [conv(Conv2d::new(3, 3).same()), conv(Conv2d::new(c, (2, 3)).groups(c).stride((1, 2)))].concat();
    // Direct kernels take sixteen output channels or more at every level, depthwise ones sixteen groups.
    passes.extend(direct(Conv2d::new(15 + c, (3, 2)).same()));
    if c >= 16 {
        passes.extend(direct(Conv2d::new(c, (2, 3)).groups(c).stride((1, 2)).same()));
    }
    passes.extend(pass::dense(&Case { name, n, shape: DenseShape::new(c, 5).unwrap() }).all());
    passes.extend([pool(AvgPool2d::new(2)), pool(MaxPool2d::new(3).stride(2).same())].concat());
    let rows = Case { name, n, shape: c };
    passes.extend(pass::ACTIVATIONS.into_iter().flat_map(|activation| pass::activation(activation, &rows)));
    passes.extend(pass::cross_entropy(&rows));
    passes
}

#[test]
fn what_is_not_finite_goes_where_the_formula_says() {
    for c in 1..=40 {
        for n in [1, 2] {
            let every = cases(29, 1);
            kernels(c, n).iter().for_each(|pass| goes_where_the_formula_says(pass, every, c as u64));
        }
    }
}

#[test]
fn no_sample_sees_another() {
    let affine = (shapes::conv2d(), shapes::direct(), shapes::dense());
    let values = ((affine, shapes::pool2d(), shapes::rows()), any::<u64>());
    for_all("samples full of NaN", cases(50, 1000), &values, |(((conv, direct, dense), pool, rows), seed)| {
        let mut passes = [pass::conv2d(&conv).all(), pass::direct(&direct).all(), pass::dense(&dense).all()].concat();
        passes.extend(pass::pool2d(&pool));
        passes.extend(pass::ACTIVATIONS.iter().flat_map(|&activation| pass::activation(activation, &rows)));
        passes.extend(pass::cross_entropy(&rows));
        passes.iter().for_each(|pass| pass.check_isolation(seed));
    });
}

/// Weights and gradients of outputs that are not finite, where no tap falls on padding.
#[test]
fn what_is_not_finite_in_any_input_is_not_lost() {
    for c in (1..=40).step_by(cases(7, 1)) {
        let shape = Conv2d::new(3, 2).shape(Shape::hwc(3, 4, c)).unwrap();
        for pass in pass::conv2d(&Case { name: "valid", n: 2, shape }).all() {
            let inputs = pass.integers(c as u64);
            for input in 1..inputs.len() {
                for place in (c % 5..inputs[input].len()).step_by(cases(5, 1)) {
                    let mut inputs = inputs.clone();
                    inputs[input][place] = POISONS[place % POISONS.len()];
                    pass.check_on(&inputs);
                }
            }
        }
    }
}

/// A fast convolution may lose no NaN either, and may taint no more than the tiles of four columns that read it.
#[test]
fn fast_convolution_taints_tiles() {
    const TILE: usize = 4;
    for c in (1..=40).step_by(cases(13, 1)) {
        let shape: Conv2dShape = Conv2d::new(3, 3).same().shape(Shape::hwc(3, 9, c)).unwrap();
        let (h, w, in_row) = (shape.h(), shape.w(), shape.w().input() * c);
        for way in Way::all(&[How::Lanes]) {
            let mut rng = Rng::new(Seed(8), c as u64);
            let n = way.level.lanes();
            let weights = Tensor::floats(shape.w_len(), 1.0, &mut rng);
            let x = Tensor::floats(n * shape.x_len(), 1.0, &mut rng);
            let forward = |x: &Tensor| {
                let x = way.pack(n, Data::Samples(shape.x_len()), x);
                let y = overwritten(n * shape.y_len(), |y| {
                    with_scratch(winograd::scratch_len(way.level, &shape), |scratch| {
                        let floor = f32::NEG_INFINITY;
                        winograd::forward(way.level, &shape, 1, &x, &weights, None, floor, y, scratch);
                    });
                });
                way.unpack(n, Data::Samples(shape.y_len()), y)
            };
            let clean = forward(&x);
            for place in (c % 17..shape.x_len()).step_by(cases(17, 1)) {
                let (sample, row, col) = (place % n, place / in_row, place % in_row / c);
                let mut x = x.clone();
                x[sample * shape.x_len() + place] = f32::NAN;
                for (i, (y, clean)) in forward(&x).iter().zip(clean.iter()).enumerate() {
                    let (of, pixel) = (i / shape.y_len(), i % shape.y_len() / shape.out_c());
                    let (oy, ox) = (pixel / w.output(), pixel % w.output());
                    let reads = |ox| (0..w.kernel()).any(|k| w.position(ox, k) == Some(col));
                    let in_rows = of == sample && (0..h.kernel()).any(|k| h.position(oy, k) == Some(row));
                    let start = ox / TILE * TILE;
                    let tile_reads = (start..start + TILE).any(reads);
                    let id = format!("{way}: {c} channels, place {place}, number {i}");
                    assert!(!(in_rows && reads(ox)) || y.is_nan(), "{id} is {y}");
                    assert!(in_rows && tile_reads || y.to_bits() == clean.to_bits(), "{id} is {y}, not {clean}");
                }
            }
        }
    }
}

/// Every test of kernels here and beside gives them their buffers so. This shows that it notices what it should.
#[test]
fn buffers_notice() {
    let notices = |what: &str, kernel: fn()| {
        let error = catch_unwind(kernel).expect_err(what);
        let message = error.downcast_ref::<String>().cloned();
        let message = message.or_else(|| error.downcast_ref::<&str>().map(|message| message.to_string()));
        assert!(message.unwrap_or_default().starts_with("a kernel"), "{what}");
    };
    notices("an output with a hole", || drop(overwritten(5, |y| y[1..].fill(0.0))));
    notices("a gradient that was overwritten", || drop(added([5, 3], |[_, db]| db[2] = 1.0)));
    notices("a number written before", || Tensor::filled(5, 0.0).whole_mut()[63] = 0.0);
    notices("a number written behind", || Tensor::filled(5, 0.0).whole_mut()[64 + 5] = 0.0);
    notices("the last canary", || Tensor::filled(5, 0.0).whole_mut()[64 + 5 + 63] = 0.0);
}

/// Random geometries besides those of promises 1 and 2, on one level after the other.
#[test]
fn outputs_are_written_whole_and_alone() {
    assert!(Level::available().count() > 0);
    for c in 1..=cases(40, 70) {
        kernels(c, 1 + c % 19).iter().for_each(|pass| pass.check());
    }
}
