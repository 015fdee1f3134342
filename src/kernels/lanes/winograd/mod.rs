//! 2-D convolution, one image a lane, with fewer multiplications than its formula has.
//!
//! Winograd's minimal filtering `F(4, k)`: four neighbouring outputs of a row of `k` taps come from `k + 3` products instead
//! of `4 k`. For `k` = 3 and 5, stride 1 and dilation 1 along the columns' axis; along the rows', anything that
//! [`is_supported`] accepts. Tiles of four columns go to the values of polynomials at points and back; between, each
//! point is a convolution of columns, which [`conv2d`] computes.
//!
//! The formula and the shapes are those of [`conv2d`]. With `*` the product point by point, `A`, `B` and `G` as below:
//!
//! | | |
//! |---|---|
//! | output | `y = A^T ((G w) * (B^T x))` |
//! | gradient of the input | `dx = B ((G w) * (A dy))` |
//! | gradient of the weights | `dw = G^T ((B^T x) * (A dy))` |
//!
//! `A`, `G`: values of polynomials of four and of `k` coefficients at 0, 1, -1, 2, -2, for `k` = 5 also at 1/2, -1/2, and "at
//! infinity", which is the leading coefficient. `B^T`: the transpose of the interpolation from values there.
//!
//! A ReLU and an average pooling of two by two after it can be done along: [`forward_pooled`], [`backward_pooled`].
//!
//! # Error
//! At most `(K + 4 (k + 3)) 2^-24` times the same formula on the absolute values of everything in it, where `K` terms are summed
//! between the transforms: `kh in_c / groups + 1` of the output, `kh out_c / groups + 2` of the gradient of the input, to which
//! two tiles add, and `n oh tiles + 1` of that of the weights. That is the classical bound: each sum of so many terms rounds as
//! often. Every pass has three transforms of at most `k + 3` terms; the fourth `k + 3` stands for what strips of tall images
//! add to each other. A NaN or an infinity taints all
//! columns of its tile. An output that is zero for want of inputs and bias may be off as well, unless sums are short (at most
//! 16 rows of taps times channels, as in a first layer): there it is zero.
//!
//! # Source
//! Lavin, Gray: [Fast Algorithms for Convolutional Neural Networks](https://arxiv.org/abs/1509.09308) (2015).

mod pooled;
mod short;
mod strips;
mod sums;

use std::ops::Range;

pub(crate) use self::pooled::is_two_by_two;
use self::pooled::{Gradients, Pooled, Sink};
pub(crate) use self::short::is_short;
use self::strips::{Side, Spot, Strip, strips};
use self::sums::{AtPoints, ToInputGradients, ToOutputs};
use super::{conv2d, weights};
use crate::kernels::check_len;
use crate::kernels::maps::{Transform, transform};
use crate::kernels::points::{Inputs, Magnitudes, OutputGradients, Outputs, SUMS, TILE, TapGradients, Taps};
use crate::shape::{Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, dispatch};

/// Whether a convolution can be computed so: three or five taps a row, stride and dilation 1 along it, every window with
/// a place in the image, and values that fit the address space.
pub fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    checked_len(level, shape).is_some()
}

/// Floats of scratch.
///
/// # Panics
/// If the convolution is not supported.
pub fn scratch_len(level: Level, shape: &Conv2dShape) -> usize {
    checked_len(level, shape).expect("a convolution that is supported")
}

/// The same, if the convolution is supported.
fn checked_len(level: Level, shape: &Conv2dShape) -> Option<usize> {
    let Conv2dShape { h, w, .. } = shape;
    if !matches!((w.kernel, w.stride, w.dilation), (3 | 5, 1, 1)) || !h.is_on_input() || !w.is_on_input() {
        return None;
    }
    let points = points_of(shape);
    let weights = (shape.w_len() / shape.w.kernel).checked_mul(2 * points)?;
    strips::checked_len(level.lanes(), shape)?.checked_add(weights).filter(|&len| len <= MAX_LEN)
}

