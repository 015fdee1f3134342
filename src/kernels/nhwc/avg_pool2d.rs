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

use super::pool2d::{self, Field};
use crate::shape::Pool2dShape;
use crate::simd::{Level, Simd, dispatch};

/// The mean of every window.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &mut [f32]) {
    pool2d::check(shape, n, x, y);
    dispatch!(level, s => {
        for (field, y) in pool2d::fields(shape, n).zip(y.chunks_exact_mut(shape.c)) {
            mean(s, shape, &field, x, y);
        }
    })
}

/// The gradient `dx` of the input: every window's share, `dy / count`, added up.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward(level: Level, shape: &Pool2dShape, n: usize, dy: &[f32], dx: &mut [f32]) {
    pool2d::check(shape, n, dx, dy);
    dx.fill(0.0);
    dispatch!(level, s => {
        for (field, dy) in pool2d::fields(shape, n).zip(dy.chunks_exact(shape.c)) {
            spread(s, shape, &field, dy, dx);
        }
    })
}

#[inline(always)]
fn mean<S: Simd>(s: S, shape: &Pool2dShape, field: &Field, x: &[f32], y: &mut [f32]) {
    let count = s.splat(field.len() as f32);
    for (y, first) in y.chunks_mut(S::LANES).zip((0..).step_by(S::LANES)) {
        let mut sum = s.splat(0.0);
        for pixel in field.pixels(shape) {
            sum = s.add(sum, s.load_padded(&x[pixel + first..], 0.0));
        }
        s.store_cut(s.div(sum, count), y);
    }
}

#[inline(always)]
fn spread<S: Simd>(s: S, shape: &Pool2dShape, field: &Field, dy: &[f32], dx: &mut [f32]) {
    let count = s.splat(field.len() as f32);
    for (dy, first) in dy.chunks(S::LANES).zip((0..).step_by(S::LANES)) {
        let share = s.div(s.load_padded(dy, 0.0), count);
        for pixel in field.pixels(shape) {
            let dx = pool2d::vector_mut(s, dx, pixel + first);
            s.store_cut(s.add(s.load_padded(dx, 0.0), share), dx);
        }
    }
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
