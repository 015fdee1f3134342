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
use crate::kernels::check_len;
use crate::kernels::taps::{Run, Segment, Side, Taps, runs, segments};
use crate::kernels::tile::{self, Steps, Terms, best_size, starts};
use crate::shape::{Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, MAX_LANES, Simd, dispatch};

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
    Gather::forward(shape, b, floor).run(level, 0..shape.h.output, x, w, y);
}

/// The gradient `dx` of the input.
///
/// # Panics
/// See [`forward`].
pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    check(level, shape, n, [dx, w, dy]);
    Gather::backward(shape).run(level, 0..shape.h.input, dy, w, dx);
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
        dispatch!(level, s => add_products(s, shape, x, dy, dw));
    }
}

fn check(level: Level, shape: &Conv2dShape, n: usize, [x, w, y]: [&[f32]; 3]) {
    assert!(is_supported(level, shape), "a convolution that depthwise kernels do not support");
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(n, shape.y_len()));
}

/// `y[o][c] = max(floor, b[c] + sum x[source][c] w[tap][c])` over the taps of `o`.
struct Gather<'a> {
    rows: Side<'a>,
    cols: Side<'a>,
    channels: usize,
    b: Option<&'a [f32]>,
    floor: f32,
}

impl<'a> Gather<'a> {
    fn forward(shape: &'a Conv2dShape, b: Option<&'a [f32]>, floor: f32) -> Self {
        Gather { rows: Side::Forward(&shape.h), cols: Side::Forward(&shape.w), channels: shape.out_c, b, floor }
    }

    fn backward(shape: &'a Conv2dShape) -> Self {
        let (rows, cols) = (Side::Backward(&shape.h), Side::Backward(&shape.w));
        Gather { rows, cols, channels: shape.in_c, b: None, floor: f32::NEG_INFINITY }
    }

    /// Writes some rows of each sample; more than one sample has all of them.
    fn run(&self, level: Level, rows: Range<usize>, x: &[f32], w: &[f32], y: &mut [f32]) {
        let x_len = self.rows.sources() * self.cols.sources() * self.channels;
        let row_len = self.cols.outputs() * self.channels;
        for cols in segments(self.cols, 0..self.cols.outputs()) {
            for (x, y) in x.chunks_exact(x_len).zip(y.chunks_exact_mut(rows.len() * row_len)) {
                dispatch!(level, s => {
                    for (row, y) in rows.clone().zip(y.chunks_exact_mut(row_len)) {
                        self.segment(s, &self.rows.taps(row), &cols, x, w, y);
                    }
                })
            }
        }
    }

    #[inline(always)]
    fn segment<S: Simd>(&self, s: S, rows: &Taps, cols: &Segment, x: &[f32], w: &[f32], y: &mut [f32]) {
        match best_size(cols.len, [8, 6, 4, 2, 1]) {
            8 => self.tiles::<S, 8>(s, rows, cols, x, w, y),
            6 => self.tiles::<S, 6>(s, rows, cols, x, w, y),
            4 => self.tiles::<S, 4>(s, rows, cols, x, w, y),
            2 => self.tiles::<S, 2>(s, rows, cols, x, w, y),
            _ => self.tiles::<S, 1>(s, rows, cols, x, w, y),
        }
    }

    /// Outputs of a row that have the same taps, `P` at a time.
    #[inline(always)]
    fn tiles<S: Simd, const P: usize>(&self, s: S, rows: &Taps, cols: &Segment, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (c, x_row) = (self.channels, self.cols.sources() * self.channels);
        // Steps that are never taken may be as large as they like.
        let step = |step: usize, taken: bool| if taken && cols.len > 1 { step } else { 0 };
        let [x_step, y_step] = [step(self.cols.source_step(), cols.taps.count > 0), step(self.cols.step(), true)];
        let [x_pixel, y_pixel] = [x_step * c, y_step * c];
        let floor = s.splat(self.floor);
        let signed = |step: isize, len: usize| step.wrapping_mul(len as isize);
        let ky = Steps { count: rows.count, x: signed(rows.source_step, x_row), w: rows.step * self.cols.kernel() * c };
        let kx = Steps { count: cols.taps.count, x: signed(cols.taps.source_step, c), w: cols.taps.step * c };
        let tap = rows.first * self.cols.kernel() + cols.taps.first;
        for first in starts(cols.len, P) {
            let (x_at, y_at) =
                (rows.source * x_row + (cols.taps.source + first * x_step) * c, (cols.start + first * y_step) * c);
            for channel in starts(c, S::LANES) {
                let bias = if let Some(b) = self.b { s.load(&b[channel..]) } else { s.splat(0.0) };
                let mut sums = [[bias]; P];
                if ky.count * kx.count > 0 {
                    let (x_first, w_first) = (x_at + channel, tap * c + channel);
                    let terms = Terms { x: x_first, w: w_first, loops: [ONCE, ky, kx], pixel: x_pixel, channel: 1 };
                    tile::gather_by_lane(s, &mut sums, x, w, &terms);
                }
                tile::store(s, &sums, floor, &mut y[y_at + channel..], [y_pixel, 0]);
            }
        }
    }
}

