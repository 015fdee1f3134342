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
use super::products::{Affine, Block, Dim, Line, SWEEP_PIXELS, Sweep};
use crate::kernels::check_len;
use crate::kernels::par::rows_per_piece;
use crate::kernels::taps::{Segment, Side, Taps, segments};
use crate::kernels::tile::Steps;
use crate::shape::{Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, dispatch};

/// What packed weights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// [`forward`].
    Forward,
    /// [`backward_input`].
    BackwardInput,
}

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
/// If the weights [cannot be packed](is_packable).
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
/// If the weights [cannot be packed](is_packable), or a slice has not the length of its shape.
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
/// If the weights [cannot be packed](is_packable), or a slice has not the length of its shape.
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
    let in_turn: Join = |one, other| {
        one();
        other();
    };
    if !add_few(level, shape, n, [x, dy], dw, in_turn) {
        add_products(level, shape, n, [x, dy], 0..shape.w_len() / shape.out_c, dw);
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
        if n == 0 {
            return;
        }
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

/// Does two things, one after the other or at once.
type Join = fn(&mut (dyn FnMut() + Send), &mut (dyn FnMut() + Send));

/// Adds the gradients of few weights, as sums over halves of the samples, which are halved in turn; false if they are many.
fn add_few(level: Level, shape: &Conv2dShape, n: usize, tensors: [&[f32]; 2], dw: &mut [f32], join: Join) -> bool {
    let pixels = shape.y_len() / shape.out_c;
    let leaf = rows_per_piece(n).max(SWEEP_PIXELS.div_ceil(pixels));
    match dw.len() {
        0..=1024 => add_halves::<1024>(level, shape, leaf, tensors, dw, join),
        1025..=4096 => add_halves::<4096>(level, shape, leaf, tensors, dw, join),
        4097..=16384 => add_halves::<16384>(level, shape, leaf, tensors, dw, join),
        _ => return false,
    }
    true
}

/// Adds the gradients of at most `N` weights over all samples, those of halves that have more samples than a leaf.
fn add_halves<const N: usize>(
    level: Level,
    shape: &Conv2dShape,
    leaf: usize,
    [x, dy]: [&[f32]; 2],
    dw: &mut [f32],
    join: Join,
) {
    let n = dy.len() / shape.y_len();
    if n <= leaf {
        add_products(level, shape, n, [x, dy], 0..dw.len() / shape.out_c, dw);
    } else {
        add_both::<N>(level, shape, leaf, [x, dy], dw, join);
    }
}

/// The same of both halves, in a function of its own, so that leaves take no memory for sums.
#[inline(never)]
fn add_both<const N: usize>(
    level: Level,
    shape: &Conv2dShape,
    leaf: usize,
    [x, dy]: [&[f32]; 2],
    dw: &mut [f32],
    join: Join,
) {
    let half = (dy.len() / shape.y_len()).div_ceil(2);
    let ((x, other_x), (dy, other_dy)) = (x.split_at(half * shape.x_len()), dy.split_at(half * shape.y_len()));
    let mut sums = [0.0; N];
    let sums = &mut sums[..dw.len()];
    join(&mut || add_halves::<N>(level, shape, leaf, [x, dy], dw, join), &mut || {
        add_halves::<N>(level, shape, leaf, [other_x, other_dy], sums, join)
    });
    dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw += *sum);
}

/// Adds the gradients of some terms of all taps to `dw`, which starts with them.
fn add_products(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    tensors: [&[f32]; 2],
    terms: Range<usize>,
    dw: &mut [f32],
) {
    if n == 0 {
        return;
    }
    let (rows, cols) = (Side::Forward(&shape.h), Side::Forward(&shape.w));
    for row in segments(rows, 0..rows.outputs()) {
        for col in segments(cols, 0..cols.outputs()).filter(|col| row.taps.count * col.taps.count > 0) {
            for group in 0..shape.groups {
                let lines = lines(shape, &row.taps, &col.taps).filter_map(|line| line.within(&terms));
                let sweep = sweep(shape, n, group, &row, &col);
                dispatch!(level, s => sweep.add(s, tensors, lines, dw));
            }
        }
    }
}