/// Products of a row of outputs and a row of taps, where there would be one for each pair of them.
pub(crate) fn products_of_row(shape: &Conv2dShape) -> usize {
    shape.w.output.div_ceil(TILE).saturating_mul(points_of(shape))
}

fn points_of(shape: &Conv2dShape) -> usize {
    shape.w.kernel + TILE - 1
}

/// The output, with bias `b` if there is one, and nothing below `floor`: 0 for ReLU, negative infinity for no activation.
///
/// # Panics
/// If the convolution is not supported, or a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    check(level, shape, n, [x, w, y, scratch]);
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    if n == 0 {
        return;
    }
    run_forward(level, shape, n, x, w, Outputs { b, floor }, Sink::Whole(y), scratch);
}

/// The means of two by two neighbouring outputs after a ReLU, as in [`avg_pool2d`](super::avg_pool2d::forward) of
/// [`forward`] with the same bits; and, a bit each, which of those were positive.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `y` | `[n][oh / 2][ow / 2][out_c][lane]` |
/// | `signs` | `[n][oh][ow / 2][out_c]`, the bits of both columns in those of a number |
///
/// # Panics
/// If the convolution is not supported, its output has an odd side, or a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward_pooled(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    y: &mut [f32],
    signs: &mut [f32],
    scratch: &mut [f32],
) {
    check_pooled(level, shape, n, [x, w, y, signs, scratch]);
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    if n == 0 {
        return;
    }
    let sink = Sink::Pooled(Pooled { y, signs });
    run_forward(level, shape, n, x, w, Outputs { b, floor: 0.0 }, sink, scratch);
}

/// Floats of the signs of one block.
pub fn signs_len(shape: &Conv2dShape) -> usize {
    shape.y_len() / 2
}

#[allow(clippy::too_many_arguments)]
fn run_forward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    outputs: Outputs<'_>,
    sink: Sink<'_>,
    scratch: &mut [f32],
) {
    match points_of(shape) {
        6 => Winograd::<6> { level, shape, n }.forward(x, w, outputs, sink, scratch),
        _ => Winograd::<8> { level, shape, n }.forward(x, w, outputs, sink, scratch),
    }
}

/// The gradient `dx` of the input.
///
/// # Panics
/// See [`forward`].
pub fn backward_input(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    check(level, shape, n, [dx, w, dy, scratch]);
    if n == 0 {
        return;
    }
    run_backward(level, shape, n, Deltas::Whole(dy), None, Some((w, dx)), scratch);
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// See [`forward`].
#[allow(clippy::too_many_arguments)]
pub fn backward_params(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    check(level, shape, n, [x, dw, dy, scratch]);
    check_bias(shape, &db);
    if n == 0 {
        return;
    }
    run_backward(level, shape, n, Deltas::Whole(dy), Some((x, dw, db)), None, scratch);
}

/// [`backward_params`] and [`backward_input`] with the same bits, which go to the values of `dy` but once.
///
/// # Panics
/// See [`forward`].
#[allow(clippy::too_many_arguments)]
pub fn backward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    check(level, shape, n, [x, w, dy, scratch]);
    check_len!(dw, shape.w_len());
    check_len!(dx, x.len());
    check_bias(shape, &db);
    if n == 0 {
        return;
    }
    run_backward(level, shape, n, Deltas::Whole(dy), Some((x, dw, db)), Some((w, dx)), scratch);
}

/// The gradients of all, from `dy`, that of the means, and the signs of [`forward_pooled`]: `dw` and `db` are added to, and
/// `dx` is overwritten if it is wanted.
///
/// # Panics
/// See [`forward_pooled`].
#[allow(clippy::too_many_arguments)]
pub fn backward_pooled(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    signs: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    dx: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    check_pooled(level, shape, n, [x, w, dy, signs, scratch]);
    check_len!(dw, shape.w_len());
    check_bias(shape, &db);
    if let Some(dx) = &dx {
        check_len!(dx, x.len());
    }
    if n == 0 {
        return;
    }
    let deltas = Deltas::Pooled(Gradients { dy, signs });
    run_backward(level, shape, n, deltas, Some((x, dw, db)), dx.map(|dx| (w, dx)), scratch);
}