/// A loop over nothing.
const ONCE: Steps = Steps { count: 1, x: 0, w: 0 };

/// Adds the products of a sample to `dw`.
#[inline(always)]
fn add_products<S: Simd>(s: S, shape: &Conv2dShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (c, kw) = (shape.in_c, shape.w.kernel);
    let (x_row, dy_row) = (shape.w.input * c, shape.w.output * c);
    for (oy, dy) in dy.chunks_exact(dy_row).enumerate() {
        for ky in shape.h.taps(oy) {
            let Some(row) = shape.h.position(oy, ky) else { continue };
            let (x, dw) = (&x[row * x_row..][..x_row], &mut dw[ky * kw * c..][..kw * c]);
            for run in runs(&shape.w, matches!(kw, 3 | 5)) {
                match run.taps {
                    5 => add_run::<S, 5>(s, shape, &run, [x, dy], dw),
                    3 => add_run::<S, 3>(s, shape, &run, [x, dy], dw),
                    _ => add_run::<S, 1>(s, shape, &run, [x, dy], dw),
                }
            }
        }
    }
}

/// Adds the products of a row under a run of `T` taps, of all channels.
#[inline(always)]
fn add_run<S: Simd, const T: usize>(s: S, shape: &Conv2dShape, run: &Run, tensors: [&[f32]; 2], dw: &mut [f32]) {
    let (c, mut first) = (shape.in_c, 0);
    while first < c {
        if c - first >= 2 * S::LANES {
            add_channels::<S, T, 2>(s, shape, run, [first, 0], tensors, dw);
            first += 2 * S::LANES;
        } else {
            // The last vector overlaps the one before it; what that one has added is left alone.
            let at = first.min(c - S::LANES);
            add_channels::<S, T, 1>(s, shape, run, [at, first - at], tensors, dw);
            first += S::LANES;
        }
    }
}

/// The same of `V` vectors of channels from the `first` one on, the first `old` ones of which are not added.
#[inline(always)]
fn add_channels<S: Simd, const T: usize, const V: usize>(
    s: S,
    shape: &Conv2dShape,
    run: &Run,
    [first, old]: [usize; 2],
    [x, dy]: [&[f32]; 2],
    dw: &mut [f32],
) {
    let (c, axis, cols) = (shape.in_c, &shape.w, run.cols.len());
    // Steps that are never taken may be as large as they like.
    let step = |count: usize, step: usize| if count > 1 { step * c } else { 0 };
    let steps = [step(cols, axis.stride), step(cols, 1), step(T, axis.dilation)];
    let col = run.cols.start * axis.stride + run.kx * axis.dilation - axis.before;
    let (x, dy) = (&x[col * c + first..], &dy[run.cols.start * c + first..]);
    let sums = tile::correlate_by_lane::<S, T, V>(s, x, dy, cols, steps);
    for (dw, sums) in dw.chunks_exact_mut(c).skip(run.kx).zip(&sums) {
        for (dw, &sum) in dw[first..].chunks_exact_mut(S::LANES).zip(sums) {
            if old == 0 {
                s.store(s.add(s.load(dw), sum), dw);
            } else {
                let mut new = [0.0; MAX_LANES];
                s.store(sum, &mut new);
                dw.iter_mut().zip(new).skip(old).for_each(|(dw, new)| *dw += new);
            }
        }
    }
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
        run(level, &Gather::forward(shape, b, floor), n, x, w, y);
    }

    /// See [`super::backward_input`].
    pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        check(level, shape, n, [dx, w, dy]);
        run(level, &Gather::backward(shape), n, dy, w, dx);
    }

    fn run(level: Level, gather: &Gather<'_>, n: usize, x: &[f32], w: &[f32], y: &mut [f32]) {
        if n == 0 {
            return;
        }
        let (outputs, [x_len, y_len]) = (gather.rows.outputs(), [x.len() / n, y.len() / n]);
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
