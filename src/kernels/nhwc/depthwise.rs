//! 2-D convolution of every channel by itself, from registers: vectors of pixels times vectors of weights, channels in lanes.
//!
//! The formula is that of [`conv2d`](super::conv2d) with as many groups as channels in and out. Every sum is taken over the taps
//! that fall on the image, and only those.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][c]` |
//! | `w`, `dw` | `[kh][kw][1][c]` |
//! | `b`, `db` | `[c]` |
//! | `y`, `dy` | `[n][oh][ow][c]` |
//!
//! # Example
//! ```
//! use convlane::kernels::nhwc::depthwise;
//! use convlane::layer::Conv2d;
//! use convlane::shape::Shape;
//! use convlane::Level;
//!
//! let shape = Conv2d::new(16, (1, 2)).groups(16).shape(Shape::hwc(1, 2, 16))?;
//! let (w, mut y) = ([[10.0; 16], [1.0; 16]].concat(), [0.0; 16]);
//! depthwise::forward(Level::best(), &shape, 1, &[2.0; 32], &w, Some(&[0.5; 16]), f32::NEG_INFINITY, &mut y);
//! assert_eq!(y, [22.5; 16]);
//! # Ok::<(), convlane::Error>(())
//! ```

use std::ops::Range;

use super::add_rows;
use crate::kernels::by_lane::{self, ByLane};
use crate::kernels::check_len;
use crate::kernels::taps::{Segment, Side, Taps, meeting, segments};
use crate::kernels::tile::{Steps, Terms, best_size, starts};
use crate::shape::{Axis, Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, Simd, dispatch};

/// Whether a convolution is such, with a vector of channels or more.
pub fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    shape.in_c == shape.groups && shape.out_c == shape.groups && shape.groups >= level.lanes()
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
) {
    check(level, shape, n, [x, w, y]);
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    Gather { sides: Sides::forward(shape), b, floor }.run(level, 0..shape.h.output, x, w, y);
}

/// The gradient `dx` of the input.
///
/// # Panics
/// See [`forward`].
pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    check(level, shape, n, [dx, w, dy]);
    Gather { sides: Sides::backward(shape), b: None, floor: f32::NEG_INFINITY }.run(level, 0..shape.h.input, dy, w, dx);
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
    check(level, shape, n, [x, dw, dy]);
    add_rows(shape.out_c, dy, db);
    let samples = x.chunks_exact(shape.x_len()).zip(dy.chunks_exact(shape.y_len()));
    for (x, dy) in samples {
        dispatch!(level, s => add_products(s, &Sides::forward(shape), &shape.w, x, dy, dw));
    }
}

fn check(level: Level, shape: &Conv2dShape, n: usize, [x, w, y]: [&[f32]; 3]) {
    assert!(is_supported(level, shape), "a convolution that depthwise kernels do not support");
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(n, shape.y_len()));
}

/// The sides of a convolution of so many channels.
#[derive(Clone, Copy)]
struct Sides<'a> {
    rows: Side<'a>,
    cols: Side<'a>,
    channels: usize,
}

impl<'a> Sides<'a> {
    fn forward(shape: &'a Conv2dShape) -> Self {
        Sides { rows: Side::Forward(&shape.h), cols: Side::Forward(&shape.w), channels: shape.in_c }
    }

    fn backward(shape: &'a Conv2dShape) -> Self {
        Sides { rows: Side::Backward(&shape.h), cols: Side::Backward(&shape.w), channels: shape.in_c }
    }

    fn x_row(&self) -> usize {
        self.cols.sources() * self.channels
    }

    fn y_row(&self) -> usize {
        self.cols.outputs() * self.channels
    }

    /// All outputs of a row, under the taps of a row of the kernel at once.
    #[inline(always)]
    fn neighbours<const K: usize, const D: usize>(&self) -> Strip<K, D> {
        let (before, is_flipped) = self.cols.window_start();
        let mut taps = [0; K];
        for (k, tap) in taps.iter_mut().enumerate() {
            *tap = if is_flipped { K - 1 - k } else { k } * self.channels;
        }
        let pixels = before..before + self.cols.sources();
        Strip { start: 0, step: 1, len: self.cols.outputs(), source: 0, source_step: 1, pixels, tap: 0, taps, kx: ONCE }
    }

