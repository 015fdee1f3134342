//! Activations, losses and updates: whatever takes rows of numbers.

use std::ops::Range;

use convlane::kernels::cross_entropy::{self, Targets};
use convlane::kernels::{activation, lanes, update};
use convlane::layer::Activation;
use convlane::optim::Sgd;
use convlane::reference;

use super::super::geometry::Case;
use super::super::tensor::{in_place, overwritten};
use super::super::tolerance;
use super::super::way::{Data, How, Way, nhwc, pick};
use super::{Pass, concat, magnitudes};

pub const ACTIVATIONS: [Activation; 5] =
    [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Softmax];

/// Those that a gradient can go through number by number.
pub const ELEMENT_WISE: [Activation; 4] = [Activation::Linear, Activation::Relu, Activation::Tanh, Activation::Sigmoid];

pub(super) fn is_linear_or_relu(activation: Activation) -> bool {
    matches!(activation, Activation::Linear | Activation::Relu)
}

/// Forward (`x` to `y`) and backward (`y, dy` to `dx`).
pub fn activation(activation: Activation, case: &Case<usize>) -> [Pass; 2] {
    let channels = case.shape;
    let exact = is_linear_or_relu(activation);
    let forward = move |x: &[f64]| reference::activation::forward(activation, channels, x);
    [
        Pass::new(
            &format!("{activation:?}/forward"),
            case,
            [Data::Samples(channels)],
            Data::Samples(channels),
            move |way, [x]| in_place(x, |y| pick!(way, activation::forward)(way.level, activation, channels, y)),
            move |[x]| forward(x),
        )
        .within(20.0, move |[x]| tolerance::activation(activation, channels, x, &forward(x)))
        .exact_if(exact),
        Pass::new(
            &format!("{activation:?}/backward"),
            case,
            [Data::Samples(channels), Data::Gradients(channels)],
            Data::Gradients(channels),
            move |way, [y, dy]| {
                in_place(dy, |dy| pick!(way, activation::backward)(way.level, activation, channels, y, dy))
            },
            move |[y, dy]| reference::activation::backward(activation, channels, y, dy),
        )
        .within(1.0, move |[y, dy]| tolerance::activation_backward(activation, channels, y, dy, 0))
        .exact_if(exact),
    ]
}

/// Forward (`logits` to losses) and backward (`logits` to `dlogits`) with labels, then both with any weights of the
/// classes as a second input.
pub fn cross_entropy(case: &Case<usize>) -> [Pass; 4] {
    const SCALE: f32 = 1.0 / 3.0;
    const LIMIT: f32 = 20.0;
    let Case { n, shape: classes, .. } = *case;
    let len = n * classes;

    let label = move |sample: usize| sample * 7 % classes;
    let labels = move || (0..n).map(|sample| label(sample) as u32).collect::<Vec<_>>();
    let one_hot = move || (0..len).map(|i| f64::from(label(i / classes) == i % classes)).collect::<Vec<_>>();

    let losses = move |way: Way, z: &[f32], targets: Targets<'_>| {
        let run = pick!(way, cross_entropy::forward);
        overwritten(n, |losses| {
            by_block(way, n, classes, z, targets, |samples, z, targets| {
                run(way.level, classes, z, targets, &mut losses[samples]);
            });
        })
    };
    let gradient = move |way: Way, z: &[f32], targets: Targets<'_>| {
        let run = pick!(way, cross_entropy::backward);
        overwritten(z.len(), |dz| {
            by_block(way, n, classes, z, targets, |samples, z, targets| {
                run(way.level, classes, z, targets, SCALE, &mut dz[samples.start * classes..][..z.len()]);
            });
        })
    };
    let want_losses = move |z: &[f64], t: &[f64]| reference::cross_entropy::forward(classes, z, t);
    let want_gradient = move |z: &[f64], t: &[f64]| reference::cross_entropy::backward(classes, z, t, SCALE.into());
    let losses_bound = move |z: &[f64], t: &[f64]| tolerance::cross_entropy(classes, z, t);
    let gradient_bound = move |z: &[f64], t: &[f64]| tolerance::cross_entropy_backward(classes, z, t, SCALE.into());
    [
        Pass::new(
            "cross_entropy/forward_labels",
            case,
            [Data::Samples(classes)],
            Data::Rows(1),
            move |way, [z]| losses(way, z, Targets::Sparse(&labels())),
            move |[z]| want_losses(z, &one_hot()),
        )
        .within(LIMIT, move |[z]| losses_bound(z, &one_hot())),
        Pass::new(
            "cross_entropy/backward_labels",
            case,
            [Data::Samples(classes)],
            Data::Gradients(classes),
            move |way, [z]| gradient(way, z, Targets::Sparse(&labels())),
            move |[z]| want_gradient(z, &one_hot()),
        )
        .within(LIMIT, move |[z]| gradient_bound(z, &one_hot())),
        Pass::new(
            "cross_entropy/forward_weights",
            case,
            [Data::Samples(classes), Data::Rows(classes)],
            Data::Rows(1),
            move |way, [z, t]| losses(way, z, Targets::OneHot(t)),
            move |[z, t]| want_losses(z, t),
        )
        .within(LIMIT, move |[z, t]| losses_bound(z, t)),
        Pass::new(
            "cross_entropy/backward_weights",
            case,
            [Data::Samples(classes), Data::Rows(classes)],
            Data::Gradients(classes),
            move |way, [z, t]| gradient(way, z, Targets::OneHot(t)),
            move |[z, t]| want_gradient(z, t),
        )
        .within(LIMIT, move |[z, t]| gradient_bound(z, t)),
    ]
}

