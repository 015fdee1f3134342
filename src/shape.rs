//! All checked geometry: once one of these values exists, every size and index computed from it fits a `usize`.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};

/// The shape of one sample, without the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// An image, stored `[h][w][c]`.
    Image {
        /// Height.
        h: usize,
        /// Width.
        w: usize,
        /// Channels.
        c: usize,
    },
    /// A vector of features.
    Flat(usize),
}

impl Shape {
    /// An image of height `h`, width `w` and `c` channels.
    pub const fn hwc(h: usize, w: usize, c: usize) -> Self {
        Shape::Image { h, w, c }
    }

    /// A vector of `len` features.
    pub const fn flat(len: usize) -> Self {
        Shape::Flat(len)
    }

    /// Number of elements.
    ///
    /// # Errors
    /// If a size is zero or their product overflows.
    pub fn elements(&self) -> Result<usize> {
        match *self {
            Shape::Image { h, w, c } => product("image", &[h, w, c]),
            Shape::Flat(len) => product("feature vector", &[len]),
        }
    }

    /// Height, width and channels of an image.
    pub(crate) fn image(&self) -> Result<(usize, usize, usize)> {
        match *self {
            Shape::Image { h, w, c } => self.elements().map(|_| (h, w, c)),
            Shape::Flat(_) => Err(Error::Rank { expected: "an image", got: format!("a vector of {self}") }),
        }
    }

    /// Number of features of a vector.
    pub(crate) fn features(&self) -> Result<usize> {
        match *self {
            Shape::Flat(_) => self.elements(),
            Shape::Image { .. } => {
                Err(Error::Rank { expected: "a vector (add Flatten)", got: format!("an image of {self}") })
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Image { h, w, c } => write!(f, "{h}x{w}x{c}"),
            Shape::Flat(len) => write!(f, "{len}"),
        }
    }
}

/// The largest number of `f32` that one buffer may hold.
pub(crate) const MAX_LEN: usize = isize::MAX as usize / size_of::<f32>();

/// The product of sizes that must all be at least one and fit one buffer together.
pub(crate) fn product(what: &'static str, sizes: &[usize]) -> Result<usize> {
    if sizes.contains(&0) {
        return Err(Error::Zero { what });
    }
    sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|&product| product <= MAX_LEN)
        .ok_or(Error::TooLarge { what })
}

/// So many zeros, or whatever a type starts with.
///
/// # Errors
/// [`Error::TooLarge`] if the system has no memory for them, which would otherwise end the process.
pub(crate) fn zeros<T: Copy + Default>(what: &'static str, len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::TooLarge { what })?;
    values.resize(len, T::default());
    Ok(values)
}

/// The length of `n` samples of `len` elements each, at the door of a kernel.
///
/// # Panics
/// If it overflows.
pub(crate) fn batch_len(n: usize, len: usize) -> usize {
    n.checked_mul(len).filter(|&len| len <= MAX_LEN).expect("a batch of this size overflows the address space")
}

/// Height and width of a window, or steps along both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size2 {
    /// Along the rows' axis.
    pub h: usize,
    /// Along the columns' axis.
    pub w: usize,
}

impl From<usize> for Size2 {
    fn from(size: usize) -> Self {
        Size2 { h: size, w: size }
    }
}

impl From<(usize, usize)> for Size2 {
    fn from((h, w): (usize, usize)) -> Self {
        Size2 { h, w }
    }
}

impl fmt::Display for Size2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.h, self.w)
    }
}

/// What lies around an image when a window slides over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Nothing: windows stay inside the image.
    Valid,
    /// Zeros, so that the output is `ceil(input / stride)`: the least total, the odd one at the end (TensorFlow's rule).
    Same,
    /// So many rows and columns of zeros on each side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the left.
        left: usize,
        /// Columns to the right.
        right: usize,
    },
}

/// How a window slides over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the window in taps.
    pub kernel: Size2,
    /// Steps between neighbouring outputs.
    pub stride: Size2,
    /// Steps between neighbouring taps.
    pub dilation: Size2,
    /// What lies around the image.
    pub padding: Padding,
}

