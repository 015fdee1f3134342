//! Which engine a network is computed on, and how its convolutions, unless the caller says.
//!
//! The choice depends on the network, the batch size, the level and the constants below alone, never on threads, caches or
//! a clock, so that neither do the bits.

use super::arena::MAX_GROUP;
use super::lower::{Op, Step};
use super::{Algorithm, Engine};
use crate::kernels::lanes::winograd;
use crate::shape::Conv2dShape;
use crate::simd::Level;

/// The least share of lanes that a batch should fill, as one in so many. Measured with `examples/roofline.rs` on batches of
/// 1 to 16: LeNet-5 and the MNIST network gain from two images in sixteen lanes on.
const FEW: usize = 8;

/// The same for networks of wide convolutions, which matrix products suit: the CIFAR network breaks even at about half.
const HALF: usize = 2;

/// Channels from which on a convolution is a wide one.
const WIDE: usize = 32;

/// Multiply-adds that take as long as the way of one pixel of a channel to its value at a point and back, in all three passes;
/// and where values of the output stay in registers, in the two passes of a first layer. Measured with both levels on outputs
/// of 1 to 32 columns and 4 to 64 channels, and on the first layers of `examples/roofline.rs`.
const TRANSFORM: u128 = 8;
const SHORT_TRANSFORM: u128 = 4;

/// What a fast convolution must save by that count, as direct to fast ones: all that were measured slower save less.
const SAVING: (u128, u128) = (5, 4);

/// The least terms of a sum that are worth going to values at points and back: with 16 lanes all, with 8, which come with
/// half as many registers, a few more. Measured a pass at a time on convolutions of 1 to 128 channels.
const TERMS_OF_8_LANES: usize = 27;

/// Floats of values of a group in lanes beyond which images are better taken one after the other.
const MAX_GROUP_LEN: usize = 16 * 1024 * 1024;

impl Engine {
    /// What [`Engine::Auto`] stands for.
    pub(super) fn choose(self, steps: &[Step], batch: usize, level: Level) -> Self {
        if self != Engine::Auto {
            return self;
        }
        let lanes = level.lanes();
        let room = batch.div_ceil(lanes).saturating_mul(lanes);
        let share = if is_wide(steps) { HALF } else { FEW };
        let values = steps.iter().fold(steps[0].x_len, |sum, step| sum.saturating_add(step.y_len));
        let fits = values.saturating_mul(MAX_GROUP) <= MAX_GROUP_LEN;
        if fits && batch.saturating_mul(share) >= room { Engine::Lanes } else { Engine::Nhwc }
    }
}

impl Algorithm {
    /// Whether a step in lanes is to be computed with fewer products; the first one needs no gradient of its input.
    pub(super) fn is_fast(self, step: &Step, is_first: bool, level: Level) -> bool {
        let Op::Conv2d(shape) = step.op else { return false };
        let pays = match self {
            Algorithm::Auto => is_faster(&shape, is_first, level),
            Algorithm::Direct => false,
            Algorithm::Fast => true,
        };
        pays && winograd::is_supported(level, &shape)
    }
}

fn is_faster(shape: &Conv2dShape, is_first: bool, level: Level) -> bool {
    let enough = level.lanes() > 8 || shape.terms() >= TERMS_OF_8_LANES;
    if level == Level::scalar() || shape.groups > 1 || !enough {
        return false;
    }
    let [kh, kw, ow, in_c, out_c] =
        [shape.h.kernel, shape.w.kernel, shape.w.output, shape.in_c, shape.out_c].map(|size| size as u128);
    let (products, channels) = (kh.saturating_mul(in_c * out_c), in_c + out_c);
    let transforms = channels * if is_first && winograd::is_short(shape) { SHORT_TRANSFORM } else { TRANSFORM };
    let fast = (winograd::products_of_row(shape) as u128).saturating_mul(products + transforms);
    let direct = (ow * kw).saturating_mul(products);
    direct.saturating_mul(SAVING.1) >= fast.saturating_mul(SAVING.0)
}

/// Whether three quarters of a network's multiply-adds are in wide convolutions.
fn is_wide(steps: &[Step]) -> bool {
    let sum = |wide: bool| {
        let counted = steps.iter().filter(|step| !wide || is_wide_convolution(&step.op));
        counted.fold(0u128, |sum, step| sum + step.multiply_adds() as u128)
    };
    4 * sum(true) > 3 * sum(false)
}

fn is_wide_convolution(op: &Op) -> bool {
    matches!(op, Op::Conv2d(shape) if shape.in_c.min(shape.out_c) / shape.groups >= WIDE)
}
