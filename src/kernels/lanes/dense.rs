//! Dense layers, one sample a lane: `y[o] = b[o] + sum_i x[i] w[i][o]`.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][in][lane]` |
//! | `w`, `dw` | `[in][out]` |
//! | `b`, `db` | `[out]` |
//! | `y`, `dy` | `[n][out][lane]` |

use super::conv2d;
use super::tile::Walk;
use super::weights::{self, Products};
use crate::kernels::check_len;
use crate::shape::{DenseShape, batch_len};
use crate::simd::{Level, dispatch};

/// The output, with bias `b` if there is one, and nothing below `floor`: 0 for ReLU, negative infinity for no activation.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    level: Level,
    shape: &DenseShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
) {
    conv2d::forward(level, &shape.pixel(), n, x, w, b, floor, y);
}

/// The gradient `dx` of the input.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_input(level: Level, shape: &DenseShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    conv2d::backward_input(level, &shape.pixel(), n, dy, w, dx);
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_params(
    level: Level,
    shape: &DenseShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
) {
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.inputs));
    check_len!(dw, shape.w_len());
    check_len!(dy, batch_len(batch_len(n, level.lanes()), shape.outputs));
    let vectors = |values, count| Vectors { values, count, stride: count * level.lanes() };
    if let Some(db) = db {
        check_len!(db, shape.outputs);
        add_bias(level, &vectors(dy, shape.outputs), db);
    }
    add_products(level, &vectors(x, shape.inputs), &vectors(dy, shape.outputs), dw);
}

/// Neighbouring vectors in each of some blocks.
#[derive(Clone, Copy)]
pub(crate) struct Vectors<'a> {
    /// From the first vector of the first block on.
    pub values: &'a [f32],
    /// Vectors in a block.
    pub count: usize,
    /// Floats between blocks.
    pub stride: usize,
}

/// Adds the products of all vectors of `x` and `dy`, summed over blocks and lanes, to `dw[x][dy]`.
pub(crate) fn add_products(level: Level, x: &Vectors<'_>, dy: &Vectors<'_>, dw: &mut [f32]) {
    let rows = x.values.len().div_ceil(x.stride);
    if rows > 0 {
        let walk = Walk { rows, cols: 1, x_row: x.stride, x_col: 0, dy_row: dy.stride, dy_col: 0 };
        let (terms, channels) = (x.count, dy.count);
        let products = Products { x: x.values, dy: dy.values, walk, terms, channels, row: channels };
        dispatch!(level, s => products.add_to(s, dw))
    }
}

/// Adds the vectors of `dy`, summed over blocks and lanes, to `db`.
pub(crate) fn add_bias(level: Level, dy: &Vectors<'_>, db: &mut [f32]) {
    weights::bias(level, dy.count, dy.values, dy.stride, db);
}