    /// Outputs that have the same taps, under one after the other.
    #[inline(always)]
    fn segment(&self, &Segment { start, len, taps }: &Segment) -> Strip<1, 1> {
        // Steps that are never taken may be as large as they like.
        let step = if len > 1 { self.cols.step() } else { 0 };
        let source_step = if len > 1 && taps.count > 0 { self.cols.source_step() } else { 0 };
        let x = taps.source_step.wrapping_mul(self.channels as isize);
        let kx = Steps { count: taps.count, x, w: taps.step * self.channels };
        Strip { start, step, len, source: taps.source, source_step, pixels: 0..len, tap: taps.first, taps: [0], kx }
    }

    /// `P` outputs of a strip, from the `first` one on, in a row of these taps.
    #[inline(always)]
    fn tile<const P: usize, const K: usize, const D: usize>(
        &self,
        rows: &Taps,
        strip: &Strip<K, D>,
        first: usize,
    ) -> ByLane<K, D> {
        let w_row = self.cols.kernel() * self.channels;
        let x = rows.source_step.wrapping_mul(self.x_row() as isize);
        let ky = Steps { count: rows.count, x, w: rows.step * w_row };
        let place = |edge: usize| edge.saturating_sub(first * D).min((P - 1) * D + K);
        let pixels = place(strip.pixels.start)..place(strip.pixels.end);
        let col = strip.source + (first * D + pixels.start - strip.pixels.start) * strip.source_step;
        let terms = Terms {
            x: rows.source * self.x_row() + col * self.channels,
            w: rows.first * w_row + strip.tap * self.channels,
            loops: [ky, strip.kx, ONCE],
            pixel: strip.source_step * self.channels,
            channel: 1,
        };
        ByLane { channels: self.channels, terms, pixels, taps: strip.taps }
    }
}

/// Outputs of a row, `step` apart, and what lies under the first of `K` neighbouring taps, or of one, of each: pixels, as many
/// as outputs and then `K - 1` more, of which only some are there.
struct Strip<const K: usize, const D: usize> {
    start: usize,
    step: usize,
    len: usize,
    /// The first pixel that is there, and how far it is from there to the next.
    source: usize,
    source_step: usize,
    pixels: Range<usize>,
    /// The first tap, where the others lie from there, and the loop over all that follow.
    tap: usize,
    taps: [usize; K],
    kx: Steps,
}

impl<const K: usize, const D: usize> Strip<K, D> {
    /// Where an output lies in its row.
    fn place(&self, output: usize, channels: usize) -> usize {
        (self.start + output * self.step) * channels
    }
}

/// `y[o][c] = max(floor, b[c] + sum x[source][c] w[tap][c])` over the taps of `o`.
struct Gather<'a> {
    sides: Sides<'a>,
    b: Option<&'a [f32]>,
    floor: f32,
}

