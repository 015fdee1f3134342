//! Activations and their gradients, in place.

use super::{check_len, map_in_place, softmax, zip_in_place};
use crate::layer::Activation;
use crate::simd::{Level, Simd, dispatch, sigmoid, tanh};

/// `y = f(y)`, over vectors of `channels` where `f` is a softmax.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `y` | `[..][channels]`, overwritten |
///
/// # Accuracy
/// In units in the last place of the exact value, at every level: tanh within 1.5 (1.29 measured), sigmoid within 3 (2.50
/// measured), and the `exp` of softmax and cross-entropy within 1.5 (0.99 measured), at 2^24 numbers, one of every 256
/// neighbours. ReLU is exact. A softmax sums to 1 within `(channels + 2) 2^-24`, since its sum is rounded once a channel and
/// each number once.
///
/// # Panics
/// If the length of `y` is not a multiple of `channels`.
///
/// # Example
/// ```
/// use convlane::{Level, kernels::activation, layer::Activation};
///
/// let mut y = [-1.0, 2.0];
/// activation::forward(Level::best(), Activation::Relu, 2, &mut y);
/// assert_eq!(y, [0.0, 2.0]);
/// ```
pub fn forward(level: Level, activation: Activation, channels: usize, y: &mut [f32]) {
    check_rows(channels, y);
    match activation {
        Activation::Linear => {}
        Activation::Relu => dispatch!(level, s => {
            let zero = s.splat(0.0);
            map_in_place(s, y, #[inline(always)] |x| s.max(zero, x))
        }),
        Activation::Tanh => dispatch!(level, s => map_in_place(s, y, #[inline(always)] |x| tanh(s, x))),
        Activation::Sigmoid => dispatch!(level, s => map_in_place(s, y, #[inline(always)] |x| sigmoid(s, x))),
        Activation::Softmax => softmax::forward(level, channels, y),
    }
}

/// `dy` with respect to an activation's output becomes the gradient with respect to its input.
///
/// Everything follows from the output `y`: ReLU `dy` unless `y <= 0`, tanh `dy (1 - y^2)`, sigmoid `dy y (1 - y)`,
/// softmax `y (dy - sum(y dy))` over each vector of channels.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `y` | `[..][channels]` |
/// | `dy` | `[..][channels]`, overwritten |
///
/// # Panics
/// If the lengths differ or are not a multiple of `channels`.
pub fn backward(level: Level, activation: Activation, channels: usize, y: &[f32], dy: &mut [f32]) {
    check_rows(channels, y);
    check_len!(dy, y.len());
    match activation {
        Activation::Linear => {}
        Activation::Softmax => softmax::backward(level, channels, y, dy),
        _ => dispatch!(level, s => zip_in_place(s, y, dy, #[inline(always)] |y, dy| gradient(s, activation, y, dy))),
    }
}

/// The gradient before an element-wise activation, from the one after it and the activation's output.
#[inline(always)]
pub(super) fn gradient<S: Simd>(s: S, activation: Activation, y: S::V, dy: S::V) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    match activation {
        Activation::Linear => dy,
        Activation::Relu => s.select(s.le(y, zero), zero, dy),
        Activation::Tanh => s.mul(dy, s.sub(one, s.mul(y, y))),
        Activation::Sigmoid => s.mul(dy, s.mul(y, s.sub(one, y))),
        Activation::Softmax => unreachable!("a softmax is not element-wise"),
    }
}

fn check_rows(channels: usize, y: &[f32]) {
    assert!(channels > 0 && y.len().is_multiple_of(channels), "{} values are no rows of {channels}", y.len());
}

/// The same, split over the current rayon pool.
pub mod par {
    use super::*;
    use crate::kernels::par::rows_per_piece;
    use rayon::prelude::*;

    /// See [`super::forward`].
    pub fn forward(level: Level, activation: Activation, channels: usize, y: &mut [f32]) {
        check_rows(channels, y);
        let piece = rows_per_piece(y.len() / channels) * channels;
        y.par_chunks_mut(piece).for_each(|y| super::forward(level, activation, channels, y));
    }

    /// See [`super::backward`].
    pub fn backward(level: Level, activation: Activation, channels: usize, y: &[f32], dy: &mut [f32]) {
        check_rows(channels, y);
        check_len!(dy, y.len());
        let piece = rows_per_piece(y.len() / channels) * channels;
        let pieces = y.par_chunks(piece).zip(dy.par_chunks_mut(piece));
        pieces.for_each(|(y, dy)| super::backward(level, activation, channels, y, dy));
    }
}
