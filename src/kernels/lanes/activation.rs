//! Activations and their gradients in place, one sample a lane.

use crate::kernels::activation;
use crate::layer::Activation;
use crate::shape::batch_len;
use crate::simd::{Level, Simd, dispatch, exp};

/// `y = f(y)`, over vectors of `channels` where `f` is a softmax.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `y` | `[..][channels][lane]`, overwritten |
///
/// # Panics
/// If the length of `y` is not a multiple of `channels` vectors.
pub fn forward(level: Level, activation: Activation, channels: usize, y: &mut [f32]) {
    let row = row(level, channels, y);
    match activation {
        Activation::Softmax => dispatch!(level, s => softmax(s, channels, y)),
        _ => activation::forward(level, activation, row, y),
    }
}

/// `dy` with respect to an activation's output becomes the gradient with respect to its input, as
/// [`kernels::activation::backward`](activation::backward) has it.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `y` | `[..][channels][lane]` |
/// | `dy` | `[..][channels][lane]`, overwritten |
///
/// # Panics
/// If the lengths differ or are not a multiple of `channels` vectors.
pub fn backward(level: Level, activation: Activation, channels: usize, y: &[f32], dy: &mut [f32]) {
    let row = row(level, channels, y);
    crate::kernels::check_len!(dy, y.len());
    match activation {
        Activation::Softmax => dispatch!(level, s => softmax_backward(s, channels, y, dy)),
        _ => activation::backward(level, activation, row, y, dy),
    }
}

/// The length of `channels` vectors, of which `y` must be a multiple.
fn row(level: Level, channels: usize, y: &[f32]) -> usize {
    let row = batch_len(channels, level.lanes());
    assert!(row > 0 && y.len().is_multiple_of(row), "{} values are no rows of {row}", y.len());
    row
}

#[inline(always)]
fn softmax<S: Simd>(s: S, channels: usize, y: &mut [f32]) {
    for pixel in y.chunks_exact_mut(channels * S::LANES) {
        let (max, sum) = max_and_sum_exp(s, pixel);
        for y in pixel.chunks_exact_mut(S::LANES) {
            s.store(s.div(exp(s, s.sub(s.load(y), max)), sum), y);
        }
    }
}

#[inline(always)]
fn softmax_backward<S: Simd>(s: S, channels: usize, y: &[f32], dy: &mut [f32]) {
    for (y, dy) in y.chunks_exact(channels * S::LANES).zip(dy.chunks_exact_mut(channels * S::LANES)) {
        let mut dot = s.splat(0.0);
        for (y, dy) in y.chunks_exact(S::LANES).zip(dy.chunks_exact(S::LANES)) {
            dot = s.mul_add(s.load(y), s.load(dy), dot);
        }
        for (y, dy) in y.chunks_exact(S::LANES).zip(dy.chunks_exact_mut(S::LANES)) {
            s.store(s.mul(s.load(y), s.sub(s.load(dy), dot)), dy);
        }
    }
}

/// The largest of some vectors in each lane, where there are NaNs anything, and `sum exp(z - max)`.
#[inline(always)]
pub(super) fn max_and_sum_exp<S: Simd>(s: S, z: &[f32]) -> (S::V, S::V) {
    let (mut max, mut sum) = (s.splat(f32::NEG_INFINITY), s.splat(0.0));
    for z in z.chunks_exact(S::LANES) {
        max = s.max(max, s.load(z));
    }
    for z in z.chunks_exact(S::LANES) {
        sum = s.add(sum, exp(s, s.sub(s.load(z), max)));
    }
    (max, sum)
}
