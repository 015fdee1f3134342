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
use crate::simd::{Level, Simd, dispatch};

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
    if let Some(db) = db {
        weights::bias(level, shape.outputs, dy, db);
    }
    if n > 0 {
        dispatch!(level, s => products(s, shape, n, x, dy).add_to(s, dw))
    }
}

#[inline(always)]
fn products<'a, S: Simd>(_: S, shape: &DenseShape, n: usize, x: &'a [f32], dy: &'a [f32]) -> Products<'a> {
    let walk = Walk {
        rows: n,
        cols: 1,
        x_row: shape.inputs * S::LANES,
        x_col: 0,
        dy_row: shape.outputs * S::LANES,
        dy_col: 0,
    };
    Products { x, dy, walk, terms: shape.inputs, channels: shape.outputs, row: shape.outputs }
}
