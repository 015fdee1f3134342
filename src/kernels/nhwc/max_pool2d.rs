//! Max pooling: the largest pixel of each window, its first occurrence row by row receiving the gradient.
//!
//! NaN counts as larger than any number, so that it is never lost.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][c]` |
//! | `y`, `dy` | `[n][oh][ow][c]` |
//!
//! # Example
//! ```
//! use convlane::shape::{Pool2dShape, Shape, Window};
//! use convlane::{Level, kernels::nhwc::max_pool2d};
//!
//! let (level, x) = (Level::best(), [1.0, 7.0, 7.0, 3.0]);
//! let (mut y, mut dx) = ([0.0], [0.0; 4]);
//! let shape = Pool2dShape::new(Shape::hwc(2, 2, 1), &Window::new(2))?;
//! max_pool2d::forward(level, &shape, 1, &x, &mut y);
//! max_pool2d::backward(level, &shape, 1, &x, &y, &[0.5], &mut dx);
//! assert_eq!((y, dx), ([7.0], [0.0, 0.5, 0.0, 0.0]));
//! # Ok::<(), convlane::Error>(())
//! ```

use super::pool2d::{self, Field};
use crate::kernels::check_len;
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The largest of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    dispatch!(level, s => {
        for (field, y) in pool2d::fields(shape, n).zip(y.chunks_exact_mut(shape.c)) {
            largest(s, shape, &field, x, y);
        }
    })
}

/// The gradient `dx` of the input, the winners found again from `x` and the output `y`.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    check_len!(dy, y.len());
    check_len!(dx, x.len());
    dx.fill(0.0);
    dispatch!(level, s => {
        let outputs = y.chunks_exact(shape.c).zip(dy.chunks_exact(shape.c));
        for (field, (y, dy)) in pool2d::fields(shape, n).zip(outputs) {
            reward(s, shape, &field, x, y, dy, dx);
        }
    })
}

#[inline(always)]
fn largest<S: Simd>(s: S, shape: &Pool2dShape, field: &Field, x: &[f32], y: &mut [f32]) {
    for (y, first) in y.chunks_mut(S::LANES).zip((0..).step_by(S::LANES)) {
        let mut max = s.splat(f32::NEG_INFINITY);
        for pixel in field.pixels(shape) {
            let x = s.load_padded(&x[pixel + first..], 0.0);
            max = s.select(s.or(s.gt(x, max), s.is_nan(x)), x, max);
        }
        s.store_cut(max, y);
    }
}

#[inline(always)]
fn reward<S: Simd>(s: S, shape: &Pool2dShape, field: &Field, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let zero = s.splat(0.0);
    for ((y, dy), first) in y.chunks(S::LANES).zip(dy.chunks(S::LANES)).zip((0..).step_by(S::LANES)) {
        let (max, mut reward) = (s.load_padded(y, 0.0), s.load_padded(dy, 0.0));
        for pixel in field.pixels(shape) {
            let x = s.load_padded(&x[pixel + first..], 0.0);
            let won = s.or(s.eq(x, max), s.is_nan(x));
            let dx = pool2d::vector_mut(s, dx, pixel + first);
            s.store_cut(s.add(s.load_padded(dx, 0.0), s.select(won, reward, zero)), dx);
            reward = s.select(won, zero, reward);
        }
    }
}

/// The same, the batch split over the current rayon pool.
pub mod par {
    use super::*;
    use crate::kernels::par::{for_each_piece, rows_per_piece};
    use rayon::prelude::*;

    /// See [`super::forward`].
    pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
        pool2d::check(shape, n, x, y);
        for_each_piece(n, (x, shape.x_len()), (y, shape.y_len()), |n, x, y| super::forward(level, shape, n, x, y));
    }

    /// See [`super::backward`].
    pub fn backward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool2d::check(shape, n, x, y);
        check_len!(dy, y.len());
        check_len!(dx, x.len());
        let (x_piece, y_piece) = (rows_per_piece(n) * shape.x_len(), rows_per_piece(n) * shape.y_len());
        let inputs = x.par_chunks(x_piece).zip(dx.par_chunks_mut(x_piece));
        let outputs = y.par_chunks(y_piece).zip(dy.par_chunks(y_piece));
        inputs.zip(outputs).for_each(|((x, dx), (y, dy))| {
            super::backward(level, shape, y.len() / shape.y_len(), x, y, dy, dx);
        });
    }
}
