//! Softmax over the last axis, in place; public through [`activation`](super::activation).

use super::{map_in_place, zip_in_place};
use crate::simd::{Level, Simd, dispatch, exp};

/// `y_i = exp(y_i - max) / sum_j exp(y_j - max)` for every vector of `channels`.
pub(super) fn forward(level: Level, channels: usize, y: &mut [f32]) {
    dispatch!(level, s => {
        for row in y.chunks_exact_mut(channels) {
            let max = row_max(s, row);
            let (sum, max) = (s.splat(row_sum_exp(s, row, max)), s.splat(max));
            map_in_place(s, row, #[inline(always)] |y| s.div(exp(s, s.sub(y, max)), sum));
        }
    })
}

/// `dy_i` becomes `y_i (dy_i - sum_j y_j dy_j)` for every vector of `channels`.
pub(super) fn backward(level: Level, channels: usize, y: &[f32], dy: &mut [f32]) {
    dispatch!(level, s => {
        for (y, dy) in y.chunks_exact(channels).zip(dy.chunks_exact_mut(channels)) {
            let dot = s.splat(row_dot(s, y, dy));
            zip_in_place(s, y, dy, #[inline(always)] |y, dy| s.mul(y, s.sub(dy, dot)));
        }
    })
}

/// The largest of a row; where there are NaNs, anything.
#[inline(always)]
pub(super) fn row_max<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut max = s.splat(f32::NEG_INFINITY);
    for chunk in row.chunks(S::LANES) {
        max = s.max(max, s.load_padded(chunk, f32::NEG_INFINITY));
    }
    s.reduce_max(max)
}

/// `sum_j exp(row_j - max)`.
#[inline(always)]
pub(super) fn row_sum_exp<S: Simd>(s: S, row: &[f32], max: f32) -> f32 {
    let (max, mut sum) = (s.splat(max), s.splat(0.0));
    for chunk in row.chunks(S::LANES) {
        sum = s.add(sum, exp(s, s.sub(s.load_padded(chunk, f32::NEG_INFINITY), max)));
    }
    s.sum(sum)
}

/// `sum_j a_j b_j`.
#[inline(always)]
fn row_dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sum = s.splat(0.0);
    for (a, b) in a.chunks(S::LANES).zip(b.chunks(S::LANES)) {
        sum = s.mul_add(s.load_padded(a, 0.0), s.load_padded(b, 0.0), sum);
    }
    s.sum(sum)
}
