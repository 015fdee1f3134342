//! Poolings, alone and with what stands before them.

use convlane::kernels::lanes;
use convlane::kernels::nhwc::{avg_pool2d, max_pool2d};
use convlane::layer::Activation;
use convlane::reference;
use convlane::shape::{Axis, Pool2dShape};

use super::super::geometry::Case;
use super::super::tensor::{START, added, in_place, overwritten};
use super::super::tolerance;
use super::super::way::{Data, How, Way, nhwc, pick};
use super::rows::{ELEMENT_WISE, is_linear_or_relu};
use super::{Pass, from_start, magnitudes};

/// Whether every window has a power of two of pixels.
fn halves(shape: &Pool2dShape) -> bool {
    let halves = |axis: &Axis| (0..axis.output()).all(|o| axis.taps(o).len().is_power_of_two());
    halves(shape.h()) && halves(shape.w())
}

/// Forward (`x` to `y`) and backward (`dy` to `dx`). Dividing by the number of pixels rounds, unless it is a power of two.
pub fn avg_pool2d(case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y, exact) = (shape.x_len(), shape.y_len(), halves(&shape));
    let terms = shape.h().kernel() * shape.w().kernel() + 1;
    [
        Pass::new(
            "avg_pool2d/forward",
            case,
            [Data::Samples(x)],
            Data::Samples(y),
            move |way, [x]| {
                let run = pick!(way, avg_pool2d::forward);
                overwritten(way.len(n, y), |y| run(way.level, &shape, way.count(n), x, y))
            },
            move |[x]| reference::avg_pool2d::forward(&shape, n, x),
        )
        .sums(terms)
        .exact_if(exact),
        Pass::new(
            "avg_pool2d/backward",
            case,
            [Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [dy]| {
                let run = pick!(way, avg_pool2d::backward);
                overwritten(way.len(n, x), |dx| run(way.level, &shape, way.count(n), dy, dx))
            },
            move |[dy]| reference::avg_pool2d::backward(&shape, n, dy),
        )
        .sums(terms)
        .exact_if(exact),
    ]
}

/// Forward (`x` to `y`) and backward (`x, dy` to `dx`).
pub fn max_pool2d(case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y) = (shape.x_len(), shape.y_len());
    let terms = shape.h().kernel() * shape.w().kernel();
    let forward = move |way: Way, x: &[f32]| {
        let run = pick!(way, max_pool2d::forward);
        overwritten(way.len(n, y), |y| run(way.level, &shape, way.count(n), x, y))
    };
    let gradient = move |x: &[f64], dy: &[f64]| reference::max_pool2d::backward(&shape, n, x, dy);
    let bound = move |[x, dy]: [&[f64]; 2]| {
        gradient(x, &magnitudes(dy)).into_iter().map(|magnitude| tolerance::sum(terms, magnitude)).collect()
    };
    [
        Pass::new(
            "max_pool2d/forward",
            case,
            [Data::Samples(x)],
            Data::Samples(y),
            move |way, [x]| forward(way, x),
            move |[x]| reference::max_pool2d::forward(&shape, n, x),
        ),
        Pass::new(
            "max_pool2d/backward",
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [x, dy]| {
                let (run, y) = (pick!(way, max_pool2d::backward), forward(way, x));
                overwritten(way.len(n, shape.x_len()), |dx| run(way.level, &shape, way.count(n), x, &y, dy, dx))
            },
            move |[x, dy]| gradient(x, dy),
        )
        .within(1.0, bound)
        .exact_if(true),
    ]
}