impl Gather<'_> {
    /// Writes some rows of each sample; more than one sample has all of them.
    fn run(&self, level: Level, rows: Range<usize>, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (sides, y_row) = (&self.sides, self.sides.y_row());
        let samples = x.chunks_exact(sides.rows.sources() * sides.x_row()).zip(y.chunks_exact_mut(rows.len() * y_row));
        for (x, y) in samples {
            for (row, y) in rows.clone().step_by(ROWS).zip(y.chunks_mut(ROWS * y_row)) {
                dispatch!(level, s => match sides.cols.window() {
                    Some((3, 1)) => self.strip::<_, 3, 1>(s, row, &sides.neighbours(), [x, w], y),
                    Some((3, 2)) => self.strip::<_, 3, 2>(s, row, &sides.neighbours(), [x, w], y),
                    Some((5, 1)) => self.strip::<_, 5, 1>(s, row, &sides.neighbours(), [x, w], y),
                    Some((5, 2)) => self.strip::<_, 5, 2>(s, row, &sides.neighbours(), [x, w], y),
                    _ => {
                        for cols in segments(sides.cols, 0..sides.cols.outputs()) {
                            self.strip::<_, 1, 1>(s, row, &sides.segment(&cols), [x, w], y);
                        }
                    }
                });
            }
        }
    }

    /// Writes a strip of rows from `row` on.
    #[inline(always)]
    fn strip<S: Simd, const K: usize, const D: usize>(
        &self,
        s: S,
        row: usize,
        strip: &Strip<K, D>,
        xw: [&[f32]; 2],
        y: &mut [f32],
    ) {
        match best_size(strip.len, [8, 4, 1]) {
            8 => self.tiles::<S, 8, K, D>(s, row, strip, xw, y),
            4 => self.tiles::<S, 4, K, D>(s, row, strip, xw, y),
            _ => self.tiles::<S, 1, K, D>(s, row, strip, xw, y),
        }
    }

    /// The same, `P` outputs at a time.
    #[inline(always)]
    fn tiles<S: Simd, const P: usize, const K: usize, const D: usize>(
        &self,
        s: S,
        row: usize,
        strip: &Strip<K, D>,
        xw: [&[f32]; 2],
        y: &mut [f32],
    ) {
        let Gather { sides, b, floor } = *self;
        for (row, y) in (row..).zip(y.chunks_exact_mut(sides.y_row())) {
            let rows = sides.rows.taps(row);
            for first in starts(strip.len, P) {
                let (tile, y) =
                    (sides.tile::<P, K, D>(&rows, strip, first), &mut y[strip.place(first, sides.channels)..]);
                by_lane::gather_by_lane::<S, P, K, D>(s, &tile, xw, b, floor, y, strip.step * sides.channels);
            }
        }
    }
}

/// Rows in a block.
const ROWS: usize = 8;

/// A loop over nothing.
const ONCE: Steps = Steps { count: 1, x: 0, w: 0 };

/// Adds the products of a sample to `dw`.
#[inline(always)]
fn add_products<S: Simd>(s: S, sides: &Sides<'_>, axis: &Axis, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    for (row, dy) in dy.chunks_exact(sides.y_row()).enumerate() {
        let rows = sides.rows.taps(row);
        match sides.cols.window() {
            Some((3, 1)) => add_strip::<S, 3, 1>(s, sides, &rows, &sides.neighbours(), [x, dy], dw),
            Some((3, 2)) => add_strip::<S, 3, 2>(s, sides, &rows, &sides.neighbours(), [x, dy], dw),
            Some((5, 1)) => add_strip::<S, 5, 1>(s, sides, &rows, &sides.neighbours(), [x, dy], dw),
            Some((5, 2)) => add_strip::<S, 5, 2>(s, sides, &rows, &sides.neighbours(), [x, dy], dw),
            _ => {
                for tap in 0..axis.kernel {
                    add_strip::<S, 1, 1>(s, sides, &rows, &sides.segment(&under(axis, tap)), [x, dy], dw);
                }
            }
        }
    }
}

/// The outputs of a row of which a tap falls on the image, with that tap alone.
fn under(axis: &Axis, tap: usize) -> Segment {
    let outputs = meeting(axis, tap);
    let source = axis.position(outputs.start, tap).unwrap_or(0);
    let taps = Taps { first: tap, step: 1, count: 1, source, source_step: 0 };
    Segment { start: outputs.start, len: outputs.len(), taps }
}

/// Adds the products of a strip of a row.
#[inline(always)]
fn add_strip<S: Simd, const K: usize, const D: usize>(
    s: S,
    sides: &Sides<'_>,
    rows: &Taps,
    strip: &Strip<K, D>,
    tensors: [&[f32]; 2],
    dw: &mut [f32],
) {
    let mut first = 0;
    while first < strip.len {
        first += match strip.len - first {
            8.. => add_tile::<S, 8, K, D>(s, sides, rows, strip, first, tensors, dw),
            4.. => add_tile::<S, 4, K, D>(s, sides, rows, strip, first, tensors, dw),
            _ => add_tile::<S, 1, K, D>(s, sides, rows, strip, first, tensors, dw),
        };
    }
}

