//! Dense layers as matrix products: `y[n][o] = b[o] + sum_i x[n][i] w[i][o]`.
//!
//! matrixmultiply chooses the instructions itself, whatever the level.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][in]` |
//! | `w`, `dw` | `[in][out]` |
//! | `b`, `db` | `[out]` |
//! | `y`, `dy` | `[n][out]` |
//!
//! # Example
//! ```
//! use convlane::{Level, kernels::nhwc::dense, shape::DenseShape};
//!
//! let mut y = [0.0; 2];
//! let (x, w) = ([1.0, 2.0], [1.0, 0.5, 10.0, 5.0]);
//! dense::forward(Level::best(), &DenseShape::new(2, 2)?, 1, &x, &w, None, &mut y);
//! assert_eq!(y, [21.0, 10.5]);
//! # Ok::<(), convlane::Error>(())
//! ```

use super::{Matrix, add_rows, fill_rows, gemm};
use crate::kernels::check_len;
use crate::shape::{DenseShape, batch_len};
use crate::simd::Level;

/// The output, with bias `b` if there is one.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(_level: Level, shape: &DenseShape, n: usize, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    check(shape, n, x, w, y);
    fill_rows(shape.outputs, b, y);
    gemm(inputs(shape, n, x), weights(shape, w), 1.0, outputs(shape, n, y));
}

/// The gradient `dx` of the input.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_input(_level: Level, shape: &DenseShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    check(shape, n, dx, w, dy);
    gemm(outputs(shape, n, dy), weights(shape, w).t(), 0.0, inputs(shape, n, dx));
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_params(
    _level: Level,
    shape: &DenseShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
) {
    check(shape, n, x, dw, dy);
    add_rows(shape.outputs, dy, db);
    gemm(inputs(shape, n, x).t(), outputs(shape, n, dy), 1.0, weights(shape, dw));
}

fn check(shape: &DenseShape, n: usize, x: &[f32], w: &[f32], y: &[f32]) {
    check_len!(x, batch_len(n, shape.inputs));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(n, shape.outputs));
}

fn inputs<T>(shape: &DenseShape, n: usize, x: T) -> Matrix<T> {
    Matrix::new(x, n, shape.inputs, shape.inputs)
}

fn weights<T>(shape: &DenseShape, w: T) -> Matrix<T> {
    Matrix::new(w, shape.inputs, shape.outputs, shape.outputs)
}

fn outputs<T>(shape: &DenseShape, n: usize, y: T) -> Matrix<T> {
    Matrix::new(y, n, shape.outputs, shape.outputs)
}

/// The same, split over the current rayon pool: by samples, and the gradient of the weights by input features.
pub mod par {
    use super::*;
    use crate::kernels::par::{for_each_piece, rows_per_piece};
    use rayon::prelude::*;

    /// See [`super::forward`].
    pub fn forward(level: Level, shape: &DenseShape, n: usize, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
        check(shape, n, x, w, y);
        let run = |n, x: &[f32], y: &mut [f32]| super::forward(level, shape, n, x, w, b, y);
        for_each_piece(n, (x, shape.inputs), (y, shape.outputs), run);
    }

    /// See [`super::backward_input`].
    pub fn backward_input(level: Level, shape: &DenseShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        check(shape, n, dx, w, dy);
        let run = |n, dy: &[f32], dx: &mut [f32]| super::backward_input(level, shape, n, dy, w, dx);
        for_each_piece(n, (dy, shape.outputs), (dx, shape.inputs), run);
    }

    /// See [`super::backward_params`]. Every parameter is summed over the whole batch by one thread.
    pub fn backward_params(
        _level: Level,
        shape: &DenseShape,
        n: usize,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
    ) {
        check(shape, n, x, dw, dy);
        if n == 0 {
            return add_rows(shape.outputs, dy, db);
        }
        let rows = rows_per_piece(shape.inputs);
        let weights = || {
            dw.par_chunks_mut(rows * shape.outputs).enumerate().for_each(|(piece, dw)| {
                let rows_here = dw.len() / shape.outputs;
                let x = Matrix::new(x, n, rows_here, shape.inputs).starting_at(piece * rows);
                gemm(x.t(), outputs(shape, n, dy), 1.0, Matrix::new(dw, rows_here, shape.outputs, shape.outputs));
            });
        };
        rayon::join(weights, || add_rows(shape.outputs, dy, db));
    }
}
