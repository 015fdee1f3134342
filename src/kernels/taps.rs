//! The taps of a window that fall on something, seen from the outputs of a convolution or from its inputs.

use std::ops::Range;

use crate::shape::Axis;

/// One axis of such a sum: the taps of each output and the sources under them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side<'a> {
    /// From a convolution's input to its output.
    Forward(&'a Axis),
    /// From the gradient of the output to that of the input.
    Backward(&'a Axis),
}

/// The taps of an output: `first + i * step`, for `count` values of `i`, each over the source `source + i * source_step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taps {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    pub source: usize,
    pub source_step: isize,
}

impl Taps {
    const NONE: Taps = Taps { first: 0, step: 1, count: 0, source: 0, source_step: 0 };

    fn same_as(&self, other: &Taps) -> bool {
        (self.first, self.count) == (other.first, other.count)
    }
}

impl Side<'_> {
    pub fn outputs(&self) -> usize {
        match self {
            Side::Forward(axis) => axis.output,
            Side::Backward(axis) => axis.input,
        }
    }

    pub fn kernel(&self) -> usize {
        match self {
            Side::Forward(axis) | Side::Backward(axis) => axis.kernel,
        }
    }

    pub fn sources(&self) -> usize {
        match self {
            Side::Forward(axis) => axis.input,
            Side::Backward(axis) => axis.output,
        }
    }

    /// How far apart outputs lie whose sources lie as far apart as [`Side::source_step`] says.
    pub fn step(&self) -> usize {
        match self {
            Side::Forward(_) => 1,
            Side::Backward(axis) => axis.stride,
        }
    }

    pub fn source_step(&self) -> usize {
        match self {
            Side::Forward(axis) => axis.stride,
            Side::Backward(_) => 1,
        }
    }

    /// How many neighbouring sources every output meets, and how far on from those of the output before it, if they are so and
    /// it meets at least one.
    pub fn window(&self) -> Option<(usize, usize)> {
        let (Side::Forward(axis) | Side::Backward(axis)) = self;
        let slides = axis.stride == 1 || matches!(self, Side::Forward(_));
        (slides && axis.dilation == 1 && axis.is_on_input()).then_some((axis.kernel, axis.stride))
    }

    /// How far before the first source the window of the first output begins, and whether its last tap is there, not its first.
    pub fn window_start(&self) -> (usize, bool) {
        match self {
            Side::Forward(axis) => (axis.before, false),
            Side::Backward(axis) => (axis.kernel - 1 - axis.before, true),
        }
    }

    #[inline(always)]
    pub fn taps(&self, output: usize) -> Taps {
        match self {
            Side::Forward(axis) => {
                let taps = axis.taps(output);
                let Some(source) = taps.clone().next().and_then(|first| axis.position(output, first)) else {
                    return Taps::NONE;
                };
                let source_step = if taps.len() > 1 { axis.dilation as isize } else { 0 };
                Taps { first: taps.start, step: 1, count: taps.len(), source, source_step }
            }
            Side::Backward(axis) => backward_taps(axis, output),
        }
    }

    /// Outputs from `start` on, [`Side::step`] apart, that have the same taps.
    pub fn same_taps(&self, start: usize) -> usize {
        let taps = self.taps(start);
        let others = (start..self.outputs()).step_by(self.step());
        others.take_while(|&output| self.taps(output).same_as(&taps)).count()
    }
}

/// The taps `k` with an output `o` so that `o * stride + k * dilation - before` is `input`.
#[inline(always)]
fn backward_taps(axis: &Axis, input: usize) -> Taps {
    let divide = |a: usize, b: usize| if b == 1 { a } else { a / b };
    let position = input + axis.before;
    let over = position.saturating_sub((axis.output - 1) * axis.stride);
    let low = if axis.dilation == 1 { over } else { over.div_ceil(axis.dilation) };
    let high = axis.kernel.min(divide(position, axis.dilation) + 1);
    let meets = |k: &usize| axis.stride == 1 || (position - k * axis.dilation).is_multiple_of(axis.stride);
    let Some(first) = (low..high).find(meets) else { return Taps::NONE };
    // The least number of taps that is a whole number of outputs.
    let step = if axis.stride == 1 { 1 } else { axis.stride / gcd(axis.stride, axis.dilation) };
    let count = (high - first).div_ceil(step);
    let (step, source_step) = if count > 1 { (step, divide(step * axis.dilation, axis.stride)) } else { (1, 0) };
    let source = divide(position - first * axis.dilation, axis.stride);
    Taps { first, step, count, source, source_step: -(source_step as isize) }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Outputs along an axis that have the same taps: so many, from a first one on.
pub(super) struct Segment {
    pub start: usize,
    pub len: usize,
    pub taps: Taps,
}

/// The segments of some outputs of an axis.
pub(super) fn segments(side: Side<'_>, outputs: Range<usize>) -> impl Iterator<Item = Segment> {
    let step = side.step();
    (outputs.start..outputs.end.min(outputs.start.saturating_add(step))).flat_map(move |first| {
        let mut start = first;
        std::iter::from_fn(move || {
            (start < outputs.end).then(|| {
                let len = side.same_taps(start).min((outputs.end - start).div_ceil(step));
                let segment = Segment { start, len, taps: side.taps(start) };
                start += len * step;
                segment
            })
        })
    })
}

/// Neighbouring taps of a row, and output columns where they all fall on the image.
pub(super) struct Run {
    pub kx: usize,
    pub taps: usize,
    pub cols: Range<usize>,
}

/// The runs of a row of taps: where all fall on the image, they are one if they may be joined; at the borders, each is its own.
pub(super) fn runs(axis: &Axis, joined: bool) -> impl Iterator<Item = Run> {
    let (axis, all) = (*axis, common(axis));
    let inside = if joined { all } else { 0..0 };
    let whole = Run { kx: 0, taps: axis.kernel, cols: inside.clone() };
    let single = move |kx: usize| {
        let cols = meeting(&axis, kx);
        let around = if inside.is_empty() { [cols, 0..0] } else { [cols.start..inside.start, inside.end..cols.end] };
        around.map(|cols| Run { kx, taps: 1, cols })
    };
    std::iter::once(whole).chain((0..axis.kernel).flat_map(single)).filter(|run| !run.cols.is_empty())
}

/// The outputs of which tap `k` falls on the input.
pub(super) fn meeting(axis: &Axis, k: usize) -> Range<usize> {
    let offset = k * axis.dilation;
    let start = axis.before.saturating_sub(offset).div_ceil(axis.stride);
    let end = (axis.before + axis.input).saturating_sub(offset).div_ceil(axis.stride).min(axis.output);
    start.min(end)..end
}

/// The outputs of which all taps fall on the input.
fn common(axis: &Axis) -> Range<usize> {
    let (first, last) = (meeting(axis, 0), meeting(axis, axis.kernel - 1));
    first.start.min(last.end)..last.end.min(first.end).max(first.start.min(last.end))
}
