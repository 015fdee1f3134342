//! Average pooling, one image a lane: the mean of the pixels of each window that lie inside the image.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][c][lane]` |
//! | `y`, `dy` | `[n][oh][ow][c][lane]` |

use super::activation;
use super::pool2d::{self, Window};
use super::tile::{best_size, starts};
use super::weights::{self, Square};
use crate::kernels::activation::gradient;
use crate::kernels::check_len;
use crate::layer::Activation;
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The mean of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(level, shape, n, x, y);
    let lanes = level.lanes();
    dispatch!(level, s => {
        for (window, y) in pool2d::windows(lanes, shape, n).zip(y.chunks_exact_mut(shape.c * lanes)) {
            if window.is_two_by_two() {
                mean(s, Window { rows: 2, cols: 2, ..window }, x, y);
            } else {
                mean(s, window, x, y);
            }
        }
    })
}

#[inline(always)]
fn mean<S: Simd>(s: S, window: Window, x: &[f32], y: &mut [f32]) {
    let share = s.splat(1.0 / (window.rows * window.cols) as f32);
    for (y, first) in y.chunks_exact_mut(S::LANES).zip((0..).step_by(S::LANES)) {
        let mut sum = s.splat(0.0);
        for row in 0..window.rows {
            for col in 0..window.cols {
                sum = s.add(sum, s.load(&x[window.first + row * window.row + col * window.pixel + first..]));
            }
        }
        s.store(s.mul(sum, share), y);
    }
}

/// The gradient `dx` of the input: every window's share, `dy / count`, added up.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
    pool2d::check(level, shape, n, dx, dy);
    if shape.h.is_disjoint() && shape.w.is_disjoint() {
        return spread_once(level, shape, n, dy, None, dx, None);
    }
    dx.fill(0.0);
    let lanes = level.lanes();
    dispatch!(level, s => {
        for (window, dy) in pool2d::windows(lanes, shape, n).zip(dy.chunks_exact(shape.c * lanes)) {
            spread(s, window, dy, dx);
        }
    })
}

/// [`backward`], on through the activation whose output `x` the pooling took, and into the gradient `db` of the bias before
/// it, in one pass: `dx` overwritten, `db` added to.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn backward_activated(
    level: Level,
    shape: &Pool2dShape,
    n: usize,
    activation: Activation,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    db: Option<&mut [f32]>,
) {
    pool2d::check(level, shape, n, dx, dy);
    check_len!(x, dx.len());
    if let Some(db) = &db {
        check_len!(db, shape.c);
    }
    if pool2d::fuses(shape, activation) {
        return spread_once(level, shape, n, dy, Some((activation, x)), dx, db);
    }
    backward(level, shape, n, dy, dx);
    activation::backward(level, activation, shape.c, x, dx);
    if let Some(db) = db {
        weights::bias(level, shape.c, dx, db);
    }
}

#[inline(always)]
fn spread<S: Simd>(s: S, window: Window, dy: &[f32], dx: &mut [f32]) {
    let share = s.splat(1.0 / (window.rows * window.cols) as f32);
    for (dy, first) in dy.chunks_exact(S::LANES).zip((0..).step_by(S::LANES)) {
        let share = s.mul(s.load(dy), share);
        for pixel in window.pixels() {
            let dx = &mut dx[pixel + first..];
            s.store(s.add(s.load(dx), share), dx);
        }
    }
}

/// What a gradient passes through on its way: an activation and its output.
type Before<'a> = Option<(Activation, &'a [f32])>;

/// Where windows share no pixel, every pixel is written once, row by row, in the order of [`weights::bias`].
fn spread_once(
    level: Level,
    shape: &Pool2dShape,
    n: usize,
    dy: &[f32],
    before: Before<'_>,
    dx: &mut [f32],
    db: Option<&mut [f32]>,
) {
    if !(shape.h.is_covered() && shape.w.is_covered()) {
        dx.fill(0.0);
    }
    dispatch!(level, s => spread_channels(s, shape, n, dy, before, dx, db))
}

#[inline(always)]
fn spread_channels<S: Simd>(
    s: S,
    shape: &Pool2dShape,
    n: usize,
    dy: &[f32],
    before: Before<'_>,
    dx: &mut [f32],
    mut db: Option<&mut [f32]>,
) {
    for first in (0..shape.c).step_by(S::LANES) {
        let channels = S::LANES.min(shape.c - first);
        let mut square = weights::SQUARE;
        match best_size(channels, if S::LANES == 16 { [6, 4, 1] } else { [4, 4, 1] }) {
            6 => spread_tiles::<S, 6>(s, shape, n, first, dy, before, dx, &mut square),
            4 => spread_tiles::<S, 4>(s, shape, n, first, dy, before, dx, &mut square),
            _ => spread_tiles::<S, 1>(s, shape, n, first, dy, before, dx, &mut square),
        }
        if let Some(db) = &mut db {
            weights::add_rows(s, &square, &mut db[first..][..channels]);
        }
    }
}

/// Channels from `first` on, `C` at a time, and their sums into a square.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn spread_tiles<S: Simd, const C: usize>(
    s: S,
    shape: &Pool2dShape,
    n: usize,
    first: usize,
    dy: &[f32],
    before: Before<'_>,
    dx: &mut [f32],
    square: &mut Square,
) {
    for channel in starts(S::LANES.min(shape.c - first), C) {
        let mut sums = [s.splat(0.0); C];
        for row in 0..n * shape.h.output {
            spread_row(s, shape, row, (first + channel) * S::LANES, dy, before, dx, &mut sums);
        }
        for (&sum, row) in sums.iter().zip(square[channel * S::LANES..].chunks_exact_mut(S::LANES)) {
            s.store(sum, row);
        }
    }
}

/// The windows of a row, counted through all blocks, in channels that start at `at` of a pixel.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn spread_row<S: Simd, const C: usize>(
    s: S,
    shape: &Pool2dShape,
    row: usize,
    at: usize,
    dy: &[f32],
    before: Before<'_>,
    dx: &mut [f32],
    sums: &mut [S::V; C],
) {
    let pixel = shape.c * S::LANES;
    let rows = shape.h.field(row % shape.h.output);
    let above = row / shape.h.output * shape.h.input;
    for y in above + rows.start..above + rows.end {
        for ox in 0..shape.w.output {
            let cols = shape.w.field(ox);
            let share = s.splat(1.0 / (rows.len() * cols.len()) as f32);
            let dy = &dy[(row * shape.w.output + ox) * pixel + at..][..C * S::LANES];
            let mut shares = [share; C];
            for (c, dy) in dy.chunks_exact(S::LANES).enumerate() {
                shares[c] = s.mul(s.load(dy), share);
            }
            for x in cols {
                let at = (y * shape.w.input + x) * pixel + at;
                for c in 0..C {
                    let place = at + c * S::LANES..at + (c + 1) * S::LANES;
                    let delta = match before {
                        Some((activation, x)) => gradient(s, activation, s.load(&x[place.clone()]), shares[c]),
                        None => shares[c],
                    };
                    sums[c] = s.add(sums[c], delta);
                    s.store(delta, &mut dx[place]);
                }
            }
        }
    }
}
