//! Dense layers: `y[n][o] = b[o] + sum_i x[n][i] w[i][o]`.
//!
//! Outputs are summed in registers, input by input, so that they are the same bits in any batch. Gradients, and at the level scalar
//! outputs, are products of matrices by matrixmultiply, which chooses the instructions itself, whatever the level.
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

use std::ops::Range;

use super::{Matrix, add_rows, fill_rows, gemm};
use crate::kernels::check_len;
use crate::kernels::tile::{self, Steps, Terms, best_size};
use crate::shape::{DenseShape, batch_len};
use crate::simd::{Level, Simd, dispatch};

/// Inputs whose products are added at a time: few enough for their weights, of some vectors of outputs, to stay in L1.
const BAND: usize = 128;

/// The output, with bias `b` if there is one.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn forward(level: Level, shape: &DenseShape, n: usize, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    check(shape, n, x, w, y);
    fill_rows(shape.outputs, b, y);
    if level == Level::scalar() {
        return gemm(inputs(shape, n, x), weights(shape, w), 1.0, outputs(shape, n, y));
    }
    for first in (0..shape.inputs).step_by(BAND) {
        let band = Band { shape, inputs: first..shape.inputs.min(first + BAND), x, w };
        dispatch!(level, s => band.add(s, n, y));
    }
}

/// Neighbouring inputs, and what is to be multiplied.
struct Band<'a> {
    shape: &'a DenseShape,
    inputs: Range<usize>,
    x: &'a [f32],
    w: &'a [f32],
}

impl Band<'_> {
    /// Adds the products of the band to the outputs of `n` samples.
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, n: usize, y: &mut [f32]) {
        let done = self.tiles::<S, 6, 2>(s, 0..n, y);
        let done = self.tiles::<S, 4, 2>(s, done..n, y);
        let done = self.tiles::<S, 2, 4>(s, done..n, y);
        match best_size(self.shape.outputs.div_ceil(S::LANES), [8, 6, 2, 1]) {
            8 => self.tiles::<S, 1, 8>(s, done..n, y),
            6 => self.tiles::<S, 1, 6>(s, done..n, y),
            2 => self.tiles::<S, 1, 2>(s, done..n, y),
            _ => self.tiles::<S, 1, 1>(s, done..n, y),
        };
    }

    /// The same for as many samples as tiles of `C` samples and `V` vectors of outputs cover; gives the first one left.
    #[inline(always)]
    fn tiles<S: Simd, const C: usize, const V: usize>(&self, s: S, samples: Range<usize>, y: &mut [f32]) -> usize {
        let end = samples.end - samples.len() % C;
        for output in (0..self.shape.outputs).step_by(V * S::LANES) {
            for sample in (samples.start..end).step_by(C) {
                self.tile::<S, C, V>(s, sample, output, y);
            }
        }
        end
    }

    /// A tile from a sample and an output on. Vectors may reach beyond the last output, into the weights of the next input; those
    /// sums are dropped.
    #[inline(always)]
    fn tile<S: Simd, const C: usize, const V: usize>(&self, s: S, sample: usize, output: usize, y: &mut [f32]) {
        let DenseShape { inputs, outputs } = *self.shape;
        let width = outputs.min(output + V * S::LANES) - output;
        let at = |c: usize| (sample + c) * outputs + output;
        let mut sums = [[s.splat(0.0); V]; C];
        for (c, sums) in sums.iter_mut().enumerate() {
            for (sum, y) in sums.iter_mut().zip(y[at(c)..][..width].chunks(S::LANES)) {
                *sum = s.load_padded(y, 0.0);
            }
        }
        // Of the last inputs, there may be no more weights.
        let whole = self.w.len().checked_sub(output + V * S::LANES).map_or(0, |left| left / outputs + 1);
        let whole = whole.clamp(self.inputs.start, self.inputs.end);
        if whole > self.inputs.start {
            let once = Steps { count: 1, x: 0, w: 0 };
            let terms = Terms {
                x: self.inputs.start * outputs + output,
                w: sample * inputs + self.inputs.start,
                loops: [once, once, Steps { count: whole - self.inputs.start, x: outputs as isize, w: 1 }],
                pixel: S::LANES,
                channel: inputs,
            };
            tile::gather::<S, C, V, false>(s, &mut sums, self.w, self.x, &terms);
        }
        for input in whole..self.inputs.end {
            let weights = &self.w[input * outputs + output..][..width];
            for (c, sums) in sums.iter_mut().enumerate() {
                let x = s.splat(self.x[(sample + c) * inputs + input]);
                for (sum, weights) in sums.iter_mut().zip(weights.chunks(S::LANES)) {
                    *sum = s.mul_add(x, s.load_padded(weights, 0.0), *sum);
                }
            }
        }
        for (c, sums) in sums.iter().enumerate() {
            for (&sum, y) in sums.iter().zip(y[at(c)..][..width].chunks_mut(S::LANES)) {
                s.store_cut(sum, y);
            }
        }
    }
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
