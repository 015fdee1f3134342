//! 2-D convolution as im2col and a matrix product, on blocks of output pixels that stay in the L2 cache.
//!
//! `y[n][oy][ox][o] = b[o] + sum_{ky, kx, i} x[n][oy s + ky d - p][ox s + kx d - p][i] w[ky][kx][i][o]`, where `i` runs
//! over the channels of `o`'s group and pixels outside the image are zero.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][in_c]` |
//! | `w`, `dw` | `[kh][kw][in_c / groups][out_c]` |
//! | `b`, `db` | `[out_c]` |
//! | `y`, `dy` | `[n][oh][ow][out_c]` |
//! | `scratch` | [`scratch_len`] |
//!
//! # Example
//! ```
//! use convlane::kernels::nhwc::conv2d;
//! use convlane::shape::{Conv2dShape, Shape, Window};
//! use convlane::Level;
//!
//! let shape = Conv2dShape::new(Shape::hwc(2, 2, 1), 1, 1, &Window::new(2))?;
//! let mut scratch = vec![0.0; conv2d::scratch_len(&shape)];
//! let (x, w, mut y) = ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0], [0.0]);
//! conv2d::forward(Level::best(), &shape, 1, &x, &w, Some(&[0.5]), &mut y, &mut scratch);
//! assert_eq!(y, [4321.5]);
//! # Ok::<(), convlane::Error>(())
//! ```
//!
//! # Source
//! Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing", 2006.

use super::im2col::Fields;
use super::{Matrix, add_rows, fill_rows, gemm};
use crate::kernels::check_len;
use crate::shape::{Conv2dShape, MIN_BLOCK_PIXELS, batch_len};
use crate::simd::Level;

/// Floats of a block of the column matrix: 128 KiB, a quarter of a small L2 cache.
const BLOCK_LEN: usize = 32 * 1024;

/// Floats of scratch that each pass needs.
pub fn scratch_len(shape: &Conv2dShape) -> usize {
    batch_len(block_pixels(shape), shape.terms())
}

fn block_pixels(shape: &Conv2dShape) -> usize {
    (BLOCK_LEN / shape.terms()).max(MIN_BLOCK_PIXELS)
}

/// The output, with bias `b` if there is one.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    check(shape, n, x, w, y, scratch);
    fill_rows(shape.out_c, b, y);
    for_each_block(shape, n, scratch, |block, columns| {
        block.im2col(level, x, columns);
        gemm(block.columns(&*columns), block.weights(w), 1.0, block.outputs(&mut *y));
    });
}

/// The gradient `dx` of the input.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_input(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    check(shape, n, dx, w, dy, scratch);
    dx.fill(0.0);
    for_each_block(shape, n, scratch, |block, columns| {
        gemm(block.outputs(dy), block.weights(w).t(), 0.0, block.columns(&mut *columns));
        block.col2im(level, columns, dx);
    });
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn backward_params(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    check(shape, n, x, dw, dy, scratch);
    add_rows(shape.out_c, dy, db);
    for_each_block(shape, n, scratch, |block, columns| {
        block.im2col(level, x, columns);
        gemm(block.columns(&*columns).t(), block.outputs(dy), 1.0, block.weights(&mut *dw));
    });
}

fn check(shape: &Conv2dShape, n: usize, x: &[f32], w: &[f32], y: &[f32], scratch: &[f32]) {
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(n, shape.y_len()));
    check_len!(scratch, scratch_len(shape));
}

/// The matrices that belong to a block of output pixels.
impl Fields<'_> {
    /// Output channels of the group.
    fn out_c(&self) -> usize {
        self.shape.out_c / self.shape.groups
    }

    /// `[pixels][terms]` of the scratch.
    fn columns<T>(&self, columns: T) -> Matrix<T> {
        Matrix::new(columns, self.pixels.len(), self.shape.terms(), self.shape.terms())
    }

    /// `[terms][out_c]` of the weights.
    fn weights<T>(&self, w: T) -> Matrix<T> {
        let first = self.group * self.out_c();
        Matrix::new(w, self.shape.terms(), self.out_c(), self.shape.out_c).starting_at(first)
    }

    /// `[pixels][out_c]` of the output.
    fn outputs<T>(&self, y: T) -> Matrix<T> {
        let first = self.pixels.start * self.shape.out_c + self.group * self.out_c();
        Matrix::new(y, self.pixels.len(), self.out_c(), self.shape.out_c).starting_at(first)
    }
}

