//! Promises 1 and 4: on whole numbers there is no rounding, so that kernels give the bits of the reference, and gradients
//! are exactly the adjoints of what they are gradients of.

mod support;

use std::cell::Cell;

use convlane::optim::Sgd;
use proptest::prelude::*;
use support::cases::{cases, for_all};
use support::nets::{options, wide};
use support::pass::{self, AffinePasses, Pass};
use support::random::{Random, exact, reference, run};
use support::tensor::START;
use support::{shapes, threads};

/// Random geometries, numbers and threads, on which passes are held against the reference.
fn same_bits<S: Strategy, P: IntoIterator<Item = Pass>>(what: &str, shapes: S, passes: impl Fn(&S::Value) -> P + Sync)
where
    S::Value: Sync,
{
    let values = (shapes, any::<u64>(), 1..=threads::MOST);
    for_all(what, cases(150, 10_000), &values, |(case, seed, threads)| {
        threads::on(threads, || {
            for pass in passes(&case).into_iter().filter(Pass::is_exact) {
                pass.check_on(&pass.integers(seed));
            }
        });
    });
}

#[test]
fn convolutions() {
    same_bits("convolutions", shapes::conv2d(), |case| pass::conv2d(case).all());
}

#[test]
fn direct_convolutions() {
    same_bits("direct convolutions", shapes::direct(), |case| pass::direct(case).all());
}

#[test]
fn dense_layers() {
    same_bits("dense layers", shapes::dense(), |case| pass::dense(case).all());
}

#[test]
fn poolings() {
    same_bits("poolings", shapes::pool2d(), pass::pool2d);
}

#[test]
fn rows() {
    let rules = [Sgd::new(0.25), Sgd::new(0.5).momentum(0.75), Sgd::new(0.5).momentum(0.25).nesterov()];
    same_bits("rows", shapes::rows(), |case| {
        let updates = rules.into_iter().map(|rule| pass::sgd(case, rule));
        let activations = pass::ACTIVATIONS.into_iter().flat_map(|activation| pass::activation(activation, case));
        updates.chain(activations).collect::<Vec<_>>()
    });
}

/// Whole networks, on every engine and level. Fast convolution rounds.
#[test]
fn networks() {
    let (cases, held) = (cases(300, 10_000), Cell::new(0));
    for_all("networks", cases, &(Random::new(exact()), 1..=threads::MOST), |(random, threads)| {
        let first = random.plan(&options().next().unwrap());
        let Some(case) = random.whole_case(&first) else { return };
        held.set(held.get() + 1);
        let want = reference(&random.net(), &case);
        threads::on(threads, || {
            for plan in random.exact_plans() {
                let got = run(&plan, &case).map(|values| wide(&values));
                assert_eq!(got, want, "{}/{} on {threads} threads", plan.engine(), plan.level());
            }
        });
    });
    assert!(held.get() > cases / 2, "only {} of {cases} networks have sums that fit", held.get());
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `<x w + b, dy> = <x, dx> + <b, db> = <w, dw> + <b, db>`.
fn is_adjoint(passes: &AffinePasses, seed: u64) {
    let (inputs, dyw) = (passes.forward.integers(seed), passes.backward_input.integers(seed));
    let ([x, w, b], dy) = (&inputs[..], &dyw[0]) else { panic!("three inputs") };
    for way in passes.forward.ways() {
        let y = dot(&passes.forward.run(way, &inputs), dy);
        let dx = passes.backward_input.run(way, &[dy.clone(), w.clone()]);
        let params = passes.backward_params.run(way, &[x.clone(), dy.clone()]);
        let params: Vec<f32> = params.iter().map(|gradient| gradient - START).collect();
        let (dw, db) = params.split_at(w.len());
        assert_eq!(y, dot(x, &dx) + dot(b, db), "{}: dx, {way}", passes.forward.id);
        assert_eq!(y, dot(w, dw) + dot(b, db), "{}: dw, {way}", passes.forward.id);
    }
}

/// `<y, dy> = <x, dx>`, where `y` is linear in `x`, or selects from it.
fn is_adjoint_of_pooling([forward, backward]: &[Pass; 2], seed: u64) {
    let (inputs, gradients) = (forward.integers(seed), backward.integers(seed));
    let (x, dy) = (&inputs[0], gradients.last().unwrap());
    for way in forward.ways() {
        let (y, dx) = (forward.run(way, &inputs), backward.run(way, &gradients));
        assert_eq!(dot(&y, dy), dot(x, &dx), "{}/{way}", forward.id);
    }
}

#[test]
fn gradients_are_adjoint() {
    let cases = cases(100, 2000);
    let seed = any::<u64>;
    for_all("adjoint convolutions", cases, &(shapes::conv2d(), seed()), |(case, seed)| {
        is_adjoint(&pass::conv2d(&case), seed);
    });
    for_all("adjoint direct convolutions", cases, &(shapes::direct(), seed()), |(case, seed)| {
        is_adjoint(&pass::direct(&case), seed);
    });
    for_all("adjoint dense layers", cases, &(shapes::dense(), seed()), |(case, seed)| {
        is_adjoint(&pass::dense(&case), seed);
    });
    for_all("adjoint averages", cases, &(shapes::halving_pool2d(), seed()), |(case, seed)| {
        is_adjoint_of_pooling(&pass::avg_pool2d(&case), seed);
    });
    for_all("adjoint maxima", cases, &(shapes::pool2d(), seed()), |(case, seed)| {
        is_adjoint_of_pooling(&pass::max_pool2d(&case), seed);
    });
}