/// The pixels of some outputs of a group, and what lies under their first taps.
fn sweep(shape: &Conv2dShape, n: usize, group: usize, row: &Segment, col: &Segment) -> Sweep {
    let (in_c, out_c) = (shape.in_c / shape.groups, shape.out_c / shape.groups);
    // Steps that are never taken may be as large as they like.
    let step = |segment: &Segment, step: usize| if segment.len > 1 { step } else { 0 };
    let x_row = shape.w.input * shape.in_c;
    Sweep {
        dims: [
            Dim { count: n, x: shape.x_len(), y: shape.y_len() },
            Dim { count: row.len, x: step(row, shape.h.stride) * x_row, y: shape.w.output * shape.out_c },
            Dim { count: col.len, x: step(col, shape.w.stride) * shape.in_c, y: shape.out_c },
        ],
        x: row.taps.source * x_row + col.taps.source * shape.in_c + group * in_c,
        dy: (row.start * shape.w.output + col.start) * shape.out_c + group * out_c,
        dw: group * out_c,
        channels: out_c,
        row: shape.out_c,
    }
}

/// The terms of taps, in lines that follow each other both in the input and in the weights.
fn lines<'a>(shape: &'a Conv2dShape, rows: &'a Taps, cols: &'a Taps) -> impl Iterator<Item = Line> + Clone {
    let (in_c, x_row) = (shape.in_c / shape.groups, shape.w.input * shape.in_c);
    let are_joined = shape.groups == 1 && shape.w.dilation == 1;
    let (count, len) = if are_joined { (1, cols.count * in_c) } else { (cols.count, in_c) };
    (0..rows.count).flat_map(move |ky| {
        (0..count).map(move |kx| Line {
            x: ky * rows.source_step.unsigned_abs() * x_row + kx * cols.source_step.unsigned_abs() * shape.in_c,
            term: ((rows.first + ky) * shape.w.kernel + cols.first + kx) * in_c,
            len,
        })
    })
}

/// The same, split over the current rayon pool by samples, rows and channels.
pub mod par {
    use super::*;
    use rayon::prelude::*;

    /// Pixels that a piece of rows should have at least: two tiles.
    const MIN_PIXELS: usize = 20;

    /// Terms of a piece of weight gradients at least: three tiles.
    const MIN_TERMS: usize = 33;

    /// Pixels of a piece of small samples: many tiles of any size.
    const MANY_PIXELS: usize = 48;

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
        let rows = if n < 8 {
            let piece = (n * outputs).div_ceil(16).max(MIN_PIXELS.div_ceil(gather.cols.outputs()));
            piece.next_multiple_of(gather.rows.step()).min(outputs)
        } else {
            outputs
        };
        let samples = if rows < outputs {
            1
        } else {
            let many = MANY_PIXELS.div_ceil(outputs * gather.cols.outputs());
            rows_per_piece(n).max(many.min(n.div_ceil(rayon::current_num_threads())))
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
        let at_once: Join = |one, other| {
            rayon::join(one, other);
        };
        // Of many weights, no sum depends on how the terms are split.
        let terms = shape.w_len() / shape.out_c;
        let piece = terms.div_ceil(2 * rayon::current_num_threads()).max(MIN_TERMS);
        let weights = || {
            if !add_few(level, shape, n, [x, dy], dw, at_once) {
                dw.par_chunks_mut(piece * shape.out_c).enumerate().for_each(|(index, dw)| {
                    let terms = index * piece..index * piece + dw.len() / shape.out_c;
                    add_products(level, shape, n, [x, dy], terms, dw);
                });
            }
        };
        rayon::join(weights, || add_rows(shape.out_c, dy, db));
    }
}