impl Window {
    /// A window of `kernel` taps with stride 1, dilation 1 and no padding.
    pub fn new(kernel: impl Into<Size2>) -> Self {
        Window { kernel: kernel.into(), stride: 1.into(), dilation: 1.into(), padding: Padding::Valid }
    }

    /// The two axes of this window over an image of `h` x `w`.
    fn axes(&self, h: usize, w: usize) -> Result<(Axis, Axis)> {
        let (rows, cols) = match self.padding {
            Padding::Valid => (AxisPadding::Explicit(0, 0), AxisPadding::Explicit(0, 0)),
            Padding::Same => (AxisPadding::Same, AxisPadding::Same),
            Padding::Explicit { top, bottom, left, right } => {
                (AxisPadding::Explicit(top, bottom), AxisPadding::Explicit(left, right))
            }
        };
        Ok((
            Axis::new(h, self.kernel.h, self.stride.h, self.dilation.h, rows)?,
            Axis::new(w, self.kernel.w, self.stride.w, self.dilation.w, cols)?,
        ))
    }
}

/// [`Padding`] along one axis.
enum AxisPadding {
    Same,
    Explicit(usize, usize),
}

/// A window sliding along one axis. Output `o` and tap `k` meet at input `o * stride + k * dilation - before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axis {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) output: usize,
}

impl Axis {
    fn new(input: usize, kernel: usize, stride: usize, dilation: usize, padding: AxisPadding) -> Result<Self> {
        for (what, size) in [("input", input), ("kernel", kernel), ("stride", stride), ("dilation", dilation)] {
            product(what, &[size])?;
        }
        let extent = product("window", &[kernel, dilation])? - dilation + 1;
        let (before, after) = match padding {
            AxisPadding::Explicit(before, after) => (before, after),
            AxisPadding::Same => {
                let span = (input.div_ceil(stride) - 1).checked_mul(stride).and_then(|last| last.checked_add(extent));
                let total = span.ok_or(Error::TooLarge { what: "padded input" })?.saturating_sub(input);
                (total / 2, total - total / 2)
            }
        };
        let padded = before
            .checked_add(after)
            .and_then(|padding| padding.checked_add(input))
            .filter(|&padded| padded <= MAX_LEN)
            .ok_or(Error::TooLarge { what: "padded input" })?;
        let room = padded.checked_sub(extent).ok_or(Error::WindowDoesNotFit { window: extent, input: padded })?;
        Ok(Axis { input, kernel, stride, dilation, before, after, output: room / stride + 1 })
    }

    /// A window of one tap over so many inputs.
    fn of(len: usize) -> Self {
        Axis { input: len, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: len }
    }

    /// Steps from the first to past the last tap.
    fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Whether every window reaches into the input.
    pub(crate) fn is_on_input(&self) -> bool {
        self.before.max(self.after) < self.extent()
    }

    /// Some of the outputs as an axis of their own, and its first input. Every window must reach into the input.
    pub(crate) fn band(&self, outputs: Range<usize>) -> (Self, usize) {
        let (start, last) = (outputs.start * self.stride, (outputs.end - 1) * self.stride);
        let first = start.saturating_sub(self.before);
        let end = last + self.extent();
        let input = (end - self.before).min(self.input) - first;
        let before = self.before.saturating_sub(start);
        let after = end.saturating_sub(self.before + self.input);
        (Axis { input, before, after, output: outputs.len(), ..*self }, first)
    }

    /// Extent of the input.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Number of taps.
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Number of outputs.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Padding before the input.
    pub fn before(&self) -> usize {
        self.before
    }

    /// The input position under tap `k` of output `o`, or `None` where that is padding.
    pub fn position(&self, o: usize, k: usize) -> Option<usize> {
        (o * self.stride + k * self.dilation).checked_sub(self.before).filter(|&position| position < self.input)
    }

    /// The taps of output `o` that fall on the input; the rest fall on padding.
    pub fn taps(&self, o: usize) -> Range<usize> {
        let start = o * self.stride;
        let steps = |distance: usize| if self.dilation == 1 { distance } else { distance.div_ceil(self.dilation) };
        let tap = |edge: usize| steps(edge.saturating_sub(start)).min(self.kernel);
        tap(self.before)..tap(self.before + self.input)
    }

