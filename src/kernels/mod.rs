//! Kernels: pure functions on slices that know nothing of layers, threads or allocation.
//!
//! # Conventions
//! - The module is the operation, the function is the pass: `forward`, `backward` or, where a layer has parameters,
//!   `backward_input` and `backward_params`.
//! - Arguments come in this order: [`Level`](crate::Level), shape, `n` (samples), inputs, outputs, `scratch`.
//! - `x` is an input, `w` weights, `b` a bias, `y` an output; a `d` before a letter means the gradient of the loss with
//!   respect to it.
//! - Outputs and activation gradients are **overwritten**, parameter gradients are **added** to.
//! - `scratch` is temporary memory of the caller's; its contents mean nothing before or after a call. The function that
//!   needs it has a `scratch_len` beside it.
//! - A wrong slice length is a documented panic at the kernel's door; nothing is checked below it.
//! - A `par` twin has the same arguments and splits the batch over the current rayon pool. Sums over the batch are
//!   taken in an order fixed by the batch, so any number of threads gives the same bits.
//! - Element-wise functions run the same vector code on a slice's end as on its middle: bits do not depend on where a
//!   slice was cut.

pub mod activation;
mod by_lane;
pub mod cast;
mod correlate;
pub mod cross_entropy;
pub mod lanes;
mod maps;
pub mod nhwc;
mod par;
mod points;
pub mod softmax;
mod taps;
mod tile;
pub mod update;

use crate::simd::Simd;

/// Checks the length of a slice at a kernel's door.
macro_rules! check_len {
    ($slice:expr, $len:expr) => {
        assert_eq!($slice.len(), $len, "wrong length of {}", stringify!($slice))
    };
}
pub(crate) use check_len;

/// Applies `f` to every element of `y`, the end included, a vector at a time.
#[inline(always)]
fn map_in_place<S: Simd>(s: S, y: &mut [f32], f: impl Fn(S::V) -> S::V) {
    for chunk in y.chunks_mut(S::LANES) {
        let v = f(s.load_padded(chunk, 0.0));
        s.store_cut(v, chunk);
    }
}

/// `y = f(x, y)` for every element, a vector at a time.
#[inline(always)]
fn zip_in_place<S: Simd>(s: S, x: &[f32], y: &mut [f32], f: impl Fn(S::V, S::V) -> S::V) {
    for (x, y) in x.chunks(S::LANES).zip(y.chunks_mut(S::LANES)) {
        let v = f(s.load_padded(x, 0.0), s.load_padded(y, 0.0));
        s.store_cut(v, y);
    }
}
