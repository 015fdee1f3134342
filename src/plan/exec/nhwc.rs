//! Steps on samples as they come.

use super::{Backward, Forward};
use crate::kernels::activation;
use crate::kernels::nhwc::direct::Pass;
use crate::kernels::nhwc::{avg_pool2d, conv2d, dense, depthwise, direct, max_pool2d, winograd};
use crate::layer::Activation;
use crate::plan::arena::MIN_GROUPS;
use crate::plan::lower::{Op, Step};
use crate::plan::profile::{Clock, Part};
use crate::plan::record::Record;
use crate::plan::ways::Way;
use crate::shape::Conv2dShape;
use crate::simd::Level;

pub(super) fn forward(pass: Forward<'_>) {
    let Forward { level, n, step, x, w, packed, b, y, scratch, .. } = pass;
    match &step.op {
        Op::Conv2d(shape) => {
            let (way, relu) = (step.ways.forward, step.activation == Activation::Relu);
            let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
            match way {
                Way::Direct => {
                    let run = if step.shared { direct::par::forward } else { direct::forward };
                    run(level, shape, n, x, packed, b, floor, y)
                }
                Way::Fast => {
                    let run = if step.shared { winograd::par::forward } else { winograd::forward };
                    run(level, shape, n, x, packed, b, floor, y, of_threads(level, step, shape, Pass::Forward, scratch))
                }
                Way::Depthwise => {
                    let run = if step.shared { depthwise::par::forward } else { depthwise::forward };
                    run(level, shape, n, x, w, b, floor, y)
                }
                _ => conv2d::forward(level, shape, n, x, w, b, y, scratch),
            }
            if relu && way != Way::Columns {
                return;
            }
        }
        Op::Dense(shape) => dense::forward(level, shape, n, x, w, b, y),
        Op::AvgPool2d(shape) => avg_pool2d::forward(level, shape, n, x, y),
        Op::MaxPool2d(shape) => max_pool2d::forward(level, shape, n, x, y),
        Op::Activation => y.copy_from_slice(x),
    }
    activation::forward(level, step.activation, step.channels(), y);
}

pub(super) fn backward(pass: Backward<'_>, record: &mut Record<'_>, clock: &mut Clock<'_>) {
    let Backward { level, n, index, steps, x, w, packed, y, dy, dx, scratch, .. } = pass;
    let step = &steps[index];
    activation::backward(level, step.activation, step.channels(), y, dy);
    clock.lap(Part::Backward(index));
    match &step.op {
        Op::Conv2d(shape) => {
            let (dw, db) = record.partials(index, step);
            match step.ways.params {
                Way::Direct => {
                    let run = if step.shared { direct::par::backward_params } else { direct::backward_params };
                    run(level, shape, n, x, dy, dw, db)
                }
                Way::Fast => {
                    let run = if step.shared { winograd::par::backward_params } else { winograd::backward_params };
                    let scratch = &mut scratch[..winograd::params_scratch_len(level, shape)];
                    run(level, shape, n, x, dy, dw, db, scratch)
                }
                Way::Depthwise if step.shared => {
                    let scratch = &mut scratch[..depthwise::par::scratch_len(shape, n)];
                    depthwise::par::backward_params(level, shape, n, x, dy, dw, db, scratch);
                }
                Way::Depthwise => depthwise::backward_params(level, shape, n, x, dy, dw, db),
                _ => conv2d::backward_params(level, shape, n, x, dy, dw, db, scratch),
            }
            clock.lap(Part::BackwardParams(index));
            if index > 0 {
                match step.ways.input {
                    Way::Direct => {
                        let run = if step.shared { direct::par::backward_input } else { direct::backward_input };
                        run(level, shape, n, dy, packed, dx)
                    }
                    Way::Fast => {
                        let run = if step.shared { winograd::par::backward_input } else { winograd::backward_input };
                        let scratch = of_threads(level, step, shape, Pass::BackwardInput, scratch);
                        run(level, shape, n, dy, packed, dx, scratch)
                    }
                    Way::Depthwise => {
                        let run = if step.shared { depthwise::par::backward_input } else { depthwise::backward_input };
                        run(level, shape, n, dy, w, dx)
                    }
                    _ => conv2d::backward_input(level, shape, n, dy, w, dx, scratch),
                }
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

/// The scratch of a fast pass: that of one thread, or of as many as may share the step.
fn of_threads<'a>(level: Level, step: &Step, shape: &Conv2dShape, pass: Pass, scratch: &'a mut [f32]) -> &'a mut [f32] {
    let threads = if step.shared { MIN_GROUPS } else { 1 };
    &mut scratch[..threads * winograd::scratch_len(level, shape, pass)]
}
