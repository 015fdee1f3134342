//! Average pooling: the mean of the pixels of each window that lie inside the image.
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
//! use convlane::{Level, kernels::nhwc::avg_pool2d};
//!
//! let mut y = [0.0];
//! let shape = Pool2dShape::new(Shape::hwc(2, 2, 1), &Window::new(2))?;
//! avg_pool2d::forward(Level::best(), &shape, 1, &[1.0, 2.0, 3.0, 6.0], &mut y);
//! assert_eq!(y, [3.0]);
//! # Ok::<(), convlane::Error>(())
//! ```

use super::pool2d::{self, for_each_field, vector_mut, vectors};
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The mean of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    dispatch!(level, s => mean(s, shape, n, x, y))
}

/// The gradient `dx` of the input: every window's share, `dy / count`, added up.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
    pool2d::check(shape, n, dx, dy);
    if shape.is_partition() {
        dispatch!(level, s => spread(s, shape, n, dy, dx))
    } else {
        dx.fill(0.0);
        dispatch!(level, s => add(s, shape, n, dy, dx))
    }
}

#[inline(always)]
fn mean<S: Simd>(s: S, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    let end = y.len();
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            let count = s.splat(field.len() as f32);
            for channel in vectors(s, shape.c) {
                let mut sum = s.splat(0.0);
                field.pixels(
                    #[inline(always)]
                    |pixel, _| sum = s.add(sum, s.load_padded(&x[pixel + channel..], 0.0)),
                );
                s.store_cut(s.div(sum, count), vector_mut(s, y, field.output + channel, end));
            }
        },
    );
}

/// Writes the shares of windows of which every pixel has one.
#[inline(always)]
fn spread<S: Simd>(s: S, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            let count = s.splat(field.len() as f32);
            for channel in vectors(s, shape.c) {
                let share = s.div(s.load_padded(&dy[field.output + channel..], 0.0), count);
                field.pixels(
                    #[inline(always)]
                    |pixel, end| s.store_cut(share, vector_mut(s, dx, pixel + channel, end)),
                );
            }
        },
    );
}

#[inline(always)]
fn add<S: Simd>(s: S, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
    let end = dx.len();
    for_each_field(
        shape,
        n,
        #[inline(always)]
        |field| {
            let count = s.splat(field.len() as f32);
            let dy = &dy[field.output..][..shape.c];
            for (dy, channel) in dy.chunks(S::LANES).zip((0..).step_by(S::LANES)) {
                let share = s.div(s.load_padded(dy, 0.0), count);
                field.pixels(
                    #[inline(always)]
                    |pixel, _| {
                        let dx = vector_mut(s, dx, pixel + channel, end);
                        s.store_cut(s.add(s.load_padded(dx, 0.0), share), dx);
                    },
                );
            }
        },
    );
}

/// The same, the batch split over the current rayon pool.
pub mod par {
    use super::*;
    use crate::kernels::par::for_each_piece;

    /// See [`super::forward`].
    pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
        pool2d::check(shape, n, x, y);
        for_each_piece(n, (x, shape.x_len()), (y, shape.y_len()), |n, x, y| super::forward(level, shape, n, x, y));
    }

    /// See [`super::backward`].
    pub fn backward(level: Level, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
        pool2d::check(shape, n, dx, dy);
        for_each_piece(n, (dy, shape.y_len()), (dx, shape.x_len()), |n, dy, dx| {
            super::backward(level, shape, n, dy, dx)
        });
    }
}