/// The output gradients.
enum Deltas<'a> {
    Whole(&'a [f32]),
    Pooled(Gradients<'a>),
}

/// An input, the gradient of the weights, and that of the bias if it is wanted.
type Params<'a> = (&'a [f32], &'a mut [f32], Option<&'a mut [f32]>);

/// The gradients of the parameters, if wanted, and that of the input from the weights.
fn run_backward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    deltas: Deltas<'_>,
    params: Option<Params<'_>>,
    input: Option<(&[f32], &mut [f32])>,
    scratch: &mut [f32],
) {
    match points_of(shape) {
        6 => Winograd::<6> { level, shape, n }.backward(deltas, params, input, scratch),
        _ => Winograd::<8> { level, shape, n }.backward(deltas, params, input, scratch),
    }
}

fn check_bias(shape: &Conv2dShape, db: &Option<&mut [f32]>) {
    if let Some(db) = db {
        check_len!(db, shape.out_c);
    }
}

fn check_pooled(level: Level, shape: &Conv2dShape, n: usize, [x, w, y, signs, scratch]: [&[f32]; 5]) {
    assert!(is_supported(level, shape), "a convolution that winograd does not support");
    let [h, w_out] = [shape.h.output, shape.w.output];
    assert!(h.is_multiple_of(2) && w_out.is_multiple_of(2), "an output of {h}x{w_out} is not pooled two by two");
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.y_len() / 4));
    check_len!(signs, batch_len(n, signs_len(shape)));
    check_len!(scratch, scratch_len(level, shape));
}

fn check(level: Level, shape: &Conv2dShape, n: usize, [x, w, y, scratch]: [&[f32]; 4]) {
    assert!(is_supported(level, shape), "a convolution that winograd does not support");
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.y_len()));
    check_len!(scratch, scratch_len(level, shape));
}

/// A convolution of some blocks by values at `N` points.
struct Winograd<'a, const N: usize> {
    level: Level,
    shape: &'a Conv2dShape,
    n: usize,
}

