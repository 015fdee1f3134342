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

use super::pool2d::{self, for_each_field, vector_mut, vectors};
use crate::kernels::check_len;
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The largest of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    dispatch!(level, s => largest(s, shape, n, x, y))
}

/// The gradient `dx` of the input, the winners found again from `x` and the output `y`.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    check_len!(dy, y.len());
    check_len!(dx, x.len());
    if shape.is_partition() {
        dispatch!(level, s => reward(s, shape, n, [x, y, dy], dx))
    } else {
        dx.fill(0.0);
        dispatch!(level, s => add(s, shape, n, [x, y, dy], dx))
    }
}

#[inline(always)]
fn largest<S: Simd>(s: S, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    let end = y.len();
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            for channel in vectors(s, shape.c) {
                let mut max = s.splat(f32::NEG_INFINITY);
                field.pixels(
                    #[inline(always)]
                    |pixel, _| {
                        let x = s.load_padded(&x[pixel + channel..], 0.0);
                        max = s.select(s.or(s.gt(x, max), s.is_nan(x)), x, max);
                    },
                );
                s.store_cut(max, vector_mut(s, y, field.output + channel, end));
            }
        },
    );
}

/// Writes the gradients of windows of which every pixel has one.
#[inline(always)]
fn reward<S: Simd>(s: S, shape: &Pool2dShape, n: usize, [x, y, dy]: [&[f32]; 3], dx: &mut [f32]) {
    let zero = s.splat(0.0);
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            for channel in vectors(s, shape.c) {
                let at = field.output + channel;
                let (max, mut left) = (s.load_padded(&y[at..], 0.0), s.load_padded(&dy[at..], 0.0));
                field.pixels(
                    #[inline(always)]
                    |pixel, end| {
                        let won = won(s, s.load_padded(&x[pixel + channel..], 0.0), max);
                        s.store_cut(s.select(won, left, zero), vector_mut(s, dx, pixel + channel, end));
                        left = s.select(won, zero, left);
                    },
                );
            }
        },
    );
}

#[inline(always)]
fn add<S: Simd>(s: S, shape: &Pool2dShape, n: usize, [x, y, dy]: [&[f32]; 3], dx: &mut [f32]) {
    let (zero, end) = (s.splat(0.0), dx.len());
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            let [y, dy] = [y, dy].map(
                #[inline(always)]
                |values| values[field.output..][..shape.c].chunks(S::LANES),
            );
            for ((y, dy), channel) in y.zip(dy).zip((0..).step_by(S::LANES)) {
                let (max, mut left) = (s.load_padded(y, 0.0), s.load_padded(dy, 0.0));
                field.pixels(
                    #[inline(always)]
                    |pixel, _| {
                        let won = won(s, s.load_padded(&x[pixel + channel..], 0.0), max);
                        let dx = vector_mut(s, dx, pixel + channel, end);
                        s.store_cut(s.add(s.load_padded(dx, 0.0), s.select(won, left, zero)), dx);
                        left = s.select(won, zero, left);
                    },
                );
            }
        },
    );
}

#[inline(always)]
fn won<S: Simd>(s: S, x: S::V, max: S::V) -> S::M {
    s.or(s.eq(x, max), s.is_nan(x))
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
