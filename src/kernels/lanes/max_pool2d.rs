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
use super::{activation, weights};
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
                largest(s, Window { rows: 2, cols: 2, ..window }, x, y);
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
                max = s.select(s.or(s.gt(x, max), s.is_nan(x)), x, max);
            }
        }
        s.store(max, y);
    }
}

/// The gradient `dx` of the input, the winners found again from `x` and the output `y`.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    backward_activated(level, shape, n, Activation::Linear, x, y, dy, dx, None);
}

/// [`backward`], on through the activation whose output `x` the pooling took, in one pass, and into the gradient `db` of
/// the bias before it: `dx` overwritten, `db` added to.
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
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    db: Option<&mut [f32]>,
) {
    pool2d::check(level, shape, n, x, y);
    check_len!(dy, y.len());
    check_len!(dx, x.len());
    let (lanes, disjoint) = (level.lanes(), shape.h.is_disjoint() && shape.w.is_disjoint());
    if !disjoint || !shape.h.is_covered() || !shape.w.is_covered() {
        dx.fill(0.0);
    }
    let inside = if pool2d::fuses(shape, activation) { activation } else { Activation::Linear };
    dispatch!(level, s => {
        let outputs = y.chunks_exact(shape.c * lanes).zip(dy.chunks_exact(shape.c * lanes));
        for (window, outputs) in pool2d::windows(lanes, shape, n).zip(outputs) {
            if disjoint && window.is_two_by_two() {
                reward(s, Window { rows: 2, cols: 2, ..window }, true, inside, x, outputs, dx);
            } else {
                reward(s, window, disjoint, inside, x, outputs, dx);
            }
        }
    });
    if inside != activation {
        activation::backward(level, activation, shape.c, x, dx);
    }
    if let Some(db) = db {
        weights::bias(level, shape.c, dx, db);
    }
}

/// Overwrites or adds to the pixels of a window.
#[inline(always)]
fn reward<S: Simd>(
    s: S,
    window: Window,
    overwrite: bool,
    activation: Activation,
    x: &[f32],
    (y, dy): (&[f32], &[f32]),
    dx: &mut [f32],
) {
    let zero = s.splat(0.0);
    for ((y, dy), first) in y.chunks_exact(S::LANES).zip(dy.chunks_exact(S::LANES)).zip((0..).step_by(S::LANES)) {
        let (max, mut reward) = (s.load(y), s.load(dy));
        for row in 0..window.rows {
            for col in 0..window.cols {
                let at = window.first + row * window.row + col * window.pixel + first;
                let (x, dx) = (s.load(&x[at..]), &mut dx[at..]);
                let won = s.or(s.eq(x, max), s.is_nan(x));
                let share = gradient(s, activation, x, s.select(won, reward, zero));
                s.store(if overwrite { share } else { s.add(s.load(dx), share) }, dx);
                reward = s.select(won, zero, reward);
            }
        }
    }
}
