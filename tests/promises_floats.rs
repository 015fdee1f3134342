//! Promises 2 and 3: how far kernels are from the reference on floats, and what holds for softmax and cross-entropy besides.
//! `tests/winograd.rs` holds fast convolution against a bound of its own, and `src/simd/mod.rs` the functions.

mod support;

use std::cell::Cell;

use convlane::layer::Activation;
use convlane::rng::{Rng, Seed};
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::geometry::Case;
use support::nets;
use support::pass::{self, Pass};
use support::random::{Random, largest, reference, run, smooth};
use support::shapes;
use support::tensor::Tensor;

/// Random geometries and floats, on which passes stay within their tolerance.
fn close<S: Strategy, P: IntoIterator<Item = Pass>>(what: &str, shapes: S, passes: impl Fn(&S::Value) -> P) {
    let worst = Cell::new(0f64);
    for_all(what, cases(100, 2000), &(shapes, any::<u64>()), |(case, seed)| {
        let errors = passes(&case).into_iter().filter_map(|pass| pass.check_floats(seed));
        worst.set(errors.fold(worst.get(), f64::max));
    });
    println!("{what}: at most {:.4} of the bound", worst.get());
}

#[test]
fn convolutions() {
    close("convolutions", shapes::conv2d(), |case| pass::conv2d(case).all());
}

#[test]
fn direct_convolutions() {
    close("direct convolutions", shapes::direct(), |case| pass::direct(case).all());
}

#[test]
fn dense_layers() {
    close("dense layers", shapes::dense(), |case| pass::dense(case).all());
}

#[test]
fn poolings() {
    close("poolings", shapes::pool2d(), pass::pool2d);
}

#[test]
fn rows() {
    close("activations", shapes::rows(), |case| {
        pass::ACTIVATIONS.into_iter().flat_map(|activation| pass::activation(activation, case)).collect::<Vec<_>>()
    });
    close("cross-entropies", shapes::rows(), pass::cross_entropy);
}

#[test]
fn networks() {
    for_all("networks", cases(300, 2000), &Random::new(smooth()), |random| {
        let mut plans = random.plans().peekable();
        let case = nets::Case::new(plans.peek().unwrap(), random.n);
        let want = reference(&random.net(), &case);
        for plan in plans {
            for (got, want) in run(&plan, &case).iter().zip(&want) {
                let error =
                    largest(&got.iter().zip(want).map(|(&got, want)| f64::from(got) - want).collect::<Vec<_>>());
                let bound = 1e-5 * (1.0 + largest(want));
                assert!(error <= bound, "{}/{}: {error:e} of {bound:e}", plan.engine(), plan.level());
            }
        }
    });
}

/// Logits up to so much: random, and now and then one of the ends.
fn logits(case: &Case<usize>, limit: f32, seed: u64) -> [Tensor; 1] {
    let mut rng = Rng::new(Seed(seed), 0);
    let mut logit = || match rng.below(8) {
        0 => limit,
        1 => -limit,
        _ => rng.symmetric(limit),
    };
    [Tensor::collect((0..case.n * case.shape).map(|_| logit()))]
}

fn limits() -> impl Strategy<Value = f32> {
    prop_oneof![0.0..1.0f32, 1.0..100f32, 100.0..1e4f32, Just(1e4f32)]
}

/// Every number is rounded a few times, and their sum once a channel: [`activation`](convlane::kernels::activation) says so.
#[test]
fn softmax_rows_sum_to_one() {
    let worst = Cell::new(0f64);
    for_all("softmax rows", cases(500, 10_000), &(shapes::rows(), limits(), any::<u64>()), |(case, limit, seed)| {
        let ([softmax, _], z) = (pass::activation(Activation::Softmax, &case), logits(&case, limit, seed));
        let bound = (case.shape + 2) as f64 / f64::from(1 << 24);
        for way in softmax.ways() {
            for p in softmax.run(way, &z).chunks(case.shape) {
                assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{way}: {p:?}");
                let error = (p.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs();
                assert!(error <= bound, "{way}: {error:e} of {bound:e}");
                worst.set(worst.get().max(error / bound));
            }
        }
    });
    println!("softmax rows: at most {:.4} of the bound", worst.get());
}

#[test]
fn cross_entropy_is_finite() {
    for_all("cross-entropies", cases(500, 10_000), &(shapes::rows(), limits(), any::<u64>()), |(case, limit, seed)| {
        let ([losses, gradient, ..], z) = (pass::cross_entropy(&case), logits(&case, limit, seed));
        let most = 2.0 * limit + 2.0 * (case.shape as f32).ln() + 1.0;
        for way in losses.ways() {
            assert!(losses.run(way, &z).iter().all(|loss| (0.0..=most).contains(loss)), "{way}");
            assert!(gradient.run(way, &z).iter().all(|dz| (-1.0..=1.0).contains(dz)), "{way}");
        }
    });
}
