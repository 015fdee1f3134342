//! Steps on samples as they come.

use super::{Backward, Forward};
use crate::kernels::activation;
use crate::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use crate::plan::lower::Op;
use crate::plan::profile::{Clock, Part};
use crate::plan::record::Record;

pub(super) fn forward(pass: Forward<'_>) {
    let Forward { level, n, step, x, w, b, y, scratch } = pass;
    match &step.op {
        Op::Conv2d(shape) => conv2d::forward(level, shape, n, x, w, b, y, scratch),
        Op::Dense(shape) => dense::forward(level, shape, n, x, w, b, y),
        Op::AvgPool2d(shape) => avg_pool2d::forward(level, shape, n, x, y),
        Op::MaxPool2d(shape) => max_pool2d::forward(level, shape, n, x, y),
        Op::Activation => y.copy_from_slice(x),
    }
    activation::forward(level, step.activation, step.channels(), y);
}

pub(super) fn backward(pass: Backward<'_>, record: &mut Record<'_>, clock: &mut Clock<'_>) {
    let Backward { level, n, index, steps, x, w, y, dy, dx, scratch } = pass;
    let step = &steps[index];
    activation::backward(level, step.activation, step.channels(), y, dy);
    clock.lap(Part::Backward(index));
    match &step.op {
        Op::Conv2d(shape) => {
            let (dw, db) = record.partials(index, step);
            conv2d::backward_params(level, shape, n, x, dy, dw, db, scratch);
            clock.lap(Part::BackwardParams(index));
            if index > 0 {
                conv2d::backward_input(level, shape, n, dy, w, dx, scratch);
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
        Op::AvgPool2d(shape) => avg_pool2d::backward(level, shape, n, dy, dx),
        Op::MaxPool2d(shape) => max_pool2d::backward(level, shape, n, x, y, dy, dx),
        Op::Activation => dx.copy_from_slice(dy),
    }
    clock.lap(Part::Backward(index));
}
