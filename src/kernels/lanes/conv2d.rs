//! 2-D convolution, one image a lane.
//!
//! The formula is that of [`nhwc::conv2d`](crate::kernels::nhwc::conv2d). Every sum is taken over the taps that fall on
//! the image, and only those.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][h][w][in_c][lane]` |
//! | `w`, `dw` | `[kh][kw][in_c / groups][out_c]` |
//! | `b`, `db` | `[out_c]` |
//! | `y`, `dy` | `[n][oh][ow][out_c][lane]` |

use super::gather::{Direct, Gather};
use super::weights;
use crate::kernels::check_len;
use crate::kernels::correlate::{Products, Walk};
use crate::kernels::taps::{Run, Side, meeting, runs};
use crate::shape::{Axis, Conv2dShape, batch_len};
use crate::simd::{Level, Simd, dispatch};

/// The output, with bias `b` if there is one, and nothing below `floor`: 0 for ReLU, negative infinity for no activation.
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
    floor: f32,
    y: &mut [f32],
) {
    check(level, shape, n, x, w, y);
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    if n > 0 {
        let steps = steps(shape.h.output, shape.w.output, shape.out_c);
        dispatch!(level, s => forward_sums(level, shape, n).run(s, &mut Direct { x, w, b, floor, y, steps }));
    }
}

/// The gradient `dx` of the input.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_input(level: Level, shape: &Conv2dShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    check(level, shape, n, dx, w, dy);
    if n > 0 {
        let steps = steps(shape.h.input, shape.w.input, shape.in_c);
        let direct = &mut Direct { x: dy, w, b: None, floor: f32::NEG_INFINITY, y: dx, steps };
        dispatch!(level, s => backward_sums(level, shape, n).run(s, direct));
    }
}

/// Vectors from a block, a row and a pixel to the next one.
fn steps(rows: usize, cols: usize, channels: usize) -> [usize; 3] {
    [rows * cols * channels, cols * channels, channels]
}

/// The sums of the output of so many blocks.
pub(super) fn forward_sums(level: Level, shape: &Conv2dShape, blocks: usize) -> Gather<'_, true> {
    let x_block = shape.x_len() * level.lanes();
    sums(shape, Side::Forward, [blocks, x_block], [shape.in_c, shape.out_c], [shape.out_c, 1])
}

/// The sums of the gradient of the input.
pub(super) fn backward_sums(level: Level, shape: &Conv2dShape, blocks: usize) -> Gather<'_, false> {
    let dy_block = shape.y_len() * level.lanes();
    sums(shape, Side::Backward, [blocks, dy_block], [shape.out_c, shape.in_c], [1, shape.out_c])
}

/// The sums from so many channels to so many, in weights that lie so far apart for neighbouring terms and channels.
fn sums<'a, const NEXT: bool>(
    shape: &'a Conv2dShape,
    side: fn(&'a Axis) -> Side<'a>,
    [blocks, x_block]: [usize; 2],
    [terms, channels]: [usize; 2],
    [w_term, w_channel]: [usize; 2],
) -> Gather<'a, NEXT> {
    Gather {
        blocks,
        x_block,
        rows: side(&shape.h),
        cols: side(&shape.w),
        groups: shape.groups,
        terms: terms / shape.groups,
        channels: channels / shape.groups,
        w_tap: shape.in_c / shape.groups * shape.out_c,
        w_group: shape.out_c / shape.groups,
        w_term,
        w_channel,
    }
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
) {
    check(level, shape, n, x, dw, dy);
    if let Some(db) = db {
        weights::bias(level, shape.out_c, dy, db);
    }
    if n == 0 {
        return;
    }
    dispatch!(level, s => {
        for group in 0..shape.groups {
            for ky in 0..shape.h.kernel {
                for run in runs(&shape.w, shape.groups == 1 && shape.w.dilation == 1) {
                    add_run(s, shape, n, group, ky, &run, [x, dy], dw);
                }
            }
        }
    })
}

fn check(level: Level, shape: &Conv2dShape, n: usize, x: &[f32], w: &[f32], y: &[f32]) {
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.y_len()));
}

/// The weight gradients of a run of taps of row `ky`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_run<S: Simd>(
    s: S,
    shape: &Conv2dShape,
    n: usize,
    group: usize,
    ky: usize,
    run: &Run,
    [x, dy]: [&[f32]; 2],
    dw: &mut [f32],
) {
    let (Run { kx, taps, cols }, rows) = (run, meeting(&shape.h, ky));
    if rows.is_empty() {
        return;
    }
    let (terms, channels) = (shape.in_c / shape.groups, shape.out_c / shape.groups);
    let (x_pixel, dy_pixel) = (shape.in_c * S::LANES, shape.out_c * S::LANES);
    let source = |axis: &Axis, output: usize, tap: usize| output * axis.stride + tap * axis.dilation - axis.before;
    let x_at = source(&shape.h, rows.start, ky) * shape.w.input + source(&shape.w, cols.start, *kx);
    let dy_at = rows.start * shape.w.output + cols.start;
    let walk = Walk {
        blocks: n,
        x_block: shape.x_len() * S::LANES,
        dy_block: shape.y_len() * S::LANES,
        rows: rows.len(),
        cols: cols.len(),
        // Strides that are never taken may be as large as they like.
        x_row: if rows.len() > 1 { shape.h.stride * shape.w.input * x_pixel } else { 0 },
        x_col: if cols.len() > 1 { shape.w.stride * x_pixel } else { 0 },
        dy_row: shape.w.output * dy_pixel,
        dy_col: dy_pixel,
    };
    let (x, dy) =
        (&x[x_at * x_pixel + group * terms * S::LANES..], &dy[dy_at * dy_pixel + group * channels * S::LANES..]);
    let products = Products::new(s, x, dy, walk, taps * terms, channels);
    let dw = &mut dw[(ky * shape.w.kernel + kx) * terms * shape.out_c + group * channels..];
    weights::add_products(s, &products, dw, shape.out_c);
}
