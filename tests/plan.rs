//! Plans against whole networks in `f64`, and those against central differences.

mod support;

use std::ops::Range;

use convlane::layer::resolve;
use convlane::prelude::*;
use convlane::rng::Rng;
use support::net::Net;
use support::nets::{Case, Setting, nets, wide};

/// The largest difference, relative to the largest value.
fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-30f64, |max, want| max.max(want.abs()));
    got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max) / largest
}

const BATCHES: [(usize, usize); 5] = [(1, 1), (7, 7), (16, 5), (33, 33), (256, 20)];

#[test]
fn outputs_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut y = vec![f32::NAN; n * plan.y_len()];
        plan.forward(&case.params, case.samples(), &mut y, &mut plan.worker()).unwrap();
        let error = distance(&y, &net.forward(&wide(&case.params), n, &wide(&case.x)));
        assert!(error < 5e-6, "{setting}: {error:e}");
    }
}

#[test]
fn gradients_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut worker = plan.worker();
        plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
        let want = net.backward(&wide(&case.params), n, &wide(&case.x), &wide(&case.dy));
        let error = distance(worker.grads(), &want);
        assert!(error < 1e-5, "{setting}: {error:e}");
    }
}

#[test]
fn losses_are_those_of_the_reference() {
    for setting in Setting::all(&BATCHES) {
        let (net, plan, case, n) =
            (Net::new(setting.input, &setting.layers), setting.plan(), setting.case(), setting.n);
        let mut worker = plan.worker();
        let score = plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
        let (loss, grads) = net.loss(&wide(&case.params), n, &wide(&case.x), &case.labels);
        assert!((score.loss() - loss).abs() < 2e-6 * loss.max(1.0), "{setting}: {} {loss}", score.loss());
        let error = distance(worker.grads(), &grads);
        assert!(error < 1e-5, "{setting}: {error:e}");
        assert_eq!(
            plan.evaluate(&case.params, case.samples(), case.targets(), &mut worker).unwrap(),
            score,
            "{setting}"
        );
    }
}

/// Whether `grads` are the slopes of `f` at some parameters of every tensor.
fn check_slopes(id: &str, spans: &[Range<usize>], params: &[f64], grads: &[f64], f: impl Fn(&[f64]) -> f64) {
    const EPS: f64 = 1e-6;
    let mut rng = Rng::new(Seed(6), 0);
    for span in spans {
        for _ in 0..8 {
            let axis = span.start + rng.below(span.len() as u64) as usize;
            let at = |offset| {
                let mut params = params.to_vec();
                params[axis] += offset;
                f(&params)
            };
            let (slope, grad) = ((at(EPS) - at(-EPS)) / (2.0 * EPS), grads[axis]);
            assert!((slope - grad).abs() <= 1e-8 + 1e-5 * slope.abs(), "{id}: parameter {axis}: {grad:e} {slope:e}");
        }
    }
}

#[test]
fn the_reference_is_its_own_central_differences() {
    const N: usize = 2;
    for (name, input, layers) in nets() {
        let (net, plan) = (Net::new(input, &layers), Plan::new(input, &layers, N, &PlanOptions::default()).unwrap());
        let Case { params, x, labels, dy } = Case::new(&plan, N);
        let (params, x, dy) = (wide(&params), wide(&x), wide(&dy));
        let layers = resolve(input, &layers).unwrap();
        let spans: Vec<_> = layers.iter().flat_map(|layer| &layer.params).map(|param| param.span.clone()).collect();

        let dot = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
        check_slopes(name, &spans, &params, &net.backward(&params, N, &x, &dy), |p| dot(net.forward(p, N, &x)));
        check_slopes(name, &spans, &params, &net.loss(&params, N, &x, &labels).1, |p| net.loss(p, N, &x, &labels).0);
    }
}
