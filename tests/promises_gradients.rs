//! Promise 5: the gradients of the reference are what central differences of its forward passes give, those of kernels and
//! plans what the reference says.

mod support;

use convlane::layer::{Activation, resolve};
use convlane::prelude::{Layer, Plan, PlanOptions};
use convlane::reference::{activation, avg_pool2d, conv2d, cross_entropy, dense, max_pool2d};
use convlane::rng::{Rng, Seed};
use convlane::shape::Shape;
use support::cases::cases;
use support::geometry::{self, Case};
use support::net::Net;
use support::nets::{self, nets, options_of, wide};
use support::pass::{self, ACTIVATIONS, Pass};

const STEP: f64 = 1e-6;

fn is_close(gradient: f64, slope: f64) -> bool {
    (gradient - slope).abs() <= 1e-5 + 1e-3 * slope.abs()
}

fn random(len: usize, stream: u64) -> Vec<f64> {
    let mut rng = Rng::new(Seed(5), stream);
    (0..len).map(|_| rng.symmetric(1.0).into()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Holds `gradient` against the slopes of `<forward(x), dy>` at `x`.
fn check(id: &str, x: &[f64], dy: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>, gradient: &[f64]) {
    check_at(0..x.len(), id, x, dy, forward, gradient);
}

/// The same for some of the numbers of `x`.
fn check_at(
    places: impl IntoIterator<Item = usize>,
    id: &str,
    x: &[f64],
    dy: &[f64],
    forward: impl Fn(&[f64]) -> Vec<f64>,
    gradient: &[f64],
) {
    assert_eq!(gradient.len(), x.len(), "{id}");
    let mut moved = x.to_vec();
    for i in places {
        let mut at = |x: f64| {
            moved[i] = x;
            dot(&forward(&moved), dy)
        };
        let slope = (at(x[i] + STEP) - at(x[i] - STEP)) / (2.0 * STEP);
        at(x[i]);
        assert!(is_close(gradient[i], slope), "{id}: gradient {i} is {}, the slope {slope}", gradient[i]);
    }
}

/// The same for every input of a layer `y = x w + b`.
fn check_affine(
    id: &str,
    [x, w, b]: [&[f64]; 3],
    dy: &[f64],
    forward: impl Fn(&[f64], &[f64], &[f64]) -> Vec<f64>,
    dx: &[f64],
    (dw, db): (Vec<f64>, Vec<f64>),
) {
    check(&format!("{id}/x"), x, dy, |x| forward(x, w, b), dx);
    check(&format!("{id}/w"), w, dy, |w| forward(x, w, b), &dw);
    check(&format!("{id}/b"), b, dy, |b| forward(x, w, b), &db);
}

#[test]
fn conv2d_gradients() {
    let cases = geometry::conv2d().into_iter().filter(|case| case.shape.multiply_adds() <= 12_000);
    for Case { name, shape, .. } in cases {
        let n = 2;
        let (x, w, b) = (random(n * shape.x_len(), 0), random(shape.w_len(), 1), random(shape.out_c(), 2));
        let dy = random(n * shape.y_len(), 3);
        let forward = |x: &[f64], w: &[f64], b: &[f64]| conv2d::forward(&shape, n, x, w, Some(b));
        let dx = conv2d::backward_input(&shape, n, &dy, &w);
        check_affine(name, [&x, &w, &b], &dy, forward, &dx, conv2d::backward_params(&shape, n, &x, &dy));
    }
}

#[test]
fn dense_gradients() {
    let cases = geometry::dense().into_iter().filter(|case| case.n * case.shape.w_len() <= 5_000);
    for Case { name, n, shape } in cases {
        let (x, w, b) = (random(n * shape.inputs(), 0), random(shape.w_len(), 1), random(shape.outputs(), 2));
        let dy = random(n * shape.outputs(), 3);
        let forward = |x: &[f64], w: &[f64], b: &[f64]| dense::forward(&shape, n, x, w, Some(b));
        let dx = dense::backward_input(&shape, n, &dy, &w);
        check_affine(name, [&x, &w, &b], &dy, forward, &dx, dense::backward_params(&shape, n, &x, &dy));
    }
}

#[test]
fn pool2d_gradients() {
    for Case { name, shape, .. } in geometry::pool2d().into_iter().filter(|case| case.shape.x_len() <= 1_500) {
        let n = 1;
        let (x, dy) = (random(n * shape.x_len(), 0), random(n * shape.y_len(), 1));
        let average = |x: &[f64]| avg_pool2d::forward(&shape, n, x);
        check(&format!("{name}/average"), &x, &dy, average, &avg_pool2d::backward(&shape, n, &dy));
        let max = |x: &[f64]| max_pool2d::forward(&shape, n, x);
        check(&format!("{name}/max"), &x, &dy, max, &max_pool2d::backward(&shape, n, &x, &dy));
    }
}

#[test]
fn activation_gradients() {
    let (channels, len) = (7, 35);
    let (x, dy): (Vec<f64>, _) = (random(len, 0).iter().map(|x| 3.0 * x).collect(), random(len, 1));
    for kind in ACTIVATIONS {
        let forward = |x: &[f64]| activation::forward(kind, channels, x);
        check(&format!("{kind:?}"), &x, &dy, forward, &activation::backward(kind, channels, &forward(&x), &dy));
    }
}

#[test]
fn cross_entropy_gradients() {
    let (classes, n, scale) = (7, 5, 0.3);
    let logits: Vec<f64> = random(n * classes, 0).iter().map(|z| 5.0 * z).collect();
    let one_hot = (0..n * classes).map(|i| f64::from(i % classes == i / classes)).collect();
    let soft = activation::forward(Activation::Softmax, classes, &random(n * classes, 1));
    for (name, targets) in [("one_hot", one_hot), ("soft", soft), ("any", random(n * classes, 2))] {
        let losses = |z: &[f64]| cross_entropy::forward(classes, z, &targets);
        check(name, &logits, &[scale; 5], losses, &cross_entropy::backward(classes, &logits, &targets, scale));
    }
}

/// Some parameters of every tensor of every network of the tests, for a gradient of the output and for the loss.
#[test]
fn network_gradients() {
    let (n, most) = (2, cases(8, 300));
    for (name, input, layers) in nets() {
        let (net, case) = (Net::new(input, &layers), case_of(input, &layers, n));
        let [params, x, dy] = [&case.params, &case.x, &case.dy].map(|values| wide(values));
        let (mut rng, mut places) = (Rng::new(Seed(6), 0), Vec::new());
        for param in resolve(input, &layers).unwrap().iter().flat_map(|layer| &layer.params) {
            let mut of_tensor: Vec<usize> = param.span.clone().collect();
            rng.shuffle(&mut of_tensor);
            places.extend(of_tensor.into_iter().take(most));
        }
        let forward = |params: &[f64]| net.forward(params, n, &x);
        check_at(places.iter().copied(), name, &params, &dy, forward, &net.backward(&params, n, &x, &dy));
        let loss = |params: &[f64]| vec![net.loss(params, n, &x, &case.labels).0];
        check_at(places, name, &params, &[1.0], loss, &net.loss(&params, n, &x, &case.labels).1);
    }
}

fn case_of(input: Shape, layers: &[Layer], n: usize) -> nets::Case {
    nets::Case::new(&Plan::new(input, layers, n, &PlanOptions::default()).unwrap(), n)
}

/// On every engine and level, all parameters.
#[test]
fn gradients_of_plans() {
    let n = 2;
    for (name, input, layers) in nets() {
        let (net, case) = (Net::new(input, &layers), case_of(input, &layers, n));
        let [params, x, dy] = [&case.params, &case.x, &case.dy].map(|values| wide(values));
        let of_output = net.backward(&params, n, &x, &dy);
        let of_loss = net.loss(&params, n, &x, &case.labels).1;
        for options in options_of(name) {
            let plan = Plan::new(input, &layers, n, &options).unwrap();
            let mut worker = plan.worker();
            let check = |grads: &[f32], want: &[f64]| {
                for (i, (&got, &want)) in grads.iter().zip(want).enumerate() {
                    assert!(is_close(got.into(), want), "{name}/{options:?}: gradient {i} is {got}, not {want}");
                }
            };
            plan.backward(&case.params, case.samples(), &case.dy, &mut worker).unwrap();
            check(worker.grads(), &of_output);
            plan.forward_backward(&case.params, case.samples(), case.targets(), &mut worker).unwrap();
            check(worker.grads(), &of_loss);
        }
    }
}

/// Kernels in all ways, on floats.
#[test]
fn gradients_of_kernels() {
    let check = |passes: &[Pass]| {
        for pass in passes.iter().filter(|pass| pass.id.contains("/backward")) {
            pass.compare_floats(7, |id, got, want| assert!(is_close(got, want), "{id}: {got} is not {want}"));
        }
    };
    geometry::conv2d().iter().for_each(|case| check(&pass::conv2d(case).all()));
    geometry::dense().iter().for_each(|case| check(&pass::dense(case).all()));
    geometry::pool2d().iter().for_each(|case| check(&pass::pool2d(case)));
    for case in geometry::rows() {
        check(&pass::cross_entropy(&case));
        ACTIVATIONS.iter().for_each(|&activation| check(&pass::activation(activation, &case)));
    }
}
