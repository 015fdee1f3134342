//! The ways to compute a pass: a table, and for each the kernels it has.

use convlane::Level;
use convlane::kernels::lanes;
use convlane::kernels::nhwc::{avg_pool2d, conv2d, dense, depthwise, direct, max_pool2d, winograd};
use convlane::layer::Activation;

use super::lines::{Op, Pass};
use super::task::{Inputs, Kernel};

/// A way by its name, whether its tensors lie in lanes, and its kernel for a pass on so many samples, or on so many blocks
/// at a time.
pub struct Way {
    pub name: &'static str,
    pub in_lanes: bool,
    pub kernel: fn(Op, Pass, Level, usize) -> Option<Kernel>,
}

pub const WAYS: [Way; 7] = [
    Way { name: "nhwc", in_lanes: false, kernel: nhwc },
    Way { name: "nhwc_direct", in_lanes: false, kernel: nhwc_direct },
    Way { name: "nhwc_depthwise", in_lanes: false, kernel: nhwc_depthwise },
    Way { name: "nhwc_fast", in_lanes: false, kernel: nhwc_fast },
    Way { name: "lanes", in_lanes: true, kernel: lanes },
    Way { name: "lanes_fast", in_lanes: true, kernel: lanes_fast },
    Way { name: "lanes_in_place", in_lanes: true, kernel: lanes_in_place },
];

const NO_FLOOR: f32 = f32::NEG_INFINITY;

