//! Average pooling, one image a lane: the mean of the pixels of each window that lie inside the image.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][c][lane]` |
//! | `y`, `dy` | `[n][oh][ow][c][lane]` |

use super::pool2d::{self, Window};
use super::weights;
use crate::kernels::activation::gradient;
use crate::kernels::tile::{SQUARE, Square};
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
                let quarter = s.splat(0.25);
                pool2d::map_corners(s, window.corners(x, y.len()), y, #[inline(always)] |[a, b, c, d]| {
                    s.mul(s.add(s.add(s.add(a, b), c), d), quarter)
                });
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
    dx.fill(0.0);
    let lanes = level.lanes();
    dispatch!(level, s => {
        for (window, dy) in pool2d::windows(lanes, shape, n).zip(dy.chunks_exact(shape.c * lanes)) {
            spread(s, window, dy, dx);
        }
    })
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

/// [`backward`] and on, in one pass, through the activation whose output `x` the pooling took, and into the gradient `db` of
/// the bias before it. `x` becomes the gradient before the activation; `db` is added to.
///
/// # Panics
/// If a slice has not the length of its shape, windows share pixels or leave some out
/// ([`is_partition`](Pool2dShape::is_partition)), or the activation is a softmax.
pub fn backward_activated(
    level: Level,
    shape: &Pool2dShape,
    n: usize,
    activation: Activation,
    dy: &[f32],
    x: &mut [f32],
    db: Option<&mut [f32]>,
) {
    pool2d::check(level, shape, n, x, dy);
    pool2d::check_activated(shape, activation, &db);
    dispatch!(level, s => {
        // The usual one has its own copy of the loops, without a choice in the innermost.
        if activation == Activation::Relu {
            spread_channels(s, shape, n, dy, x, db, #[inline(always)] |x, dy| gradient(s, Activation::Relu, x, dy))
        } else {
            spread_channels(s, shape, n, dy, x, db, #[inline(always)] |x, dy| gradient(s, activation, x, dy))
        }
    })
}

/// Row by row, in the order of [`weights::bias`].
#[inline(always)]
fn spread_channels<S: Simd>(
    s: S,
    shape: &Pool2dShape,
    n: usize,
    dy: &[f32],
    x: &mut [f32],
    mut db: Option<&mut [f32]>,
    gradient: impl Fn(S::V, S::V) -> S::V + Copy,
) {
    for first in (0..shape.c).step_by(S::LANES) {
        let channels = S::LANES.min(shape.c - first);
        let mut square = SQUARE;
        match channel_tile::<S>(channels) {
            8 => spread_tiles::<S, 8>(s, shape, n, first, dy, x, &mut square, gradient),
            6 => spread_tiles::<S, 6>(s, shape, n, first, dy, x, &mut square, gradient),
            4 => spread_tiles::<S, 4>(s, shape, n, first, dy, x, &mut square, gradient),
            3 => spread_tiles::<S, 3>(s, shape, n, first, dy, x, &mut square, gradient),
            _ => spread_tiles::<S, 1>(s, shape, n, first, dy, x, &mut square, gradient),
        }
        if let Some(db) = &mut db {
            weights::add_rows(s, &square, &mut db[first..][..channels]);
        }
    }
}

/// A number of channels that divides others: every pixel is changed once, so that tiles cannot overlap.
#[inline(always)]
fn channel_tile<S: Simd>(channels: usize) -> usize {
    let fits = |tile: &usize| channels.is_multiple_of(*tile);
    let tiles = if S::LANES == 16 { [8, 6, 4, 3, 1] } else { [6, 4, 3, 1, 1] };
    tiles.into_iter().find(fits).unwrap_or(1)
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
    x: &mut [f32],
    square: &mut Square,
    gradient: impl Fn(S::V, S::V) -> S::V + Copy,
) {
    let pixel = shape.c * S::LANES;
    for channel in (0..S::LANES.min(shape.c - first)).step_by(C) {
        let (mut sums, at) = ([s.splat(0.0); C], (first + channel) * S::LANES);
        for row in 0..n * shape.h.output {
            let (block, rows) = (row / shape.h.output, shape.h.field(row % shape.h.output));
            for y in rows.clone() {
                let x = &mut x[(block * shape.h.input + y) * shape.w.input * pixel..];
                for ox in 0..shape.w.output {
                    let cols = shape.w.field(ox);
                    let dy = &dy[(row * shape.w.output + ox) * pixel + at..][..C * S::LANES];
                    let share = s.splat(1.0 / (rows.len() * cols.len()) as f32);
                    let mut shares = [share; C];
                    for c in 0..C {
                        shares[c] = s.mul(s.load(&dy[c * S::LANES..]), share);
                    }
                    for col in cols {
                        let x = &mut x[col * pixel + at..][..C * S::LANES];
                        for c in 0..C {
                            let x = &mut x[c * S::LANES..];
                            let delta = gradient(s.load(x), shares[c]);
                            sums[c] = s.add(sums[c], delta);
                            s.store(delta, x);
                        }
                    }
                }
            }
        }
        for (&sum, row) in sums.iter().zip(square[channel * S::LANES..].chunks_exact_mut(S::LANES)) {
            s.store(sum, row);
        }
    }
}
