//! The one list of named geometries, for tests and benches.

use convlane::layer::{AvgPool2d, Conv2d, Pool2d};
use convlane::shape::{Conv2dShape, DenseShape, Padding, Pool2dShape, Shape};

/// A named geometry and the number of samples to run it on.
#[derive(Debug, Clone, Copy)]
pub struct Case<S> {
    pub name: &'static str,
    pub n: usize,
    pub shape: S,
}

const fn explicit(top: usize, bottom: usize, left: usize, right: usize) -> Padding {
    Padding::Explicit { top, bottom, left, right }
}

/// Convolutions.
pub fn conv2d() -> Vec<Case<Conv2dShape>> {
    let case = |name, n, (h, w, c), conv: Conv2d| {
        let shape = conv.shape(Shape::hwc(h, w, c)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Case { name, n, shape }
    };
    vec![
        case("lenet1", 33, (28, 28, 1), Conv2d::new(6, 5)),
        case("lenet2", 33, (12, 12, 6), Conv2d::new(16, 5)),
        case("lenet1_same", 2, (28, 28, 1), Conv2d::new(6, 5).same()),
        case("one_by_one", 5, (7, 7, 17), Conv2d::new(33, 1)),
        case("one_by_one_stride3", 2, (11, 10, 7), Conv2d::new(3, 1).stride(3)),
        case("one_pixel", 5, (1, 1, 3), Conv2d::new(7, 1)),
        case("one_of_everything", 1, (1, 1, 1), Conv2d::new(1, 1)),
        case("stride2", 2, (8, 8, 7), Conv2d::new(17, 3).stride(2)),
        case("stride2_same", 5, (9, 9, 3), Conv2d::new(7, 3).stride(2).same()),
        case("stride_over_kernel", 5, (10, 10, 3), Conv2d::new(7, 2).stride(3)),
        case("stride_over_kernel_same", 2, (11, 11, 3), Conv2d::new(7, 2).stride(4).same()),
        case("stride_asymmetric", 2, (9, 10, 3), Conv2d::new(7, 3).stride((2, 1))),
        case("stride_asymmetric_same", 2, (9, 10, 3), Conv2d::new(7, 3).stride((1, 3)).same()),
        case("odd_sizes", 5, (13, 7, 3), Conv2d::new(5, 3)),
        case("kernel_is_input", 33, (5, 4, 7), Conv2d::new(17, (5, 4))),
        case("kernel_over_input", 2, (2, 3, 3), Conv2d::new(4, 5).padding(explicit(3, 2, 1, 2))),
        case("kernel_even_same", 2, (6, 7, 3), Conv2d::new(5, (2, 4)).same()),
        case("kernel_row", 2, (6, 12, 3), Conv2d::new(7, (1, 5))),
        case("kernel_column", 2, (12, 6, 3), Conv2d::new(7, (5, 1)).same()),
        case("channels_1_1", 5, (6, 6, 1), Conv2d::new(1, 3)),
        case("channels_1_32", 2, (9, 9, 1), Conv2d::new(32, 3).same()),
        case("channels_3_7", 5, (6, 6, 3), Conv2d::new(7, 3)),
        case("channels_7_17", 2, (5, 9, 7), Conv2d::new(17, 2)),
        case("channels_17_3", 2, (5, 9, 17), Conv2d::new(3, 3).same()),
        case("channels_32_33", 2, (6, 7, 32), Conv2d::new(33, 3).same()),
        case("channels_64_64", 2, (12, 12, 64), Conv2d::new(64, 3).same()),
        case("channels_256_10", 2, (4, 4, 256), Conv2d::new(10, 3)),
        case("groups", 2, (6, 7, 6), Conv2d::new(9, 3).groups(3)),
        case("groups_wide", 1, (6, 6, 64), Conv2d::new(128, 3).groups(2)),
        case("groups_stride_dilation", 2, (9, 9, 4), Conv2d::new(6, 3).groups(2).stride(2).dilation(2)),
        case("depthwise", 2, (7, 7, 17), Conv2d::new(17, 3).groups(17).same()),
        case("depthwise_row", 2, (1, 19, 40), Conv2d::new(40, 3).groups(40).same()),
        case("depthwise_narrow", 2, (9, 2, 33), Conv2d::new(33, 5).groups(33).same()),
        case("depthwise_five", 2, (7, 21, 24), Conv2d::new(24, 5).groups(24).same()),
        case("depthwise_borders", 2, (6, 11, 17), Conv2d::new(17, 3).groups(17).padding(explicit(1, 0, 2, 1))),
        case("depthwise_far_borders", 2, (4, 7, 17), Conv2d::new(17, 3).groups(17).padding(explicit(3, 0, 1, 4))),
        case("depthwise_stride2", 2, (9, 12, 18), Conv2d::new(18, 3).groups(18).stride(2).same()),
        case("depthwise_stride2_five", 2, (6, 19, 20), Conv2d::new(20, 5).groups(20).stride(2).same()),
        case("depthwise_multiplier", 2, (7, 6, 7), Conv2d::new(21, 3).groups(7).stride(2)),
        case("dilation", 2, (9, 9, 3), Conv2d::new(7, 3).dilation(2)),
        case("dilation_asymmetric_same", 2, (8, 11, 3), Conv2d::new(7, 3).dilation((2, 3)).same()),
        case("dilation_over_input", 2, (3, 3, 2), Conv2d::new(3, 3).dilation(4).same()),
        case("padding_asymmetric", 2, (6, 7, 3), Conv2d::new(5, 3).padding(explicit(1, 0, 2, 3))),
        case("padding_over_kernel", 2, (3, 4, 3), Conv2d::new(5, 2).padding(explicit(4, 3, 0, 5))),
        case(
            "padding_stride_dilation",
            2,
            (7, 6, 3),
            Conv2d::new(5, 3).stride(3).dilation(2).padding(explicit(2, 4, 3, 1)),
        ),
        case("remainder_unread", 2, (8, 9, 3), Conv2d::new(5, 3).stride(4)),
        case("row_image", 2, (1, 40, 3), Conv2d::new(7, (1, 3))),
        case("column_image", 2, (40, 1, 3), Conv2d::new(7, (3, 1)).stride((2, 1))),
        case("row_tail", 1, (3, 37, 3), Conv2d::new(16, 3)),
    ]
}

/// Poolings; the kind is the caller's.
pub fn pool2d() -> Vec<Case<Pool2dShape>> {
    let case = |name, n, (h, w, c), pool: Pool2d| {
        let shape = Pool2dShape::new(Shape::hwc(h, w, c), &pool.window).unwrap_or_else(|e| panic!("{name}: {e}"));
        Case { name, n, shape }
    };
    let pool = |window: usize| AvgPool2d::new(window);
    vec![
        case("lenet1", 33, (24, 24, 6), pool(2)),
        case("lenet2", 33, (8, 8, 16), pool(2)),
        case("identity", 2, (5, 4, 3), pool(1)),
        case("pick_every_third", 2, (7, 8, 3), pool(1).stride(3)),
        case("window_is_input", 5, (4, 4, 17), pool(4)),
        case("one_channel", 5, (6, 6, 1), pool(2)),
        case("channels_7", 2, (6, 8, 7), pool(2)),
        case("channels_33", 2, (4, 6, 33), pool(2)),
        case("overlapping", 5, (9, 9, 7), pool(3).stride(2)),
        case("overlapping_same", 2, (8, 9, 17), pool(3).stride(2).same()),
        case("stride1", 2, (5, 6, 3), pool(2).stride(1)),
        case("stride1_same", 2, (7, 7, 3), pool(5).stride(1).same()),
        case("stride_over_window", 2, (9, 10, 3), pool(2).stride(3)),
        case("remainder_unread", 2, (7, 5, 3), pool(2)),
        case("remainder_same", 2, (7, 5, 3), pool(2).same()),
        case("row_window", 2, (5, 9, 3), AvgPool2d::new((1, 4))),
        case("column_window", 2, (9, 5, 3), AvgPool2d::new((3, 1)).stride((2, 1))),
        case("padding_asymmetric", 2, (6, 7, 3), pool(3).stride(2).padding(explicit(2, 0, 1, 2))),
        case("single_sample", 1, (16, 16, 64), pool(2)),
    ]
}

/// Dense layers.
pub fn dense() -> Vec<Case<DenseShape>> {
    let case = |name, n, (inputs, outputs)| Case {
        name,
        n,
        shape: DenseShape::new(inputs, outputs).unwrap_or_else(|error| panic!("{name}: {error}")),
    };
    vec![
        case("lenet1", 33, (256, 120)),
        case("lenet2", 33, (120, 84)),
        case("lenet3", 33, (84, 10)),
        case("one_of_everything", 1, (1, 1)),
        case("one_output", 5, (17, 1)),
        case("one_input", 5, (1, 17)),
        case("odd", 7, (3, 7)),
        case("wide", 2, (7, 333)),
        case("one_sample", 1, (100, 64)),
        case("tall_batch", 300, (9, 5)),
        case("tall_batch_of_many", 300, (13, 24)),
        case("long_sum", 3, (2500, 3)),
    ]
}

/// Vectors of so many channels, for activations, softmax and losses.
pub fn rows() -> Vec<Case<usize>> {
    let case = |name, n, channels| Case { name, n, shape: channels };
    vec![
        case("lenet", 33, 10),
        case("one_of_everything", 1, 1),
        case("one_channel", 40, 1),
        case("two_channels", 5, 2),
        case("channels_7", 5, 7),
        case("channels_16", 3, 16),
        case("channels_17", 3, 17),
        case("one_long_row", 1, 1000),
        case("many_rows", 700, 3),
    ]
}