/// Backward (`x, dy` to `dx`) of average pooling and of the activation that gave `x`, and the gradient of the bias before
/// it.
pub fn avg_pool2d_activated(activation: Activation, case: &Case<Pool2dShape>) -> [Pass; 2] {
    let Case { n, shape, .. } = *case;
    let (x, y, c, exact) = (shape.x_len(), shape.y_len(), shape.c(), halves(&shape));
    let (terms, pixels) = (shape.h().kernel() * shape.w().kernel() + 1, n * x / c);
    let run = move |way: Way, x: &[f32], dy: &[f32], db: Option<&mut [f32]>| {
        in_place(x, |x| {
            lanes::avg_pool2d::backward_activated(way.level, &shape, way.count(n), activation, dy, x, db);
        })
    };
    let gradient = move |x: &[f64], dy: &[f64]| {
        reference::activation::backward(activation, c, x, &reference::avg_pool2d::backward(&shape, n, dy))
    };
    let bound = move |x: &[f64], dy: &[f64], terms| {
        let dx = reference::avg_pool2d::backward(&shape, n, &magnitudes(dy));
        tolerance::activation_backward(activation, c, x, &dx, terms)
    };
    let sums = move |dx: &[f64]| (0..c).map(|i| dx.iter().skip(i).step_by(c).sum()).collect::<Vec<f64>>();
    [
        Pass::new(
            &format!("avg_pool2d/backward_{activation:?}"),
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Gradients(x),
            move |way, [x, dy]| run(way, x, dy, None),
            move |[x, dy]| gradient(x, dy),
        )
        .within(1.0, move |[x, dy]| bound(x, dy, terms))
        .exact_if(exact)
        .only(&[How::Lanes]),
        Pass::new(
            &format!("avg_pool2d/backward_{activation:?}_bias"),
            case,
            [Data::Samples(x), Data::Gradients(y)],
            Data::Shared(c),
            move |way, [x, dy]| {
                let [db] = added([c], |[db]| drop(run(way, x, dy, Some(db))));
                db
            },
            move |[x, dy]| from_start(&[sums(&gradient(x, dy))]),
        )
        .within(1.0, move |[x, dy]| {
            let bound = sums(&bound(x, dy, terms + pixels + 1));
            bound.iter().map(|bound| bound + tolerance::sum(1, START.into())).collect()
        })
        .exact_if(exact && is_linear_or_relu(activation))
        .only(&[How::Lanes]),
    ]
}

/// Backward (`x, dy` to `dx`) of max pooling and of the activation that gave `x`.
pub fn max_pool2d_activated(activation: Activation, case: &Case<Pool2dShape>) -> Pass {
    let Case { n, shape, .. } = *case;
    let (x, y, terms) = (shape.x_len(), shape.y_len(), shape.h().kernel() * shape.w().kernel());
    let pooled = move |x: &[f64], dy: &[f64]| reference::max_pool2d::backward(&shape, n, x, dy);
    Pass::new(
        &format!("max_pool2d/backward_{activation:?}"),
        case,
        [Data::Samples(x), Data::Gradients(y)],
        Data::Gradients(x),
        move |way, [x, dy]| {
            let (level, len, n) = (way.level, way.len(n, y), way.count(n));
            let y = overwritten(len, |y| lanes::max_pool2d::forward(level, &shape, n, x, y));
            in_place(x, |x| {
                lanes::max_pool2d::backward_activated(level, &shape, n, activation, &y, dy, x, None);
            })
        },
        move |[x, dy]| reference::activation::backward(activation, shape.c(), x, &pooled(x, dy)),
    )
    .within(1.0, move |[x, dy]| {
        tolerance::activation_backward(activation, shape.c(), x, &pooled(x, &magnitudes(dy)), terms)
    })
    .exact_if(true)
    .only(&[How::Lanes])
}

/// Every pass of both poolings.
pub fn pool2d(case: &Case<Pool2dShape>) -> Vec<Pass> {
    let mut passes = [avg_pool2d(case), max_pool2d(case)].concat();
    for activation in ELEMENT_WISE.into_iter().filter(|_| case.shape.is_partition()) {
        passes.extend(avg_pool2d_activated(activation, case));
        passes.push(max_pool2d_activated(activation, case));
    }
    passes
}