    /// The input positions under an undilated window.
    pub(crate) fn field(&self, o: usize) -> Range<usize> {
        let start = o * self.stride;
        start.saturating_sub(self.before)..(start + self.kernel).saturating_sub(self.before).min(self.input)
    }

    /// Whether every input lies under exactly one undilated window.
    fn is_partition(&self) -> bool {
        self.kernel == self.stride && self.field(self.output - 1).end == self.input
    }
}

/// The least output pixels whose receptive fields a kernel lays out at once, since a product of few rows is slow.
pub(crate) const MIN_BLOCK_PIXELS: usize = 64;

/// The geometry of a 2-D convolution over one sample.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[h][w][in_c]` |
/// | weights `w` | `[kh][kw][in_c / groups][out_c]` |
/// | bias `b` | `[out_c]` |
/// | output `y` | `[oh][ow][out_c]` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    pub(crate) h: Axis,
    pub(crate) w: Axis,
    pub(crate) in_c: usize,
    pub(crate) out_c: usize,
    pub(crate) groups: usize,
}

impl Conv2dShape {
    /// The convolution of an `input` image with `filters` kernels in `groups`.
    ///
    /// # Errors
    /// If a size is zero, the groups do not divide the channels, the window does not fit, or a buffer would overflow.
    pub fn new(input: Shape, filters: usize, groups: usize, window: &Window) -> Result<Self> {
        let (h, w, in_c) = input.image()?;
        product("filters", &[filters])?;
        product("groups", &[groups])?;
        if !in_c.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            return Err(Error::Groups { groups, input: in_c, output: filters });
        }
        let (h, w) = window.axes(h, w)?;
        product("weights", &[h.kernel, w.kernel, in_c / groups, filters])?;
        product("output", &[h.output, w.output, filters])?;
        product("receptive fields", &[MIN_BLOCK_PIXELS, h.kernel, w.kernel, in_c / groups])?;
        product("multiply-adds", &[h.output, w.output, filters, h.kernel, w.kernel, in_c / groups])?;
        Ok(Conv2dShape { h, w, in_c, out_c: filters, groups })
    }

    /// The window along the rows' axis.
    pub fn h(&self) -> &Axis {
        &self.h
    }

    /// The window along the columns' axis.
    pub fn w(&self) -> &Axis {
        &self.w
    }

    /// Input channels.
    pub fn in_c(&self) -> usize {
        self.in_c
    }

    /// Output channels.
    pub fn out_c(&self) -> usize {
        self.out_c
    }

    /// Groups of channels.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// One column of such a convolution, with the rows of `axis`, laid down as a row.
    pub(crate) fn column(&self, axis: Axis) -> Self {
        Conv2dShape { h: Axis::of(1), w: axis, ..*self }
    }

    /// Shape of the output of one sample.
    pub fn output(&self) -> Shape {
        Shape::hwc(self.h.output, self.w.output, self.out_c)
    }

    /// Elements of one input sample.
    pub fn x_len(&self) -> usize {
        self.h.input * self.w.input * self.in_c
    }

    /// Elements of one output sample.
    pub fn y_len(&self) -> usize {
        self.pixels() * self.out_c
    }

    /// Elements of the weights.
    pub fn w_len(&self) -> usize {
        self.terms() * self.out_c
    }

    /// Multiply-adds of one sample with direct algorithms, taps on padding included.
    pub fn multiply_adds(&self) -> usize {
        self.pixels() * self.w_len()
    }

    /// Output pixels of one sample.
    pub(crate) fn pixels(&self) -> usize {
        self.h.output * self.w.output
    }

    /// Terms of the sum behind one output element: taps times input channels of a group.
    pub fn terms(&self) -> usize {
        self.h.kernel * self.w.kernel * self.in_c / self.groups
    }
}

/// The geometry of a 2-D pooling over one sample: `[h][w][c]` to `[oh][ow][c]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2dShape {
    pub(crate) h: Axis,
    pub(crate) w: Axis,
    pub(crate) c: usize,
}

