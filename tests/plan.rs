//! Plans against whole networks in `f64`, and against themselves on other threads and unfused.

mod support;

use convlane::kernels::cast::Pixels;
use convlane::kernels::cross_entropy::Targets;
use convlane::prelude::*;
use convlane::rng::Rng;
use support::net::Net;

/// Networks with every layer, fused and not, in orders that programs use and orders that they do not.
fn nets() -> Vec<(&'static str, Shape, Vec<Layer>)> {
    let lenet5 = vec![
        Conv2d::new(6, 5).relu().into(),
        AvgPool2d::new(2).into(),
        Conv2d::new(16, 5).relu().into(),
        AvgPool2d::new(2).into(),
        Flatten.into(),
        Dense::new(120).relu().into(),
        Dense::new(84).relu().into(),
        Dense::new(10).softmax().into(),
    ];
    let strided = vec![
        Conv2d::new(6, 3).same().tanh().into(),
        MaxPool2d::new(3).stride(2).same().into(),
        Conv2d::new(8, (3, 1)).groups(2).stride((2, 1)).no_bias().sigmoid().into(),
        Conv2d::new(4, 2).dilation(2).padding(Padding::Explicit { top: 1, bottom: 0, left: 2, right: 3 }).into(),
        Activation::Relu.into(),
        AvgPool2d::new((2, 3)).stride(1).same().into(),
        Flatten.into(),
        Dense::new(7).no_bias().into(),
    ];
    let odd = vec![
        Activation::Tanh.into(),
        MaxPool2d::new(2).into(),
        Activation::Sigmoid.into(),
        Conv2d::new(5, 1).softmax().into(),
        Conv2d::new(3, 3).into(),
        Activation::Softmax.into(),
        Flatten.into(),
        Dense::new(4).relu().into(),
        Activation::Tanh.into(),
        Dense::new(3).into(),
        Activation::Softmax.into(),
    ];
    let dense = vec![Flatten.into(), Dense::new(5).sigmoid().into(), Dense::new(2).softmax().into()];
    let conv = vec![Conv2d::new(4, 6).into(), Flatten.into()];
    let still = vec![Flatten.into(), Activation::Softmax.into()];
    vec![
        ("lenet5", Shape::hwc(28, 28, 1), lenet5),
        ("strided", Shape::hwc(13, 11, 3), strided),
        ("odd", Shape::hwc(8, 9, 2), odd),
        ("dense", Shape::hwc(3, 1, 2), dense),
        ("conv", Shape::hwc(6, 6, 3), conv),
        ("still", Shape::hwc(1, 3, 1), still),
    ]
}

/// Parameters, samples, labels and an output gradient for `n` samples.
struct Case {
    params: Vec<f32>,
    x: Vec<f32>,
    labels: Vec<u32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(plan: &Plan, n: usize) -> Self {
        let mut rng = Rng::new(Seed(5), n as u64);
        let mut floats = |len: usize, limit| (0..len).map(|_| rng.symmetric(limit)).collect::<Vec<_>>();
        let (params, x) = (floats(plan.params_len(), 0.3), floats(n * plan.x_len(), 1.0));
        let dy = floats(n * plan.y_len(), 1.0);
        let labels = (0..n).map(|_| rng.below(plan.y_len() as u64) as u32).collect();
        Case { params, x, labels, dy }
    }

    fn samples(&self) -> Samples<'_> {
        Samples::all(Pixels::F32(&self.x))
    }

    fn targets(&self) -> Targets<'_> {
        Targets::Sparse(&self.labels)
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The largest difference, relative to the largest value.
fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-30f64, |max, want| max.max(want.abs()));
    got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max) / largest
}

/// Calls `check` with every network, level and several batch sizes.
fn for_each_case(mut check: impl FnMut(&str, &Net, &Plan, usize, &Case)) {
    for (name, input, layers) in nets() {
        let net = Net::new(input, &layers);
        for level in Level::available() {
            for (batch, n) in [(1, 1), (7, 7), (16, 5), (33, 33), (256, 20)] {
                let options = PlanOptions { level, ..PlanOptions::default() };
                let plan = Plan::new(input, &layers, batch, &options).unwrap();
                assert_eq!(plan.params_len(), net.params_len());
                check(&format!("{name}/{level}/batch {batch}/n {n}"), &net, &plan, n, &Case::new(&plan, n));
            }
        }
    }
}

#[test]
fn outputs_are_those_of_the_reference() {
    for_each_case(|id, net, plan, n, case| {
        let mut y = vec![f32::NAN; n * plan.y_len()];
        plan.forward(&case.params, case.samples(), &mut y, &mut plan.worker()).unwrap();
        let error = distance(&y, &net.forward(&wide(&case.params), n, &wide(&case.x)));
        assert!(error < 5e-6, "{id}: {error:e}");
    });
}

#[test]
fn gradients_are_those_of_the_reference() {
    for_each_case(|id, net, plan, n, case| {
        let mut worker = plan.worker();
        plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
        let want = net.backward(&wide(&case.params), n, &wide(&case.x), &wide(&case.dy));
        let error = distance(worker.grads(), &want);
        assert!(error < 1e-5, "{id}: {error:e}");
    });
}

#[test]
fn losses_are_those_of_the_reference() {
    for_each_case(|id, net, plan, n, case| {
        let mut worker = plan.worker();
        let score = plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
        let (loss, grads) = net.loss(&wide(&case.params), n, &wide(&case.x), &case.labels);
        assert!((score.loss() - loss).abs() < 2e-6 * loss.max(1.0), "{id}: {} {loss}", score.loss());
        let error = distance(worker.grads(), &grads);
        assert!(error < 1e-5, "{id}: {error:e}");
        assert_eq!(plan.evaluate(&case.params, case.samples(), case.targets(), &mut worker).unwrap(), score, "{id}");
    });
}