impl<const N: usize> Winograd<'_, N> {
    fn forward(&self, x: &[f32], w: &[f32], outputs: Outputs<'_>, mut sink: Sink<'_>, scratch: &mut [f32]) {
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        self.weight_values(w, weights);
        let can_be_blank = is_short(self.shape) && outputs.b.is_none_or(|b| b.contains(&0.0));
        for strip in self.strips() {
            let (u, rest) = scratch.split_at_mut(N * strip.inputs.stride());
            self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values));
            let magnitudes = can_be_blank.then(|| {
                let to = (&mut *rest, Side::tile_beside as Spot);
                self.map::<_, N, TILE>(&Magnitudes, &strip.inputs, (x, Side::image), to);
                &*rest
            });
            let (u, w) = ((&*u, strip.inputs.stride()), (&*weights, self.weights_len()));
            dispatch!(self.level, s => {
                let mut to = ToOutputs::<N> { strip: &strip, outputs: &outputs, magnitudes, sink: &mut sink };
                conv2d::forward_sums(self.level, &strip.column, strip.tiles).run(s, &mut AtPoints::new(u, w, N, &mut to));
            });
        }
    }

    fn backward(
        &self,
        deltas: Deltas<'_>,
        mut params: Option<Params<'_>>,
        mut input: Option<(&[f32], &mut [f32])>,
        scratch: &mut [f32],
    ) {
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        let (gradients, scratch) = scratch.split_at_mut(N * self.weights_len());
        gradients.fill(0.0);
        if let Some((w, dx)) = &mut input {
            self.weight_values(w, weights);
            dx.fill(0.0);
        }
        for strip in self.strips() {
            let (u, z) = strip.split(scratch);
            match &deltas {
                Deltas::Whole(dy) => {
                    self.map::<_, TILE, N>(&OutputGradients, &strip.outputs, (dy, Side::image), (z, Side::values));
                }
                Deltas::Pooled(gradients) => self.pooled_gradients(&strip, gradients, z),
            }
            if let Some((x, _, db)) = &mut params {
                if let Some((db, sums)) = db.as_mut().zip(strip.outputs.planes(z).nth(SUMS)) {
                    weights::bias(self.level, self.shape.out_c, sums, db);
                }
                self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values));
                self.strip_params(&strip, u, z, gradients);
            }
            if let Some((_, dx)) = &mut input {
                self.strip_input(&strip, z, weights, dx);
            }
        }
        if let Some((_, dw, _)) = &mut params {
            self.add_weight_gradients(gradients, dw);
        }
    }

    fn strips(&self) -> impl Iterator<Item = Strip> {
        strips(self.level.lanes(), self.shape, self.n)
    }

    /// Adds to the gradients of the weights at all points, from the values of inputs and output gradients.
    fn strip_params(&self, strip: &Strip, u: &[f32], z: &[f32], gradients: &mut [f32]) {
        let gradients = gradients.chunks_exact_mut(self.weights_len());
        for ((dw, u), z) in gradients.zip(strip.inputs.planes(u)).zip(strip.outputs.planes(z)) {
            conv2d::backward_params(self.level, &strip.column, strip.tiles, u, z, dw, None);
        }
    }

    /// Adds to the gradient of the input, from the values of output gradients and weights.
    fn strip_input(&self, strip: &Strip, z: &[f32], weights: &[f32], dx: &mut [f32]) {
        let (z, w) = ((z, strip.outputs.stride()), (weights, self.weights_len()));
        dispatch!(self.level, s => {
            let mut to = ToInputGradients::<N> { side: &strip.inputs, dx };
            conv2d::backward_sums(self.level, &strip.column, strip.tiles).run(s, &mut AtPoints::new(z, w, N, &mut to));
        })
    }

    /// Maps every tile of a strip on one side, from a place to another.
    fn map<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        map: &T,
        side: &Side,
        (x, from): (&[f32], Spot),
        (y, to): (&mut [f32], Spot),
    ) {
        dispatch!(self.level, s => {
            for tile in side.tiles.clone() {
                transform(s, map, [side.rows, side.channels], (x, &from(side, tile)), (&mut *y, &to(side, tile)));
            }
        })
    }

    fn weight_values(&self, w: &[f32], values: &mut [f32]) {
        let (taps, run) = (self.shape.w.kernel, self.run());
        dispatch!(self.level, s => {
            for (row, w) in w.chunks_exact(taps * run).enumerate() {
                for part in parts(run, self.level.lanes()) {
                    let mut taps = [s.splat(0.0); N];
                    for (tap, w) in taps.iter_mut().zip(w.chunks_exact(run)) {
                        *tap = s.load_padded(&w[part.clone()], 0.0);
                    }
                    for (v, values) in Taps.apply(s, 0, &taps).into_iter().zip(values.chunks_exact_mut(self.weights_len())) {
                        s.store_cut(v, &mut values[row * run..][part.clone()]);
                    }
                }
            }
        })
    }

    fn add_weight_gradients(&self, gradients: &[f32], dw: &mut [f32]) {
        let (taps, run) = (self.shape.w.kernel, self.run());
        dispatch!(self.level, s => {
            for (row, dw) in dw.chunks_exact_mut(taps * run).enumerate() {
                for part in parts(run, self.level.lanes()) {
                    let mut values = [s.splat(0.0); N];
                    for (v, gradients) in values.iter_mut().zip(gradients.chunks_exact(self.weights_len())) {
                        *v = s.load_padded(&gradients[row * run..][part.clone()], 0.0);
                    }
                    for (v, dw) in TapGradients.apply(s, 0, &values).into_iter().zip(dw.chunks_exact_mut(run)) {
                        let dw = &mut dw[part.clone()];
                        s.store_cut(s.add(v, s.load_padded(dw, 0.0)), dw);
                    }
                }
            }
        })
    }

    /// Weights of one tap.
    fn run(&self) -> usize {
        self.shape.in_c / self.shape.groups * self.shape.out_c
    }

    /// Weights at one point: a tap of each row.
    fn weights_len(&self) -> usize {
        self.shape.h.kernel * self.run()
    }
}

/// Parts of at most `size` that cover `len`.
fn parts(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}
