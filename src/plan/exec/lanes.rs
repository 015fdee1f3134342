//! Steps on a block of samples, one a lane.

use super::{Backward, Forward};
use crate::kernels::lanes::{activation, avg_pool2d, conv2d, dense, max_pool2d, winograd};
use crate::layer::Activation;
use crate::plan::lower::{Op, Step};
use crate::plan::profile::{Clock, Part};
use crate::plan::record::Record;
use crate::plan::ways::Way;

pub(super) fn forward(pass: Forward<'_>) {
    let Forward { level, n, step, x, w, b, y, signs, scratch, .. } = pass;
    let relu = matches!((step.op, step.activation), (Op::Conv2d(_) | Op::Dense(_), Activation::Relu));
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    match &step.op {
        Op::Conv2d(shape) if step.pooled => winograd::forward_pooled(level, shape, n, x, w, b, y, signs, scratch),
        Op::Conv2d(shape) => match step.ways.forward {
            Way::Fast => winograd::forward(level, shape, n, x, w, b, floor, y, scratch),
            _ => conv2d::forward(level, shape, n, x, w, b, floor, y),
        },
        Op::Dense(shape) => dense::forward(level, shape, n, x, w, b, floor, y),
        Op::AvgPool2d(shape) => avg_pool2d::forward(level, shape, n, x, y),
        Op::MaxPool2d(shape) => max_pool2d::forward(level, shape, n, x, y),
        Op::Activation => y.copy_from_slice(x),
    }
    if !relu {
        activation::forward(level, step.activation, step.channels(), y);
    }
}

pub(super) fn backward(pass: Backward<'_>, record: &mut Record<'_>, clock: &mut Clock<'_>) {
    let Backward { level, n, index, steps, x, w, y, dy, dx, signs, scratch, .. } = pass;
    let step = &steps[index];
    if let (Op::Conv2d(shape), true) = (&step.op, step.pooled) {
        let (dw, db) = record.partials(index, step);
        let dx = (index > 0).then_some(dx);
        winograd::backward_pooled(level, shape, n, x, w, dy, signs, dw, db, dx, scratch);
        return clock.lap(Part::BackwardParams(index));
    }
    // The pooling above has taken the gradient through this step's activation already, and into the bias of a direct one.
    let done = steps.get(index + 1).is_some_and(|next| next.through);
    if !done {
        activation::backward(level, step.activation, step.channels(), y, dy);
    }
    clock.lap(Part::Backward(index));
    match &step.op {
        Op::Conv2d(shape) => {
            let (dw, db) = record.partials(index, step);
            let fast = step.ways.contain(Way::Fast);
            let db = if done && !fast { None } else { db };
            if fast && index > 0 {
                winograd::backward(level, shape, n, x, w, dy, dw, db, dx, scratch);
                return clock.lap(Part::BackwardParams(index));
            }
            if fast {
                winograd::backward_params(level, shape, n, x, dy, dw, db, scratch);
            } else {
                conv2d::backward_params(level, shape, n, x, dy, dw, db);
            }
            clock.lap(Part::BackwardParams(index));
            if index > 0 {
                conv2d::backward_input(level, shape, n, dy, w, dx);
                clock.lap(Part::BackwardInput(index));
            }
        }
        Op::Dense(shape) => {
            record.save(index, shape, x, dy);
            clock.lap(Part::BackwardParams(index));
            if index > 0 {
                dense::backward_input(level, shape, n, dy, w, dx);
                clock.lap(Part::BackwardInput(index));
            }
        }
        Op::AvgPool2d(shape) if step.through => {
            let (before, db) = before_pooling(steps, index, record);
            avg_pool2d::backward_activated(level, shape, n, before.activation, dy, x, db);
        }
        Op::MaxPool2d(shape) if step.through => {
            let (before, db) = before_pooling(steps, index, record);
            max_pool2d::backward_activated(level, shape, n, before.activation, y, dy, x, db);
        }
        Op::AvgPool2d(shape) => avg_pool2d::backward(level, shape, n, dy, dx),
        Op::MaxPool2d(shape) => max_pool2d::backward(level, shape, n, x, y, dy, dx),
        Op::Activation => dx.copy_from_slice(dy),
    }
    clock.lap(Part::Backward(index));
}

/// The convolution before a pooling, and the gradient of its bias, unless it is a fast one, which has its own way to that.
fn before_pooling<'a>(
    steps: &'a [Step],
    index: usize,
    record: &'a mut Record<'_>,
) -> (&'a Step, Option<&'a mut [f32]>) {
    let before = &steps[index - 1];
    let (_, db) = record.partials(index - 1, before);
    (before, db.filter(|_| !before.ways.contain(Way::Fast)))
}