/// Adds the products of `P` outputs, and says how many they are.
#[inline(always)]
fn add_tile<S: Simd, const P: usize, const K: usize, const D: usize>(
    s: S,
    sides: &Sides<'_>,
    rows: &Taps,
    strip: &Strip<K, D>,
    first: usize,
    [x, dy]: [&[f32]; 2],
    dw: &mut [f32],
) -> usize {
    let (tile, dy) = (sides.tile::<P, K, D>(rows, strip, first), &dy[strip.place(first, sides.channels)..]);
    by_lane::correlate_by_lane::<S, P, K, D>(s, &tile, x, dy, strip.step * sides.channels, dw);
    P
}

/// The same, split over the current rayon pool by samples and rows.
pub mod par {
    use super::*;
    use crate::kernels::par::{add_partials, pieces, rows_per_piece};
    use rayon::prelude::*;

    /// See [`super::forward`].
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
    ) {
        check(level, shape, n, [x, w, y]);
        if let Some(b) = b {
            check_len!(b, shape.out_c);
        }
        run(level, &Gather { sides: Sides::forward(shape), b, floor }, n, x, w, y);
    }

    /// See [`super::backward_input`].
    pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        check(level, shape, n, [dx, w, dy]);
        run(level, &Gather { sides: Sides::backward(shape), b: None, floor: f32::NEG_INFINITY }, n, dy, w, dx);
    }

    fn run(level: Level, gather: &Gather<'_>, n: usize, x: &[f32], w: &[f32], y: &mut [f32]) {
        if n == 0 {
            return;
        }
        let (outputs, [x_len, y_len]) = (gather.sides.rows.outputs(), [x.len() / n, y.len() / n]);
        let rows = (n * outputs).div_ceil(16).min(outputs);
        x.par_chunks(x_len).zip(y.par_chunks_mut(y_len)).for_each(|(x, y)| {
            y.par_chunks_mut(rows * y_len / outputs).enumerate().for_each(|(piece, y)| {
                gather.run(level, piece * rows..outputs.min((piece + 1) * rows), x, w, y);
            });
        });
    }

    /// Floats of scratch that weight gradients need for a batch of `n`.
    ///
    /// # Panics
    /// If they overflow the address space.
    pub fn scratch_len(shape: &Conv2dShape, n: usize) -> usize {
        checked_scratch_len(shape, n).expect("scratch that fits the address space")
    }

    /// The same, if it does not overflow.
    pub(crate) fn checked_scratch_len(shape: &Conv2dShape, n: usize) -> Option<usize> {
        pieces(n).checked_mul(shape.w_len() + shape.out_c).filter(|&len| len <= MAX_LEN)
    }

    /// See [`super::backward_params`]. Partial gradients of the pieces are added in the order of the batch.
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
        check(level, shape, n, [x, dw, dy]);
        check_len!(scratch, scratch_len(shape, n));
        if let Some(db) = &db {
            check_len!(db, shape.out_c);
        }
        if n == 0 {
            return;
        }
        let (piece, len, with_bias) = (rows_per_piece(n), shape.w_len() + shape.out_c, db.is_some());
        let batch = x.par_chunks(piece * shape.x_len()).zip(dy.par_chunks(piece * shape.y_len()));
        batch.zip(scratch.par_chunks_mut(len)).for_each(|((x, dy), partial)| {
            partial.fill(0.0);
            let (dw, db) = partial.split_at_mut(shape.w_len());
            let n = dy.len() / shape.y_len();
            super::backward_params(level, shape, n, x, dy, dw, with_bias.then_some(db));
        });
        add_partials(scratch, len, dw);
        if let Some(db) = db {
            add_partials(&scratch[shape.w_len()..], len, db);
        }
    }
}
