//! Convolutions with a ReLU and a pooling of two by two done along, against the kernels that do them one after the other.

mod support;

use convlane::Level;
use convlane::kernels::lanes::{avg_pool2d, winograd};
use convlane::layer::{Activation, Conv2d};
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, Pool2dShape, Shape, Window};
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::tensor::{Tensor, added, overwritten, with_scratch};

/// The same bits for the output and all gradients.
fn check(shape: &Conv2dShape, n: usize, seed: u64, spoilt: bool) {
    let (h, w) = (shape.h().output(), shape.w().output());
    let pool =
        Pool2dShape::new(Shape::hwc(h, w, shape.out_c()), &Window { stride: 2.into(), ..Window::new(2) }).unwrap();
    let mut rng = Rng::new(Seed(seed), 0);
    for level in Level::available() {
        let (blocks, scratch_len) = (n * level.lanes(), winograd::scratch_len(level, shape));
        let mut floats = |len: usize| Tensor::floats(len, 1.0, &mut rng);
        let (mut x, w, b) = (floats(blocks * shape.x_len()), floats(shape.w_len()), floats(shape.out_c()));
        let dy = floats(blocks * pool.y_len());
        if spoilt {
            let at = x.len() / 2;
            x[at] = f32::NAN;
        }

        let mut whole = overwritten(blocks * shape.y_len(), |y| {
            with_scratch(scratch_len, |scratch| {
                winograd::forward(level, shape, n, &x, &w, Some(&b), 0.0, y, scratch);
            });
        });
        let want_y = overwritten(dy.len(), |y| avg_pool2d::forward(level, &pool, n, &whole, y));
        avg_pool2d::backward_activated(level, &pool, n, Activation::Relu, &dy, &mut whole, None);
        let mut want_dx = Tensor::filled(x.len(), f32::NAN);
        let [want_dw, want_db] = added([w.len(), b.len()], |[dw, db]| {
            let mut scratch = vec![f32::NAN; scratch_len];
            winograd::backward(level, shape, n, &x, &w, &whole, dw, Some(db), &mut want_dx.clone(), &mut scratch);
        });
        with_scratch(scratch_len, |scratch| {
            winograd::backward_input(level, shape, n, &whole, &w, &mut want_dx, scratch);
        });

        let mut signs = Tensor::filled(n * winograd::signs_len(shape), 0.0);
        let y = overwritten(dy.len(), |y| {
            with_scratch(scratch_len, |scratch| {
                winograd::forward_pooled(level, shape, n, &x, &w, Some(&b), y, &mut signs, scratch);
            });
        });
        let dx = overwritten(x.len(), |dx| {
            with_scratch(scratch_len, |scratch| {
                let dw = &mut vec![0.0; w.len()];
                winograd::backward_pooled(level, shape, n, &x, &w, &dy, &signs, dw, None, Some(dx), scratch);
            });
        });
        let [dw, db] = added([w.len(), b.len()], |[dw, db]| {
            with_scratch(scratch_len, |scratch| {
                winograd::backward_pooled(level, shape, n, &x, &w, &dy, &signs, dw, Some(db), None, scratch);
            });
        });
        let pairs = [("y", &y, &want_y), ("dx", &dx, &want_dx), ("dw", &dw, &want_dw), ("db", &db, &want_db)];
        for (what, got, want) in pairs {
            assert!(got.bits() == want.bits(), "{what} of {n} blocks of {shape:?}, {level}");
        }
    }
}

#[test]
fn lenet5() {
    for (conv, input) in [(Conv2d::new(6, 5), Shape::hwc(28, 28, 1)), (Conv2d::new(16, 5), Shape::hwc(12, 12, 6))] {
        let shape = conv.shape(input).unwrap();
        check(&shape, 2, 1, false);
        check(&shape, 1, 2, true);
    }
}

#[test]
fn images_of_many_strips() {
    let shape = Conv2d::new(24, (5, 3)).same().shape(Shape::hwc(150, 10, 40)).unwrap();
    check(&shape, 1, 3, false);
    let shape = Conv2d::new(6, 5).shape(Shape::hwc(40, 90, 3)).unwrap();
    check(&shape, 1, 4, false);
}

#[test]
fn random_geometries() {
    let sizes = (1..=7usize, 1..=8usize, 1..=5usize, prop::sample::select(vec![3, 5]));
    let rest = (1..=3usize, 1..=5usize, 1..=9usize, any::<bool>(), any::<u64>());
    for_all(
        "pooled convolutions",
        cases(200, 2000),
        &(sizes, rest),
        |((h, w, kh, kw), (n, c, filters, same, seed))| {
            let conv = Conv2d::new(filters, (kh, kw));
            let (conv, [h, w]) =
                if same { (conv.same(), [2 * h, 2 * w]) } else { (conv, [2 * h + kh - 1, 2 * w + kw - 1]) };
            let shape = conv.shape(Shape::hwc(h, w, c)).unwrap();
            if Level::available().all(|level| winograd::is_supported(level, &shape)) {
                check(&shape, n, seed, seed % 4 == 0);
            }
        },
    );
}

#[test]
fn odd_outputs_and_wrong_lengths_are_refused() {
    let level = Level::scalar();
    let run = |shape: &Conv2dShape, lens: [usize; 4]| {
        let [x, w, y, signs] = lens.map(|len| vec![0.0; len]);
        let mut scratch = vec![0.0; winograd::scratch_len(level, shape)];
        let forward = || {
            let (mut y, mut signs) = (y.clone(), signs.clone());
            winograd::forward_pooled(level, shape, 1, &x, &w, None, &mut y, &mut signs, &mut scratch.clone());
        };
        let backward = || {
            let mut dw = w.clone();
            winograd::backward_pooled(level, shape, 1, &x, &w, &y, &signs, &mut dw, None, None, &mut scratch.clone());
        };
        let panics = [std::panic::catch_unwind(forward).is_err(), std::panic::catch_unwind(backward).is_err()];
        scratch.clear();
        panics
    };
    let shape = |h, w| Conv2dShape::new(Shape::hwc(h, w, 2), 3, 1, &Window::new(3)).unwrap();
    let lens =
        |shape: &Conv2dShape| [shape.x_len() * 8, shape.w_len(), shape.y_len() / 4 * 8, winograd::signs_len(shape)];
    let even = shape(6, 8);
    assert_eq!(run(&even, lens(&even)), [false; 2]);
    for odd in [shape(7, 8), shape(6, 7)] {
        assert_eq!(run(&odd, lens(&odd)), [true; 2], "{odd:?}");
    }
    for which in 0..4 {
        for more in [0, 2] {
            let mut lens = lens(&even);
            lens[which] = lens[which] + more - 1;
            assert_eq!(run(&even, lens), [true; 2], "slice {which}");
        }
    }
}