/// Runs a kernel on the samples of each block, their logits and their targets.
pub fn by_block(
    way: Way,
    n: usize,
    classes: usize,
    z: &[f32],
    targets: Targets<'_>,
    mut run: impl FnMut(Range<usize>, &[f32], Targets<'_>),
) {
    for samples in way.blocks(n) {
        let z = &z[samples.start * classes..][..way.len(samples.len(), classes)];
        let targets = match targets {
            Targets::Sparse(labels) => Targets::Sparse(&labels[samples.clone()]),
            Targets::OneHot(weights) => Targets::OneHot(&weights[samples.start * classes..samples.end * classes]),
        };
        run(samples, z, targets);
    }
}

/// From `dw, w, v` to `w, v`. There is no velocity without momentum, and no rounding if rate and momentum are quarters.
pub fn sgd(case: &Case<usize>, sgd: Sgd) -> Pass {
    let len = case.n * case.shape;
    let Sgd { learning_rate, momentum, nesterov } = sgd;
    let (lr, m) = (f64::from(learning_rate), f64::from(momentum));
    let want = move |lr: f64, dw: &[f64], w: &[f64], v: &[f64]| {
        let none = vec![0.0; len];
        let (w, new_v) = reference::update::sgd(lr, m, nesterov, w, dw, if v.is_empty() { &none } else { v });
        if v.is_empty() { w } else { [w, new_v].concat() }
    };
    let bound = move |inputs: [&[f64]; 3]| {
        let [dw, w, v] = inputs.map(magnitudes);
        want(-lr, &dw, &w, &v).into_iter().map(|magnitude| tolerance::sum(5, magnitude)).collect()
    };
    Pass::new(
        &format!("sgd/{learning_rate}_{momentum}_{nesterov}"),
        case,
        [len, len, sgd.velocity_len(len)].map(Data::Shared),
        Data::Shared(len + sgd.velocity_len(len)),
        move |way, [dw, w, v]| {
            let mut v = in_place(v, |_| {});
            let w = in_place(w, |w| update::sgd(way.level, &sgd, dw, w, &mut v));
            concat(&w, &v)
        },
        move |[dw, w, v]| want(lr, dw, w, v),
    )
    .only(&[How::Serial])
    .within(1.0, bound)
    .exact_if([lr, m].iter().all(|x| (4.0 * x).fract() == 0.0))
}
