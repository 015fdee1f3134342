//! 2-D convolution from registers: sums of neighbouring pixels times a panel of output channels, with neither columns nor
//! padding laid out.
//!
//! The formula and the shapes are those of [`conv2d`](super::conv2d). Every sum is taken over the taps that fall on the image,
//! and only those. Weights are packed once for any number of calls.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][in_c]` |
//! | `w`, `dw` | `[kh][kw][in_c / groups][out_c]` |
//! | `b`, `db` | `[out_c]` |
//! | `y`, `dy` | `[n][oh][ow][out_c]` |
//! | `packed` | [`packed_len`] |
//!
//! # Example
//! ```
//! use convlane::kernels::nhwc::direct::{self, Pass};
//! use convlane::shape::{Conv2dShape, Shape, Window};
//! use convlane::Level;
//!
//! let (level, shape) = (Level::best(), Conv2dShape::new(Shape::hwc(2, 1, 1), 32, 1, &Window::new(1))?);
//! let (x, w, mut y) = ([2.0, 3.0], [10.0; 32], [0.0; 64]);
//! let mut packed = vec![0.0; direct::packed_len(level, &shape, Pass::Forward)];
//! direct::pack(level, &shape, Pass::Forward, &w, &mut packed);
//! direct::forward(level, &shape, 1, &x, &packed, Some(&[0.5; 32]), f32::NEG_INFINITY, &mut y);
//! assert_eq!((y[0], y[63]), (20.5, 30.5));
//! # Ok::<(), convlane::Error>(())
//! ```
//!
//! # Source
//! Georganas et al.: [Anatomy of High-Performance Deep Learning Convolutions on SIMD
//! Architectures](https://arxiv.org/abs/1808.05567) (2018).

use std::ops::Range;

use super::add_rows;
use super::panels::{Panels, VECTORS, Weights};
use super::products::{Affine, Block, Dim, Sweep};
use crate::kernels::check_len;
use crate::kernels::taps::{Segment, Side, Taps, meeting, runs, segments};
use crate::kernels::tile::Steps;
use crate::shape::{Axis, Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, dispatch};

/// What packed weights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// [`forward`].
    Forward,
    /// [`backward_input`].
    BackwardInput,
}

/// Floats of an input and an output gradient that the sums of weight gradients are taken over at a time: half an L2 cache.
const BAND_LEN: usize = 128 * 1024;

/// Whether all passes of a convolution can be computed so: with a vector or more of output channels in a group, if it
/// [can be packed](is_packable).
pub fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    shape.out_c / shape.groups >= level.lanes() && is_packable(level, shape)
}

/// Whether [`forward`] and [`backward_input`] can be computed so: if packed weights fit the address space.
pub fn is_packable(level: Level, shape: &Conv2dShape) -> bool {
    let fits = |pass| checked_len(level, shape, pass).is_some_and(|len| len <= MAX_LEN);
    fits(Pass::Forward) && fits(Pass::BackwardInput)
}

/// Floats of packed weights.
///
/// # Panics
/// If the convolution is not supported.
pub fn packed_len(level: Level, shape: &Conv2dShape, pass: Pass) -> usize {
    assert!(is_packable(level, shape), "a convolution that direct kernels do not support");
    checked_len(level, shape, pass).unwrap_or(MAX_LEN)
}

fn checked_len(level: Level, shape: &Conv2dShape, pass: Pass) -> Option<usize> {
    group_len(level, shape, pass)?.checked_mul(shape.groups)
}

/// Floats of a group's packed weights.
fn group_len(level: Level, shape: &Conv2dShape, pass: Pass) -> Option<usize> {
    let weights = weights(shape, pass);
    let channels = weights.channels().checked_next_multiple_of(level.lanes())?;
    (shape.h.kernel * shape.w.kernel * weights.terms()).checked_mul(channels)
}

fn weights(shape: &Conv2dShape, pass: Pass) -> Weights<'_> {
    Weights { shape, transposed: pass == Pass::BackwardInput }
}

/// Packs weights for a pass.
///
/// # Panics
/// If the convolution is not supported, or a slice has not the length of its shape.
pub fn pack(level: Level, shape: &Conv2dShape, pass: Pass, w: &[f32], packed: &mut [f32]) {
    check_packed(level, shape, pass, packed);
    check_len!(w, shape.w_len());
    let sizes = Sizes::new(level, shape, pass);
    for (group, packed) in packed.chunks_exact_mut(sizes.group).enumerate() {
        packed.chunks_mut(sizes.panel).enumerate().for_each(|(index, panel)| sizes.pack(w, group, index, panel));
    }
}