impl Pool2dShape {
    /// The pooling of an `input` image; every window holds at least one pixel.
    ///
    /// # Errors
    /// If a size is zero, the window does not fit, padding is as large as the window, the window is dilated, or a
    /// buffer would overflow.
    pub fn new(input: Shape, window: &Window) -> Result<Self> {
        let (h, w, c) = input.image()?;
        if window.dilation != Size2::from(1) {
            return Err(Error::Setting {
                name: "dilation",
                problem: format!("pooling takes 1, got {}", window.dilation),
            });
        }
        let (h, w) = window.axes(h, w)?;
        for axis in [h, w] {
            let padding = axis.before.max(axis.after);
            if padding >= axis.kernel {
                return Err(Error::PaddingTooLarge { padding, window: axis.kernel });
            }
        }
        product("output", &[h.output, w.output, c])?;
        Ok(Pool2dShape { h, w, c })
    }

    /// The window along the rows' axis.
    pub fn h(&self) -> &Axis {
        &self.h
    }

    /// The window along the columns' axis.
    pub fn w(&self) -> &Axis {
        &self.w
    }

    /// Whether every pixel lies under exactly one window.
    pub fn is_partition(&self) -> bool {
        self.h.is_partition() && self.w.is_partition()
    }

    /// Channels.
    pub fn c(&self) -> usize {
        self.c
    }

    /// Shape of the output of one sample.
    pub fn output(&self) -> Shape {
        Shape::hwc(self.h.output, self.w.output, self.c)
    }

    /// Elements of one input sample.
    pub fn x_len(&self) -> usize {
        self.h.input * self.w.input * self.c
    }

    /// Elements of one output sample.
    pub fn y_len(&self) -> usize {
        self.h.output * self.w.output * self.c
    }
}

/// The geometry of a dense layer: `y[out] = x[in] w[in][out] + b[out]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DenseShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl DenseShape {
    /// A dense layer from `inputs` features to `outputs`.
    ///
    /// # Errors
    /// If a size is zero or the weights would overflow.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self> {
        product("inputs", &[inputs])?;
        product("outputs", &[outputs])?;
        product("weights", &[inputs, outputs])?;
        Ok(DenseShape { inputs, outputs })
    }

    /// Input features.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output features.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Elements of the weights, and multiply-adds of one sample.
    pub fn w_len(&self) -> usize {
        self.inputs * self.outputs
    }

    /// The same as a convolution of one pixel.
    pub(crate) fn pixel(&self) -> Conv2dShape {
        Conv2dShape { h: Axis::of(1), w: Axis::of(1), in_c: self.inputs, out_c: self.outputs, groups: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_follows_tensorflow() {
        let same = |input, kernel, stride| {
            let axis = Axis::new(input, kernel, stride, 1, AxisPadding::Same).unwrap();
            (axis.output, axis.before, axis.after)
        };
        assert_eq!(same(28, 5, 1), (28, 2, 2));
        assert_eq!(same(5, 2, 1), (5, 0, 1));
        assert_eq!(same(7, 3, 2), (4, 1, 1));
        assert_eq!(same(8, 3, 2), (4, 0, 1));
        assert_eq!(same(3, 1, 5), (1, 0, 0));
        assert_eq!(same(224, 7, 2), (112, 2, 3));
    }

    #[test]
    fn taps_are_the_positions_inside() {
        for (input, kernel, stride, dilation, before, after) in
            [(5, 3, 1, 1, 0, 0), (5, 3, 2, 2, 3, 1), (1, 2, 1, 2, 1, 1), (4, 4, 3, 1, 9, 9), (2, 3, 5, 3, 8, 9)]
        {
            let axis = Axis::new(input, kernel, stride, dilation, AxisPadding::Explicit(before, after)).unwrap();
            for o in 0..axis.output {
                let inside: Vec<_> = (0..kernel).filter(|&k| axis.position(o, k).is_some()).collect();
                assert_eq!(axis.taps(o).collect::<Vec<_>>(), inside, "{axis:?} output {o}");
            }
        }
    }
}