/// Calls `run` with every block of a batch of `n` and its part of the scratch.
fn for_each_block(shape: &Conv2dShape, n: usize, scratch: &mut [f32], mut run: impl FnMut(Fields<'_>, &mut [f32])) {
    let (total, step) = (n * shape.pixels(), block_pixels(shape));
    for group in 0..shape.groups {
        for start in (0..total).step_by(step) {
            let pixels = start..total.min(start + step);
            let columns = &mut scratch[..pixels.len() * shape.terms()];
            run(Fields { shape, group, pixels }, columns);
        }
    }
}

/// The same, the batch split over the current rayon pool.
pub mod par {
    use super::*;
    use crate::kernels::par::{add_partials, pieces, rows_per_piece};
    use rayon::prelude::*;

    /// Floats of scratch that each pass needs for a batch of `n`.
    ///
    /// # Panics
    /// If they overflow the address space.
    pub fn scratch_len(shape: &Conv2dShape, n: usize) -> usize {
        batch_len(pieces(n), piece_len(shape))
    }

    /// Scratch of a piece: the blocks', then partial gradients of weights and bias.
    fn piece_len(shape: &Conv2dShape) -> usize {
        super::scratch_len(shape) + shape.w_len() + shape.out_c
    }

    /// See [`super::forward`].
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        x: &[f32],
        w: &[f32],
        b: Option<&[f32]>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        check(shape, n, x, w, y, scratch);
        let piece = rows_per_piece(n);
        let batch = x.par_chunks(piece * shape.x_len()).zip(y.par_chunks_mut(piece * shape.y_len()));
        batch.zip(scratch.par_chunks_mut(piece_len(shape))).for_each(|((x, y), scratch)| {
            let scratch = &mut scratch[..super::scratch_len(shape)];
            super::forward(level, shape, y.len() / shape.y_len(), x, w, b, y, scratch);
        });
    }

    /// See [`super::backward_input`].
    pub fn backward_input(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        check(shape, n, dx, w, dy, scratch);
        let piece = rows_per_piece(n);
        let batch = dy.par_chunks(piece * shape.y_len()).zip(dx.par_chunks_mut(piece * shape.x_len()));
        batch.zip(scratch.par_chunks_mut(piece_len(shape))).for_each(|((dy, dx), scratch)| {
            let scratch = &mut scratch[..super::scratch_len(shape)];
            super::backward_input(level, shape, dy.len() / shape.y_len(), dy, w, dx, scratch);
        });
    }

    /// See [`super::backward_params`]. Partial gradients of the pieces are added in the order of the batch.
    #[allow(clippy::too_many_arguments)]
    pub fn backward_params(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        check(shape, n, x, dw, dy, scratch);
        if let Some(db) = &db {
            check_len!(db, shape.out_c);
        }
        if n == 0 {
            return;
        }
        let (piece, with_bias) = (rows_per_piece(n), db.is_some());
        let batch = x.par_chunks(piece * shape.x_len()).zip(dy.par_chunks(piece * shape.y_len()));
        batch.zip(scratch.par_chunks_mut(piece_len(shape))).for_each(|((x, dy), scratch)| {
            let (scratch, partial) = scratch.split_at_mut(super::scratch_len(shape));
            partial.fill(0.0);
            let (dw, db) = partial.split_at_mut(shape.w_len());
            let db = with_bias.then_some(db);
            super::backward_params(level, shape, dy.len() / shape.y_len(), x, dy, dw, db, scratch);
        });
        let partials = &scratch[super::scratch_len(shape)..];
        add_partials(partials, piece_len(shape), dw);
        if let Some(db) = db {
            add_partials(&partials[shape.w_len()..], piece_len(shape), db);
        }
    }

    fn check(shape: &Conv2dShape, n: usize, x: &[f32], w: &[f32], y: &[f32], scratch: &[f32]) {
        check_len!(scratch, scratch_len(shape, n));
        check_len!(x, batch_len(n, shape.x_len()));
        check_len!(w, shape.w_len());
        check_len!(y, batch_len(n, shape.y_len()));
    }
}
