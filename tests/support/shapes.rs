//! Random geometries.

use std::ops::RangeInclusive;

use convlane::Level;
use convlane::kernels::nhwc::{depthwise, direct};
use convlane::shape::{Conv2dShape, DenseShape, Padding, Pool2dShape, Shape, Size2, Window};
use proptest::prelude::*;

use super::geometry::Case;

/// The most multiply-adds of one sample or numbers in one of its tensors, and the most of many samples.
const MOST_OF_ONE: usize = 1 << 20;
const MOST_OF_MANY: usize = 1 << 18;

/// The most channels.
const CHANNELS: usize = 70;

/// No samples, few, or enough that a parallel kernel puts several into a piece.
fn batch() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0usize), 8 => 1..=6usize, 4 => 7..=33usize]
}

/// Mostly a size of one range, else of another, on either axis.
fn size2(mostly: RangeInclusive<usize>, else_of: RangeInclusive<usize>) -> impl Strategy<Value = Size2> {
    let size = move || prop_oneof![3 => mostly.clone(), 1 => else_of.clone()];
    (size(), size()).prop_map(Size2::from)
}

fn image() -> impl Strategy<Value = Size2> {
    size2(1..=12, 13..=36)
}

fn padding() -> impl Strategy<Value = Padding> {
    let side = || prop_oneof![3 => 0..=2usize, 1 => 3..=10usize];
    let explicit = (side(), side(), side(), side()).prop_map(|(top, bottom, left, right)| Padding::Explicit {
        top,
        bottom,
        left,
        right,
    });
    prop_oneof![Just(Padding::Valid), Just(Padding::Same), explicit]
}

/// Kernels of 1 to 11, strides of 1 to 5, dilations of 1 to 3.
fn window() -> impl Strategy<Value = Window> {
    let sizes = (size2(1..=5, 6..=11), size2(1..=2, 3..=5), size2(1..=1, 2..=3));
    (sizes, padding()).prop_map(|((kernel, stride, dilation), padding)| Window { kernel, stride, dilation, padding })
}

/// Channels in and out, in groups: none, some, or one for every channel.
fn channels() -> impl Strategy<Value = (usize, usize, usize)> {
    let any = || prop_oneof![2 => 1..=8usize, 1 => 9..=CHANNELS];
    prop_oneof![
        4 => (any(), any()).prop_map(|(c, oc)| (1, c, oc)),
        2 => (2..=7usize, 1..=CHANNELS / 7, 1..=CHANNELS / 7).prop_map(|(groups, c, oc)| (groups, groups * c, groups * oc)),
        1 => (1..=CHANNELS / 2, 1..=2usize).prop_map(|(groups, more)| (groups, groups, groups * more)),
    ]
}

/// So many samples of a shape as there is time for, if one is not too much already.
fn case<S>(n: usize, cost: usize, shape: S) -> Option<Case<S>> {
    (cost <= MOST_OF_ONE).then_some(Case { name: "random", n: n.min(MOST_OF_MANY.div_ceil(cost)), shape })
}

pub fn conv2d() -> impl Strategy<Value = Case<Conv2dShape>> {
    (batch(), image(), channels(), window()).prop_filter_map("no fit", |(n, image, (groups, c, oc), window)| {
        let shape = Conv2dShape::new(Shape::hwc(image.h, image.w, c), oc, groups, &window).ok()?;
        case(n, shape.multiply_adds().max(shape.x_len()), shape)
    })
}

/// Convolutions that direct or depthwise kernels of NHWC support: of a vector or more of output channels in a group, or of groups.
pub fn direct() -> impl Strategy<Value = Case<Conv2dShape>> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2..=3usize];
    let channels = groups.prop_flat_map(|groups| (Just(groups), 1..=CHANNELS / groups, 8..=CHANNELS / groups));
    let channels = prop_oneof![2 => channels, 1 => (8..=CHANNELS).prop_map(|groups| (groups, 1, 1))];
    (batch(), image(), channels, window()).prop_filter_map("no fit", |(n, image, (groups, c, oc), window)| {
        let shape = Conv2dShape::new(Shape::hwc(image.h, image.w, groups * c), groups * oc, groups, &window).ok()?;
        let supported = |level| direct::is_supported(level, &shape) || depthwise::is_supported(level, &shape);
        Level::available().all(supported).then_some(())?;
        case(n, shape.multiply_adds().max(shape.x_len()), shape)
    })
}

pub fn dense() -> impl Strategy<Value = Case<DenseShape>> {
    let size = || prop_oneof![3 => 1..=40usize, 1 => 41..=400usize];
    (batch(), size(), size()).prop_filter_map("too large", |(n, inputs, outputs)| {
        let shape = DenseShape::new(inputs, outputs).ok()?;
        case(n, shape.w_len(), shape)
    })
}

fn pool2d_of(window: impl Strategy<Value = Window>) -> impl Strategy<Value = Case<Pool2dShape>> {
    (batch(), image(), 1..=CHANNELS, window).prop_filter_map("no fit", |(n, image, c, window)| {
        let window = Window { dilation: 1.into(), ..window };
        let shape = Pool2dShape::new(Shape::hwc(image.h, image.w, c), &window).ok()?;
        let taps = shape.h().kernel() * shape.w().kernel();
        case(n, shape.x_len().max(shape.y_len() * taps), shape)
    })
}

/// Poolings whose average of whole numbers has no rounding.
pub fn halving_pool2d() -> impl Strategy<Value = Case<Pool2dShape>> {
    let sizes = prop::sample::select(vec![1, 2, 4, 8]);
    let whole = (sizes.clone(), sizes).prop_map(|kernel| Window { stride: kernel.into(), ..Window::new(kernel) });
    let steps = (whole.clone(), size2(1..=2, 3..=5)).prop_map(|(window, stride)| Window { stride, ..window });
    pool2d_of(prop_oneof![whole, steps])
}

pub fn pool2d() -> impl Strategy<Value = Case<Pool2dShape>> {
    prop_oneof![3 => pool2d_of(window()).boxed(), 1 => halving_pool2d().boxed()]
}

pub fn rows() -> impl Strategy<Value = Case<usize>> {
    (batch(), 1..=CHANNELS).prop_map(|(n, channels)| Case { name: "random", n, shape: channels })
}
