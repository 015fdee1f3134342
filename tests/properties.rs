//! Random geometries against the reference, and laws that need none.

mod support;

use convlane::layer::Activation;
use convlane::rng::{Rng, Seed};
use convlane::shape::{Conv2dShape, DenseShape, Padding, Pool2dShape, Shape, Size2, Window};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use support::geometry::Case;
use support::pass::{self, AffinePasses, Pass};
use support::tensor::{START, Tensor};

/// Few samples, or enough that a parallel kernel puts several into a piece.
fn batch() -> impl Strategy<Value = usize> {
    prop_oneof![9 => 0..=6usize, 1 => 17..=35usize]
}

fn size2(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Size2> {
    (range.clone(), range).prop_map(Size2::from)
}

fn window() -> impl Strategy<Value = Window> {
    let explicit = (0..=4usize, 0..=4usize, 0..=4usize, 0..=4usize)
        .prop_map(|(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right });
    let padding = prop_oneof![Just(Padding::Valid), Just(Padding::Same), explicit];
    (size2(1..=5), size2(1..=3), size2(1..=2), padding).prop_map(|(kernel, stride, dilation, padding)| Window {
        kernel,
        stride,
        dilation,
        padding,
    })
}

fn conv2d() -> impl Strategy<Value = Case<Conv2dShape>> {
    let channels = prop_oneof![(Just(1), 1..=20usize, 1..=20usize), (2..=5usize, 1..=4usize, 1..=4usize)];
    (batch(), size2(1..=11), channels, window()).prop_filter_map("no fit", |(n, image, (groups, c, oc), window)| {
        let input = Shape::hwc(image.h, image.w, groups * c);
        let shape = Conv2dShape::new(input, groups * oc, groups, &window).ok()?;
        Some(Case { name: "random", n, shape })
    })
}

fn dense() -> impl Strategy<Value = Case<DenseShape>> {
    (batch(), 1..=40usize, 1..=40usize).prop_map(|(n, inputs, outputs)| Case {
        name: "random",
        n,
        shape: DenseShape::new(inputs, outputs).unwrap(),
    })
}

fn pool2d_of(window: impl Strategy<Value = Window>) -> impl Strategy<Value = Case<Pool2dShape>> {
    (batch(), size2(1..=11), 1..=20usize, window).prop_filter_map("no fit", |(n, image, c, window)| {
        let window = Window { dilation: 1.into(), ..window };
        let shape = Pool2dShape::new(Shape::hwc(image.h, image.w, c), &window).ok()?;
        Some(Case { name: "random", n, shape })
    })
}

fn pool2d() -> impl Strategy<Value = Case<Pool2dShape>> {
    pool2d_of(window())
}

/// Pooling whose average of whole numbers has no rounding.
fn halving_pool2d() -> impl Strategy<Value = Case<Pool2dShape>> {
    let sizes = prop::sample::select(vec![1, 2, 4]);
    pool2d_of((sizes.clone(), sizes, size2(1..=3)).prop_map(|(h, w, stride)| Window { stride, ..Window::new((h, w)) }))
}

fn rows() -> impl Strategy<Value = Case<usize>> {
    (batch(), 1..=40usize).prop_map(|(n, channels)| Case { name: "random", n, shape: channels })
}

/// A geometry for every kind of pass on batches.
type Cases = (Case<Conv2dShape>, Case<DenseShape>, Case<Pool2dShape>, Case<usize>);

fn cases() -> impl Strategy<Value = Cases> {
    (conv2d(), dense(), pool2d(), rows())
}

fn passes((conv, dense, pool, rows): Cases) -> Vec<Pass> {
    let mut passes = [pass::conv2d(&conv).all(), pass::dense(&dense).all()].concat();
    passes.extend(pass::pool2d(&pool));
    passes.extend(pass::ACTIVATIONS.iter().flat_map(|&activation| pass::activation(activation, &rows)));
    passes.extend(pass::cross_entropy(&rows));
    passes
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `f(3a + b) = 3 f(a) + f(b)` for the first input, the others fixed.
fn is_linear(pass: &Pass, seed: u64) {
    let combine = |a: &[f32], b: &[f32]| Tensor::collect(a.iter().zip(b).map(|(a, b)| 3.0 * a + b));
    let [a, b] = [seed, seed ^ 1].map(|seed| pass.integers(seed).swap_remove(0));
    for way in pass.ways() {
        let run = |x: Tensor| {
            let mut inputs = pass.integers(seed);
            inputs[0] = x;
            pass.run(way, &inputs)
        };
        let (whole, parts) = (run(combine(&a, &b)), combine(&run(a.clone()), &run(b.clone())));
        assert_eq!(whole[..], parts[..], "{}/{way}", pass.id);
    }
}

/// `<x w, dy> = <x, dx> = <w, dw>`: the gradients are the adjoints of the forward pass.
fn is_adjoint(passes: &AffinePasses, seed: u64) {
    let (xw, dyw) = (passes.forward_no_bias.integers(seed), passes.backward_input.integers(seed));
    let (x, w, dy) = (&xw[0], &dyw[1], &dyw[0]);
    for way in passes.forward_no_bias.ways() {
        let run = |pass: &Pass, a: &Tensor, b: &Tensor| pass.run(way, &[a.clone(), b.clone()]);
        let forward = dot(&run(&passes.forward_no_bias, x, w), dy);
        assert_eq!(forward, dot(&run(&passes.backward_input, dy, w), x), "dx, {way}");
        let dw: Vec<f32> = run(&passes.backward_weights, x, dy).iter().map(|dw| dw - START).collect();
        assert_eq!(forward, dot(&dw, w), "dw, {way}");
    }
}

fn logits(case: &Case<usize>, limit: f32, seed: u64) -> [Tensor; 1] {
    [Tensor::floats(case.n * case.shape, limit, &mut Rng::new(Seed(seed), 0))]
}

/// A NaN in the first input reaches what depends on it by the formula, and nothing else.
fn taints_no_more_than_its_field(pass: &Pass, seed: u64) {
    let mut inputs = pass.integers(seed);
    let len = inputs[0].len();
    if len > 0 {
        inputs[0][seed as usize % len] = f32::NAN;
        pass.check_on(&inputs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    #[test]
    fn conv2d_is_the_reference(case in conv2d(), seed: u64) {
        for pass in pass::conv2d(&case).all() {
            pass.check_on(&pass.integers(seed));
        }
    }

    #[test]
    fn dense_is_the_reference(case in dense(), seed: u64) {
        for pass in pass::dense(&case).all() {
            pass.check_on(&pass.integers(seed));
        }
    }

    #[test]
    fn pool2d_is_the_reference(case in pool2d(), seed: u64) {
        for pass in pass::pool2d(&case) {
            pass.check_on(&pass.integers(seed));
        }
    }

    #[test]
    fn rows_are_the_reference(case in rows(), activation in prop::sample::select(pass::ACTIVATIONS.to_vec()), seed: u64) {
        for pass in pass::activation(activation, &case).iter().chain(&pass::cross_entropy(&case)) {
            pass.check_on(&pass.floats(seed));
        }
    }

    #[test]
    fn conv2d_is_linear_and_its_gradients_are_adjoint(case in conv2d(), seed: u64) {
        let passes = pass::conv2d(&case);
        is_linear(&passes.forward_no_bias, seed);
        is_adjoint(&passes, seed);
    }

    #[test]
    fn dense_is_linear_and_its_gradients_are_adjoint(case in dense(), seed: u64) {
        let passes = pass::dense(&case);
        is_linear(&passes.forward_no_bias, seed);
        is_adjoint(&passes, seed);
    }

    #[test]
    fn averages_are_linear_and_their_gradient_is_adjoint(case in halving_pool2d(), seed: u64) {
        let [forward, backward] = pass::avg_pool2d(&case);
        is_linear(&forward, seed);
        let (x, dy) = (forward.integers(seed), backward.integers(seed));
        for way in forward.ways() {
            assert_eq!(dot(&forward.run(way, &x), &dy[0]), dot(&backward.run(way, &dy), &x[0]), "{way}");
        }
    }

    #[test]
    fn nan_taints_no_more_than_its_field(cases in cases(), seed: u64) {
        passes(cases).iter().for_each(|pass| taints_no_more_than_its_field(pass, seed));
    }

    #[test]
    fn nan_taints_no_other_sample(cases in cases(), seed: u64) {
        passes(cases).iter().for_each(|pass| pass.check_isolation(seed));
    }

    #[test]
    fn softmax_is_a_distribution(case in rows(), limit in 0.0..1e4f32, seed: u64) {
        let [softmax, _] = pass::activation(Activation::Softmax, &case);
        let z = logits(&case, limit, seed);
        for way in softmax.ways() {
            for p in softmax.run(way, &z).chunks(case.shape) {
                prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
                let sum: f64 = p.iter().map(|&p| f64::from(p)).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "{way}: {sum}");
            }
        }
    }

    #[test]
    fn cross_entropy_is_finite(case in rows(), limit in 0.0..1e4f32, seed: u64) {
        let [losses, gradient, ..] = pass::cross_entropy(&case);
        let z = logits(&case, limit, seed);
        for way in losses.ways() {
            prop_assert!(losses.run(way, &z).iter().all(|loss| (0.0..=3e4).contains(loss)));
            prop_assert!(gradient.run(way, &z).iter().all(|dz| (-1.0..=1.0).contains(dz)));
        }
    }

    #[test]
    fn bits_do_not_depend_on_where_a_slice_was_cut(case in rows(), cut in 0..40usize, seed: u64) {
        let cut = cut.min(case.n);
        let (head, tail) = (Case { n: cut, ..case }, Case { n: case.n - cut, ..case });
        for activation in pass::ACTIVATIONS {
            let [whole, head, tail] = [&case, &head, &tail].map(|case| pass::activation(activation, case));
            for ((whole, head), tail) in whole.iter().zip(&head).zip(&tail) {
                let inputs = whole.floats(seed);
                let parts: Vec<_> = inputs.iter().map(|x| x.split_at(cut * case.shape)).collect();
                let tensors = |part: fn(&(&[f32], &[f32])) -> Tensor| parts.iter().map(part).collect::<Vec<_>>();
                let heads = tensors(|(head, _)| Tensor::collect(head.iter().copied()));
                let tails = tensors(|(_, tail)| Tensor::collect(tail.iter().copied()));
                for way in whole.ways() {
                    let parts = [head.run(way, &heads).bits(), tail.run(way, &tails).bits()].concat();
                    prop_assert_eq!(whole.run(way, &inputs).bits(), parts, "{}/{}", whole.id, way);
                }
            }
        }
    }
}
