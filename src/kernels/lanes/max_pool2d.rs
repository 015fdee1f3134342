//! Max pooling, one image a lane: the largest pixel of each window, its first occurrence row by row receiving the
//! gradient.
//!
//! NaN counts as larger than any number, so that it is never lost.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][c][lane]` |
//! | `y`, `dy` | `[n][oh][ow][c][lane]` |

use super::pool2d::{self, Window};
use super::weights;
use crate::kernels::activation::gradient;
use crate::kernels::check_len;
use crate::layer::Activation;
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The largest of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(level, shape, n, x, y);
    let lanes = level.lanes();
    dispatch!(level, s => {
        for (window, y) in pool2d::windows(lanes, shape, n).zip(y.chunks_exact_mut(shape.c * lanes)) {
            if window.is_two_by_two() {
                pool2d::map_corners(s, window.corners(x, y.len()), y, #[inline(always)] |[a, b, c, d]| {
                    larger(s, d, larger(s, c, larger(s, b, larger(s, a, s.splat(f32::NEG_INFINITY)))))
                });
            } else {
                largest(s, window, x, y);
            }
        }
    })
}

#[inline(always)]
fn largest<S: Simd>(s: S, window: Window, x: &[f32], y: &mut [f32]) {
    for (y, first) in y.chunks_exact_mut(S::LANES).zip((0..).step_by(S::LANES)) {
        let mut max = s.splat(f32::NEG_INFINITY);
        for row in 0..window.rows {
            for col in 0..window.cols {
                let x = s.load(&x[window.first + row * window.row + col * window.pixel + first..]);
                max = larger(s, x, max);
            }
        }
        s.store(max, y);
    }
}

/// The larger; `x` if it is NaN, `max` if only that is.
#[inline(always)]
fn larger<S: Simd>(s: S, x: S::V, max: S::V) -> S::V {
    s.select(s.or(s.gt(x, max), s.is_nan(x)), x, max)
}

/// The gradient `dx` of the input, the winners found again from `x` and the output `y`.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    pool2d::check(level, shape, n, x, y);
    check_len!(dy, y.len());
    check_len!(dx, x.len());
    dx.fill(0.0);
    let lanes = level.lanes();
    dispatch!(level, s => {
        let outputs = y.chunks_exact(shape.c * lanes).zip(dy.chunks_exact(shape.c * lanes));
        for (window, (y, dy)) in pool2d::windows(lanes, shape, n).zip(outputs) {
            add_rewards(s, window, x, y, dy, dx);
        }
    });
}

#[inline(always)]
fn add_rewards<S: Simd>(s: S, window: Window, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let zero = s.splat(0.0);
    for ((y, dy), first) in y.chunks_exact(S::LANES).zip(dy.chunks_exact(S::LANES)).zip((0..).step_by(S::LANES)) {
        let (max, mut reward) = (s.load(y), s.load(dy));
        for pixel in window.pixels() {
            let (x, dx) = (s.load(&x[pixel + first..]), &mut dx[pixel + first..]);
            let won = s.or(s.eq(x, max), s.is_nan(x));
            s.store(s.add(s.load(dx), s.select(won, reward, zero)), dx);
            reward = s.select(won, zero, reward);
        }
    }
}

/// [`backward`] and on, in one pass, through the activation whose output `x` the pooling took; then into the gradient `db` of
/// the bias before it. `x` becomes the gradient before the activation; `db` is added to.
///
/// # Panics
/// If a slice has not the length of its shape, windows share pixels or leave some out
/// ([`is_partition`](Pool2dShape::is_partition)), or the activation is a softmax.
#[allow(clippy::too_many_arguments)]
pub fn backward_activated(
    level: Level,
    shape: &Pool2dShape,
    n: usize,
    activation: Activation,
    y: &[f32],
    dy: &[f32],
    x: &mut [f32],
    db: Option<&mut [f32]>,
) {
    pool2d::check(level, shape, n, x, y);
    check_len!(dy, y.len());
    pool2d::check_activated(shape, activation, &db);
    let lanes = level.lanes();
    dispatch!(level, s => {
        let outputs = y.chunks_exact(shape.c * lanes).zip(dy.chunks_exact(shape.c * lanes));
        for (window, (y, dy)) in pool2d::windows(lanes, shape, n).zip(outputs) {
            if window.is_two_by_two() {
                reward(s, Window { rows: 2, cols: 2, ..window }, activation, y, dy, x);
            } else {
                reward(s, window, activation, y, dy, x);
            }
        }
    });
    if let Some(db) = db {
        weights::bias(level, shape.c, x, db);
    }
}

#[inline(always)]
fn reward<S: Simd>(s: S, window: Window, activation: Activation, y: &[f32], dy: &[f32], x: &mut [f32]) {
    let zero = s.splat(0.0);
    for ((y, dy), first) in y.chunks_exact(S::LANES).zip(dy.chunks_exact(S::LANES)).zip((0..).step_by(S::LANES)) {
        let (max, mut reward) = (s.load(y), s.load(dy));
        for row in 0..window.rows {
            for col in 0..window.cols {
                let place = &mut x[window.first + row * window.row + col * window.pixel + first..];
                let x = s.load(place);
                let won = s.or(s.eq(x, max), s.is_nan(x));
                s.store(gradient(s, activation, x, s.select(won, reward, zero)), place);
                reward = s.select(won, zero, reward);
            }
        }
    }
}
