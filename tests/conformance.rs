//! Every kernel, on every level, serial and parallel, gives what the reference gives on every named geometry: the same
//! bits on whole numbers, and on floats no more than the rounding that the formula allows.

mod support;

use convlane::Level;
use convlane::kernels::cast;
use convlane::optim::Sgd;
use convlane::shape::{Conv2dShape, Padding, Shape, Window};
use support::geometry;
use support::pass::{self, Pass};
use support::tensor::{Tensor, overwritten};

fn check<S, P: IntoIterator<Item = Pass>>(cases: &[geometry::Case<S>], passes: impl Fn(&geometry::Case<S>) -> P) {
    cases.iter().flat_map(passes).for_each(|pass| pass.check());
}

#[test]
fn conv2d() {
    check(&geometry::conv2d(), |case| pass::conv2d(case).all());
}

#[test]
fn dense() {
    check(&geometry::dense(), |case| pass::dense(case).all());
}

#[test]
fn pool2d() {
    check(&geometry::pool2d(), pass::pool2d);
}

/// Infinities take part in the comparison, the first NaN of a window wins it.
#[test]
fn max_pool2d_of_infinities_and_nan() {
    const SPECIAL: [f32; 5] = [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -0.0];
    for pass in geometry::pool2d().iter().flat_map(pass::max_pool2d) {
        let mut inputs = pass.integers(3);
        for (x, special) in inputs[0].iter_mut().step_by(3).zip(SPECIAL.iter().cycle()) {
            *x = *special;
        }
        pass.check_on(&inputs);
    }
}

#[test]
fn activations() {
    for activation in pass::ACTIVATIONS {
        check(&geometry::rows(), |case| pass::activation(activation, case));
    }
}

#[test]
fn activations_at_the_edges() {
    let x = [0.0, 1e-45, 1e-38, 1e-20, 1e-4, 0.6249, 0.6251, 9.0, 17.5, 87.0, 88.8, 89.5, 103.0, 104.5, 1e4, f32::MAX];
    let x = [&x[..], &x.map(|x| -x), &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN]].concat();
    let case = geometry::Case { name: "edges", n: x.len(), shape: 1 };
    for activation in pass::ACTIVATIONS {
        let [forward, backward] = pass::activation(activation, &case);
        let x = [Tensor::collect(x.iter().copied())];
        forward.check_on(&x);
        for way in forward.ways() {
            backward.check_on(&[forward.run(way, &x), Tensor::filled(x[0].len(), 2.0)]);
        }
    }
}

#[test]
fn cross_entropy() {
    check(&geometry::rows(), pass::cross_entropy);
}

/// A logit of negative infinity is no class, as long as it has no weight.
#[test]
fn cross_entropy_of_a_class_ruled_out() {
    let [_, _, losses, gradient] = pass::cross_entropy(&geometry::Case { name: "ruled_out", n: 1, shape: 3 });
    let inputs = [[f32::NEG_INFINITY, 0.5, 0.5], [0.0, 1.0, 0.0]].map(Tensor::collect);
    for way in losses.ways() {
        let (loss, dz) = (losses.run(way, &inputs), gradient.run(way, &inputs));
        assert!((loss[0] - 2f32.ln()).abs() < 1e-6, "{way}: {}", loss[0]);
        assert!(dz.iter().zip([0.0, -1.0 / 6.0, 1.0 / 6.0]).all(|(dz, want)| (dz - want).abs() < 1e-6), "{way}");
    }
}

#[test]
fn sgd() {
    let rules = [
        Sgd::new(0.25),
        Sgd::new(0.05),
        Sgd::new(0.5).momentum(0.75),
        Sgd::new(0.01).momentum(0.9),
        Sgd::new(0.5).momentum(0.25).nesterov(),
        Sgd::new(0.01).momentum(0.9).nesterov(),
    ];
    for rule in rules {
        check(&geometry::rows(), |case| [pass::sgd(case, rule)]);
    }
}

/// The product of a byte and a float fits an `f64`, so that rounding it gives the one right answer.
#[test]
fn scale_u8() {
    let (bytes, scale) = ((0..=255).collect::<Vec<u8>>(), 1.0 / 255.0);
    let want: Vec<f32> = bytes.iter().map(|&byte| (f64::from(byte) * f64::from(scale)) as f32).collect();
    for level in Level::available() {
        for len in [0, 1, 7, 33, 256] {
            let got = overwritten(len, |y| cast::scale_u8(level, scale, &bytes[..len], y));
            assert_eq!(got[..], want[..len], "{level}");
        }
    }
}

/// What fills up the lanes of a partial block must not meet the infinity as zero times infinity.
#[test]
fn an_infinity_in_the_last_sample_is_one_in_the_gradient() {
    for case in geometry::dense() {
        let pass = pass::dense(&case).backward_weights;
        let mut inputs = pass.integers(4);
        let start = (case.n - 1) * case.shape.inputs();
        inputs[0][start..].fill(f32::INFINITY);
        pass.check_on(&inputs);
    }
}

/// Steps so large that nothing lies a step further.
#[test]
fn conv2d_of_extreme_steps() {
    const FAR: usize = (1 << 61) - 1;
    let explicit = |bottom| Padding::Explicit { top: 0, bottom, left: 0, right: 0 };
    let beside = |right| Padding::Explicit { top: 0, bottom: 0, left: 0, right };
    for (window, (h, w, c)) in [
        (Window { stride: FAR.into(), ..Window::new(1) }, (1, 1, 1)),
        (Window { stride: (1 << 40).into(), ..Window::new(1) }, (2, 3, 2)),
        (Window { dilation: FAR.into(), ..Window::new(1) }, (2, 1, 2)),
        (Window { stride: 9.into(), dilation: FAR.into(), ..Window::new(1) }, (1, 1, 2)),
        (Window { stride: (1 << 60).into(), padding: explicit(1 << 60), ..Window::new(1) }, (1, 1, 2)),
        (Window { stride: FAR.into(), dilation: 3.into(), ..Window::new(2) }, (4, 5, 1)),
        (Window { stride: FAR.into(), ..Window::new(2) }, (3, 4, 17)),
        (Window { stride: (1, 1 << 54).into(), padding: beside(1 << 60), ..Window::new(1) }, (1, 1, 32)),
    ] {
        let Ok(shape) = Conv2dShape::new(Shape::hwc(h, w, c), 2, 1, &window) else { panic!("{window:?}") };
        let case = geometry::Case { name: "extreme", n: 2, shape };
        pass::conv2d(&case).all().iter().for_each(|pass| pass.check());
    }
}
