//! Where fast convolutions are faster than direct ones.

use super::{POINTS, TAPS, is_supported};
use crate::kernels::points::TILE;
use crate::shape::Conv2dShape;
use crate::simd::Level;

/// Multiply-adds that take as long as the way of a channel of a tile to its value at one point or back.
const TRANSFORM: f64 = 16.0;

/// Tiles whose products take as long as to pack the weights, or as to bring their gradients from points to taps.
const PACKING: f64 = 22.0;

/// What a fast convolution must save by that count, as direct to fast ones.
const SAVING: f64 = 1.25;

/// Whether a step on `n` samples, weights packed anew, is faster than by [`direct`](super::super::direct) kernels: always the
/// same answer for a level, a shape and a batch.
///
/// Measured with AVX2 on a Zen 3, on one and two threads, for 19 shapes of 8 to 256 channels, 4 by 4 to 56 by 56 pixels and 1 to
/// 256 samples: each pass of all that are accepted was 1.16 to 5 times as fast, and what is refused lost in one pass at least.
pub fn pays(level: Level, shape: &Conv2dShape, n: usize) -> bool {
    if level == Level::scalar() || shape.groups > 1 || !is_supported(level, shape) {
        return false;
    }
    let float = |size: usize| size as f64;
    let (inputs, outputs) = (float(shape.in_c), float(shape.out_c));
    let [rows, cols] = [shape.h.output, shape.w.output];
    let tiles = float(n) * float(rows.div_ceil(TILE)) * float(cols.div_ceil(TILE));
    let direct = float(n) * float(rows) * float(cols) * float(TAPS * TAPS) * inputs * outputs;
    let products = (tiles + PACKING) * inputs * outputs;
    let transforms = tiles * TRANSFORM * (inputs + outputs);
    direct >= SAVING * float(POINTS) * (products + transforms)
}