/// How packed weights are cut.
struct Sizes<'a> {
    level: Level,
    weights: Weights<'a>,
    terms: usize,
    group: usize,
    panel: usize,
}

impl<'a> Sizes<'a> {
    fn new(level: Level, shape: &'a Conv2dShape, pass: Pass) -> Self {
        let weights = weights(shape, pass);
        let terms = shape.h.kernel * shape.w.kernel * weights.terms();
        let group = packed_len(level, shape, pass) / shape.groups;
        Sizes { level, weights, terms, group, panel: terms * VECTORS * level.lanes() }
    }

    fn pack(&self, w: &[f32], group: usize, index: usize, panel: &mut [f32]) {
        let first = index * VECTORS * self.level.lanes();
        dispatch!(self.level, s => self.weights.pack(s, w, group, first, panel.len() / self.terms, panel));
    }
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
    packed: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
) {
    let gather = Gather::checked(level, shape, n, Pass::Forward, [x, y, packed], b);
    gather.run(n, 0..shape.h.output, x, packed, Affine { b, floor }, y);
}

/// The gradient `dx` of the input.
///
/// # Panics
/// See [`forward`].
pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], packed: &[f32], dx: &mut [f32]) {
    let gather = Gather::checked(level, shape, n, Pass::BackwardInput, [dx, dy, packed], None);
    gather.run(n, 0..shape.h.input, dy, packed, Affine::NONE, dx);
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// See [`forward`].
pub fn backward_params(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
) {
    check_params(level, shape, n, [x, dy], dw);
    add_rows(shape.out_c, dy, db);
    let terms = run_len(shape);
    for (ky, dw) in dw.chunks_exact_mut(terms * shape.out_c).enumerate() {
        add_products(level, shape, n, [x, dy], ky, 0..terms, dw);
    }
}

fn check(shape: &Conv2dShape, n: usize, [x, y]: [&[f32]; 2]) {
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(y, batch_len(n, shape.y_len()));
}

fn check_params(level: Level, shape: &Conv2dShape, n: usize, tensors: [&[f32]; 2], dw: &[f32]) {
    assert!(is_supported(level, shape), "a convolution that direct kernels do not support");
    check(shape, n, tensors);
    check_len!(dw, shape.w_len());
}

fn check_packed(level: Level, shape: &Conv2dShape, pass: Pass, packed: &[f32]) {
    check_len!(packed, packed_len(level, shape, pass));
}

/// Terms of a row of taps.
fn run_len(shape: &Conv2dShape) -> usize {
    shape.w.kernel * shape.in_c / shape.groups
}

/// `y[o][c] = max(floor, b[c] + sum x[source][t] w[tap][t][c])` over the taps of `o` and the terms `t` of each.
struct Gather<'a> {
    level: Level,
    rows: Side<'a>,
    cols: Side<'a>,
    groups: usize,
    /// Source channels of a group.
    terms: usize,
    /// Output channels of a group.
    channels: usize,
}