/// im2col and matrix products, the batch split by the kernels themselves.
fn nhwc(op: Op, pass: Pass, level: Level, n: usize) -> Option<Kernel> {
    Some(match (op, pass) {
        (Op::Conv2d(shape), pass) => {
            let scratch = conv2d::par::scratch_len(&shape, n);
            match pass {
                Pass::Forward => Kernel::new(scratch, move |n, Inputs { x, w, .. }, y, scratch| {
                    conv2d::par::forward(level, &shape, n, x, w, None, y, scratch);
                }),
                Pass::Data => Kernel::new(scratch, move |n, Inputs { dy, w, .. }, dx, scratch| {
                    conv2d::par::backward_input(level, &shape, n, dy, w, dx, scratch);
                }),
                Pass::Weights => Kernel::new(scratch, move |n, Inputs { x, dy, .. }, dw, scratch| {
                    conv2d::par::backward_params(level, &shape, n, x, dy, dw, None, scratch);
                }),
            }
        }
        (Op::Dense(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, w, .. }, y, _| {
            dense::par::forward(level, &shape, n, x, w, None, y);
        }),
        (Op::Dense(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { dy, w, .. }, dx, _| {
            dense::par::backward_input(level, &shape, n, dy, w, dx);
        }),
        (Op::Dense(shape), Pass::Weights) => Kernel::new(0, move |n, Inputs { x, dy, .. }, dw, _| {
            dense::par::backward_params(level, &shape, n, x, dy, dw, None);
        }),
        (Op::AvgPool2d(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, .. }, y, _| {
            avg_pool2d::par::forward(level, &shape, n, x, y);
        }),
        (Op::AvgPool2d(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { dy, .. }, dx, _| {
            avg_pool2d::par::backward(level, &shape, n, dy, dx);
        }),
        (Op::MaxPool2d(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, .. }, y, _| {
            max_pool2d::par::forward(level, &shape, n, x, y);
        }),
        (Op::MaxPool2d(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { x, y, dy, .. }, dx, _| {
            max_pool2d::par::backward(level, &shape, n, x, y, dy, dx);
        }),
        (Op::AvgPool2d(_) | Op::MaxPool2d(_), Pass::Weights) => return None,
    })
}

/// Sums in registers, the weights packed anew in every call.
fn nhwc_direct(op: Op, pass: Pass, level: Level, _n: usize) -> Option<Kernel> {
    let Op::Conv2d(shape) = op else { return None };
    if !direct::is_supported(level, &shape) {
        return None;
    }
    let packed_len = move |pass| direct::packed_len(level, &shape, pass);
    Some(match pass {
        Pass::Forward => {
            let pass = direct::Pass::Forward;
            Kernel::new(packed_len(pass), move |n, Inputs { x, w, .. }, y, packed| {
                direct::par::pack(level, &shape, pass, w, packed);
                direct::par::forward(level, &shape, n, x, packed, None, NO_FLOOR, y);
            })
        }
        Pass::Data => {
            let pass = direct::Pass::BackwardInput;
            Kernel::new(packed_len(pass), move |n, Inputs { dy, w, .. }, dx, packed| {
                direct::par::pack(level, &shape, pass, w, packed);
                direct::par::backward_input(level, &shape, n, dy, packed, dx);
            })
        }
        Pass::Weights => Kernel::new(0, move |n, Inputs { x, dy, .. }, dw, _| {
            direct::par::backward_params(level, &shape, n, x, dy, dw, None);
        }),
    })
}

/// The same of every channel by itself.
fn nhwc_depthwise(op: Op, pass: Pass, level: Level, n: usize) -> Option<Kernel> {
    let Op::Conv2d(shape) = op else { return None };
    if !depthwise::is_supported(level, &shape) {
        return None;
    }
    Some(match pass {
        Pass::Forward => Kernel::new(0, move |n, Inputs { x, w, .. }, y, _| {
            depthwise::par::forward(level, &shape, n, x, w, None, NO_FLOOR, y);
        }),
        Pass::Data => Kernel::new(0, move |n, Inputs { dy, w, .. }, dx, _| {
            depthwise::par::backward_input(level, &shape, n, dy, w, dx);
        }),
        Pass::Weights => {
            let scratch = depthwise::par::scratch_len(&shape, n);
            Kernel::new(scratch, move |n, Inputs { x, dy, .. }, dw, scratch| {
                depthwise::par::backward_params(level, &shape, n, x, dy, dw, None, scratch);
            })
        }
    })
}

/// Tiles by values at points, the weights packed anew in every call.
fn nhwc_fast(op: Op, pass: Pass, level: Level, _n: usize) -> Option<Kernel> {
    let Op::Conv2d(shape) = op else { return None };
    if !winograd::is_supported(level, &shape) {
        return None;
    }
    let threads = rayon::current_num_threads();
    let lens = move |pass| (winograd::packed_len(level, &shape, pass), winograd::scratch_len(level, &shape, pass));
    Some(match pass {
        Pass::Forward => {
            let pass = direct::Pass::Forward;
            let (packed, scratch) = lens(pass);
            Kernel::new(packed + threads * scratch, move |n, Inputs { x, w, .. }, y, space| {
                let (packed, scratch) = space.split_at_mut(packed);
                winograd::par::pack(level, &shape, pass, w, packed);
                winograd::par::forward(level, &shape, n, x, packed, None, NO_FLOOR, y, scratch);
            })
        }
        Pass::Data => {
            let pass = direct::Pass::BackwardInput;
            let (packed, scratch) = lens(pass);
            Kernel::new(packed + threads * scratch, move |n, Inputs { dy, w, .. }, dx, space| {
                let (packed, scratch) = space.split_at_mut(packed);
                winograd::par::pack(level, &shape, pass, w, packed);
                winograd::par::backward_input(level, &shape, n, dy, packed, dx, scratch);
            })
        }
        Pass::Weights => {
            let scratch = winograd::params_scratch_len(level, &shape);
            Kernel::new(scratch, move |n, Inputs { x, dy, .. }, dw, scratch| {
                winograd::par::backward_params(level, &shape, n, x, dy, dw, None, scratch);
            })
        }
    })
}

/// Direct algorithms in lanes.
fn lanes(op: Op, pass: Pass, level: Level, n: usize) -> Option<Kernel> {
    Some(match (op, pass) {
        (Op::Conv2d(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, w, .. }, y, _| {
            lanes::conv2d::forward(level, &shape, n, x, w, None, NO_FLOOR, y);
        }),
        (Op::Conv2d(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { dy, w, .. }, dx, _| {
            lanes::conv2d::backward_input(level, &shape, n, dy, w, dx);
        }),
        (Op::Conv2d(shape), Pass::Weights) => Kernel::new(0, move |n, Inputs { x, dy, .. }, dw, _| {
            lanes::conv2d::backward_params(level, &shape, n, x, dy, dw, None);
        }),
        (Op::Dense(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, w, .. }, y, _| {
            lanes::dense::forward(level, &shape, n, x, w, None, NO_FLOOR, y);
        })
        .on_long_runs(),
        (Op::Dense(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { dy, w, .. }, dx, _| {
            lanes::dense::backward_input(level, &shape, n, dy, w, dx);
        })
        .on_long_runs(),
        (Op::Dense(shape), Pass::Weights) => {
            let scratch = move |n| lanes::dense::scratch_len(level, &shape, n);
            let kernel = move |n, Inputs { x, dy, .. }: Inputs<'_>, dw: &mut [f32], space: &mut [f32]| {
                lanes::dense::backward_params(level, &shape, n, x, dy, dw, None, &mut space[..scratch(n)]);
            };
            Kernel::new(scratch(n), kernel).on_long_runs()
        }
        (Op::AvgPool2d(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, .. }, y, _| {
            lanes::avg_pool2d::forward(level, &shape, n, x, y);
        }),
        (Op::AvgPool2d(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { dy, .. }, dx, _| {
            lanes::avg_pool2d::backward(level, &shape, n, dy, dx);
        }),
        (Op::MaxPool2d(shape), Pass::Forward) => Kernel::new(0, move |n, Inputs { x, .. }, y, _| {
            lanes::max_pool2d::forward(level, &shape, n, x, y);
        }),
        (Op::MaxPool2d(shape), Pass::Data) => Kernel::new(0, move |n, Inputs { x, y, dy, .. }, dx, _| {
            lanes::max_pool2d::backward(level, &shape, n, x, y, dy, dx);
        }),
        (Op::AvgPool2d(_) | Op::MaxPool2d(_), Pass::Weights) => return None,
    })
}

/// Convolutions in lanes with fewer products.
fn lanes_fast(op: Op, pass: Pass, level: Level, _n: usize) -> Option<Kernel> {
    let Op::Conv2d(shape) = op else { return None };
    if !lanes::winograd::is_supported(level, &shape) {
        return None;
    }
    let scratch = lanes::winograd::scratch_len(level, &shape);
    Some(match pass {
        Pass::Forward => Kernel::new(scratch, move |n, Inputs { x, w, .. }, y, scratch| {
            lanes::winograd::forward(level, &shape, n, x, w, None, NO_FLOOR, y, scratch);
        }),
        Pass::Data => Kernel::new(scratch, move |n, Inputs { dy, w, .. }, dx, scratch| {
            lanes::winograd::backward_input(level, &shape, n, dy, w, dx, scratch);
        }),
        Pass::Weights => Kernel::new(scratch, move |n, Inputs { x, dy, .. }, dw, scratch| {
            lanes::winograd::backward_params(level, &shape, n, x, dy, dw, None, scratch);
        }),
    })
}

/// Gradients of poolings in lanes that take the place of the input, as in a plan.
fn lanes_in_place(op: Op, pass: Pass, level: Level, _n: usize) -> Option<Kernel> {
    let none = Activation::Linear;
    match (op, pass) {
        (Op::AvgPool2d(shape), Pass::Data) => Some(Kernel::new(0, move |n, Inputs { dy, .. }, x, _| {
            lanes::avg_pool2d::backward_activated(level, &shape, n, none, dy, x, None);
        })),
        (Op::MaxPool2d(shape), Pass::Data) => Some(Kernel::new(0, move |n, Inputs { y, dy, .. }, x, _| {
            lanes::max_pool2d::backward_activated(level, &shape, n, none, y, dy, x, None);
        })),
        _ => None,
    }
}