impl<'a> Gather<'a> {
    /// The sums of a pass, after the checks at its door: of `x` and `y`, packed weights, and a bias if there is one.
    fn checked(
        level: Level,
        shape: &'a Conv2dShape,
        n: usize,
        pass: Pass,
        [x, y, packed]: [&[f32]; 3],
        b: Option<&[f32]>,
    ) -> Self {
        check(shape, n, [x, y]);
        check_packed(level, shape, pass, packed);
        if let Some(b) = b {
            check_len!(b, shape.out_c);
        }
        let (weights, groups) = (weights(shape, pass), shape.groups);
        let side: fn(&'a _) -> Side<'a> = if weights.transposed { Side::Backward } else { Side::Forward };
        let (rows, cols) = (side(&shape.h), side(&shape.w));
        Gather { level, rows, cols, groups, terms: weights.terms(), channels: weights.channels() }
    }

    /// Writes some rows of each of `n` samples; more than one sample has all of them.
    fn run(&self, n: usize, rows: Range<usize>, x: &[f32], packed: &[f32], affine: Affine<'_>, y: &mut [f32]) {
        let group_len = packed.len() / self.groups;
        for (group, packed) in packed.chunks_exact(group_len).enumerate() {
            let channels = group * self.channels..(group + 1) * self.channels;
            let terms = self.rows.kernel() * self.cols.kernel() * self.terms;
            let panels = Panels { data: packed, terms, channels: self.channels };
            let affine = Affine { b: affine.b.map(|b| &b[channels]), ..affine };
            for col in segments(self.cols, 0..self.cols.outputs()) {
                for row in segments(self.rows, rows.clone()) {
                    let block = self.block(n, group, rows.start, &row, &col);
                    dispatch!(self.level, s => block.write(s, x, panels, affine, y));
                }
            }
        }
    }

    fn block(&self, n: usize, group: usize, first_row: usize, row: &Segment, col: &Segment) -> Block {
        let (x_pixel, y_pixel) = (self.groups * self.terms, self.groups * self.channels);
        let [x_row, y_row] = [self.cols.sources() * x_pixel, self.cols.outputs() * y_pixel];
        let samples = Dim { count: n, x: self.rows.sources() * x_row, y: self.rows.outputs() * y_row };
        let (kw, terms) = (self.cols.kernel() * self.terms, self.terms);
        let (first_ky, rows) = loop_of(&row.taps, kw, x_row);
        let (first_kx, cols) = loop_of(&col.taps, terms, x_pixel);
        let is_one_run = (cols.x, cols.w) == (terms as isize, terms);
        let (runs, run) = if is_one_run { (cols.count.min(1), cols.count * terms) } else { (cols.count, terms) };
        let [x_first, y_first] = [
            source(&row.taps) * self.cols.sources() + source(&col.taps),
            (row.start - first_row) * self.cols.outputs() + col.start,
        ];
        Block {
            dims: [samples, dim(self.rows, row, x_row, y_row), dim(self.cols, col, x_pixel, y_pixel)],
            x: x_first * x_pixel + group * terms,
            y: y_first * y_pixel + group * self.channels,
            term: first_ky * kw + first_kx * terms,
            loops: [rows, Steps { count: runs, ..cols }, Steps { count: run, x: 1, w: 1 }],
        }
    }
}

/// The least source of some taps.
fn source(taps: &Taps) -> usize {
    let last = taps.count.saturating_sub(1) as isize;
    taps.source.wrapping_add_signed(taps.source_step.min(0) * last)
}

/// The tap over the least source, and the loop from there on.
fn loop_of(taps: &Taps, term_step: usize, source_step: usize) -> (usize, Steps) {
    let (first, step) = if taps.source_step < 0 {
        (taps.first + (taps.count - 1) * taps.step, -((taps.step * term_step) as isize))
    } else {
        (taps.first, (taps.step * term_step) as isize)
    };
    (first, Steps { count: taps.count, x: step, w: taps.source_step.unsigned_abs() * source_step })
}

/// The outputs of a segment. Steps that are never taken may be as large as they like, and are left out.
fn dim(side: Side<'_>, segment: &Segment, x: usize, y: usize) -> Dim {
    let several = segment.len > 1;
    let x = if several && segment.taps.count > 0 { side.source_step() * x } else { 0 };
    Dim { count: segment.len, x, y: if several { side.step() * y } else { 0 } }
}

/// Adds the gradients of some terms of a row of taps to `dw`, which starts with them.
fn add_products(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    [x, dy]: [&[f32]; 2],
    ky: usize,
    terms: Range<usize>,
    dw: &mut [f32],
) {
    let (in_c, out_c) = (shape.in_c / shape.groups, shape.out_c / shape.groups);
    let row_len = shape.h.stride.min(shape.h.input) * shape.w.input * shape.in_c + shape.w.output * shape.out_c;
    let rows = meeting(&shape.h, ky);
    for (samples, rows) in bands(n, rows, row_len) {
        // Those whose terms follow each other.
        for run in runs(&shape.w, shape.groups == 1 && shape.w.dilation == 1) {
            let of_run = (run.kx * in_c).max(terms.start)..((run.kx + run.taps) * in_c).min(terms.end);
            if of_run.is_empty() {
                continue;
            }
            let (x_row, dy_row) = (shape.w.input * shape.in_c, shape.w.output * shape.out_c);
            // Steps that are never taken may be as large as they like.
            let step = |count: usize, stride: usize, len: usize| if count > 1 { stride * len } else { 0 };
            let at = |axis: &Axis, output: usize, tap: usize| output * axis.stride + tap * axis.dilation - axis.before;
            let x_at = at(&shape.h, rows.start, ky) * x_row + at(&shape.w, run.cols.start, run.kx) * shape.in_c;
            for group in 0..shape.groups {
                let sweep = Sweep {
                    dims: [
                        Dim { count: samples.len(), x: shape.x_len(), y: shape.y_len() },
                        Dim { count: rows.len(), x: step(rows.len(), shape.h.stride, x_row), y: dy_row },
                        Dim {
                            count: run.cols.len(),
                            x: step(run.cols.len(), shape.w.stride, shape.in_c),
                            y: shape.out_c,
                        },
                    ],
                    x: samples.start * shape.x_len() + x_at + group * in_c + of_run.start - run.kx * in_c,
                    dy: samples.start * shape.y_len()
                        + rows.start * dy_row
                        + run.cols.start * shape.out_c
                        + group * out_c,
                };
                let dw = &mut dw[(of_run.start - terms.start) * shape.out_c + group * out_c..];
                dispatch!(level, s => sweep.add(s, [x, dy], [of_run.len(), out_c, shape.out_c], dw));
            }
        }
    }
}

/// Whole samples, or rows of one, of so many floats at a time.
fn bands(n: usize, rows: Range<usize>, row_len: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let of_band = (BAND_LEN / row_len).max(1);
    let (samples, step) = if of_band >= rows.len() { (of_band / rows.len().max(1), rows.len()) } else { (1, of_band) };
    (0..n).step_by(samples.max(1)).flat_map(move |sample| {
        let (samples, rows) = (sample..n.min(sample + samples), rows.clone());
        rows.clone().step_by(step.max(1)).map(move |row| (samples.clone(), row..rows.end.min(row + step)))
    })
}

/// The same, split over the current rayon pool by samples, rows and channels.
pub mod par {
    use super::*;
    use crate::kernels::par::rows_per_piece;
    use rayon::prelude::*;

    /// Pixels that a piece of rows should have at least: two tiles.
    const MIN_PIXELS: usize = 20;

    /// Terms of a piece of weight gradients at least: three tiles.
    const MIN_TERMS: usize = 33;

    /// See [`super::pack`].
    pub fn pack(level: Level, shape: &Conv2dShape, pass: Pass, w: &[f32], packed: &mut [f32]) {
        check_packed(level, shape, pass, packed);
        check_len!(w, shape.w_len());
        let sizes = Sizes::new(level, shape, pass);
        packed.par_chunks_exact_mut(sizes.group).enumerate().for_each(|(group, packed)| {
            let panels = packed.par_chunks_mut(sizes.panel).enumerate();
            panels.for_each(|(index, panel)| sizes.pack(w, group, index, panel));
        });
    }

    /// See [`super::forward`].
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        x: &[f32],
        packed: &[f32],
        b: Option<&[f32]>,
        floor: f32,
        y: &mut [f32],
    ) {
        let gather = Gather::checked(level, shape, n, Pass::Forward, [x, y, packed], b);
        run(&gather, n, x, packed, Affine { b, floor }, y);
    }

    /// See [`super::backward_input`].
    pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], packed: &[f32], dx: &mut [f32]) {
        let gather = Gather::checked(level, shape, n, Pass::BackwardInput, [dx, dy, packed], None);
        run(&gather, n, dy, packed, Affine::NONE, dx);
    }

    /// Writes all outputs, in pieces of samples or, if there are few, of rows.
    fn run(gather: &Gather<'_>, n: usize, x: &[f32], packed: &[f32], affine: Affine<'_>, y: &mut [f32]) {
        if n == 0 {
            return;
        }
        let (outputs, [x_len, y_len]) = (gather.rows.outputs(), [x.len() / n, y.len() / n]);
        let row_len = y_len / outputs;
        let samples = rows_per_piece(n);
        let rows = if n < 8 {
            let piece = (n * outputs).div_ceil(16).max(MIN_PIXELS.div_ceil(gather.cols.outputs()));
            piece.next_multiple_of(gather.rows.step()).min(outputs)
        } else {
            outputs
        };
        let pieces = x.par_chunks(samples * x_len).zip(y.par_chunks_mut(samples * y_len));
        pieces.for_each(|(x, y)| {
            let size = if rows < outputs { rows * row_len } else { y.len() };
            y.par_chunks_mut(size).enumerate().for_each(|(piece, y)| {
                let n = y.len().div_ceil(y_len);
                let rows = piece * rows..outputs.min((piece + 1) * rows);
                gather.run(n, rows, x, packed, affine, y);
            });
        });
    }

    /// See [`super::backward_params`].
    pub fn backward_params(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
    ) {
        check_params(level, shape, n, [x, dy], dw);
        let terms = run_len(shape);
        let piece = (shape.h.kernel * terms).div_ceil(16).max(MIN_TERMS).min(terms);
        let weights = || {
            dw.par_chunks_exact_mut(terms * shape.out_c).enumerate().for_each(|(ky, dw)| {
                dw.par_chunks_mut(piece * shape.out_c).enumerate().for_each(|(index, dw)| {
                    let terms = index * piece..index * piece + dw.len() / shape.out_c;
                    add_products(level, shape, n, [x, dy], ky, terms, dw);
                });
            });
        };
        rayon::join(weights, || add_rows(shape.out_c, dy, db));
    }
}
