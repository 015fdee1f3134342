//! How each pass of a convolution is computed, unless the caller says.
//!
//! The choice depends on the shape, its place, the level and the constants below alone.

use super::{Algorithm, Engine};
use crate::kernels::lanes::winograd;
use crate::kernels::nhwc::{self, depthwise, direct};
use crate::shape::Conv2dShape;
use crate::simd::Level;

/// How a pass is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Every product, by im2col and products of matrices.
    Columns,
    /// Every product, summed in registers.
    Direct,
    /// The same, of every channel by itself, in NHWC.
    Depthwise,
    /// Fewer products.
    Fast,
}

/// The ways of all passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways {
    pub forward: Way,
    /// Of the input's gradient.
    pub input: Way,
    /// Of the parameters' gradients.
    pub params: Way,
}

/// Multiply-adds that take as long as the way of one pixel of a channel to its value at a point and back, in all three passes; and
/// in the two passes of a first layer of short sums, where fewer are found. Measured with both levels on outputs of 1 to 32 columns
/// and 4 to 64 channels, and on the first layers of `examples/roofline.rs`.
const TRANSFORM: u128 = 8;
const SHORT_TRANSFORM: u128 = 4;

/// What a fast convolution must save by that count, as direct to fast ones: all that were measured slower save less.
const SAVING: (u128, u128) = (5, 4);

/// The least terms of a sum that are worth going to values at points and back: with 16 lanes all, with 8, which come with
/// half as many registers, a few more. Measured a pass at a time on convolutions of 1 to 128 channels; with 25, the first layers of
/// LeNet-5, pooling included, and of the MNIST network take 9 and 3 % less.
const TERMS_OF_8_LANES: usize = 25;

/// The least share of a vector, as one in so many, that input channels must fill for sums of their gradient in registers to be
/// worth it. Measured with vectors of 8 on 1 to 128 channels: from 6 on, they were 1.1 to 4 times as fast as im2col, with 3 as often
/// slower as faster. Forward, they were faster wherever there is a vector of output channels.
const FILLED: usize = 2;

impl Ways {
    pub const DIRECT: Ways = Ways::all(Way::Direct);
    pub const FAST: Ways = Ways::all(Way::Fast);

    const fn all(way: Way) -> Self {
        Ways { forward: way, input: way, params: way }
    }

    /// Forward, then the gradient of the input, then those of the parameters.
    pub fn in_order(&self) -> [Way; 3] {
        [self.forward, self.input, self.params]
    }

    /// Whether any pass is computed so.
    pub fn contain(&self, way: Way) -> bool {
        self.in_order().contains(&way)
    }
}

impl Algorithm {
    /// How the passes of a convolution are to be computed, on groups of so many samples; the first one needs no gradient of
    /// its input.
    pub(super) fn ways(
        self,
        engine: Engine,
        shape: &Conv2dShape,
        is_first: bool,
        samples: usize,
        level: Level,
    ) -> Ways {
        match engine {
            Engine::Lanes if self.is_fast(shape, is_first, level) => Ways::FAST,
            Engine::Lanes => Ways::DIRECT,
            _ if self.is_fast_in_nhwc(shape, samples, level) => Ways::FAST,
            _ => of_all_products(shape, is_first, level),
        }
    }

    /// Whether a convolution of NHWC is to be computed with fewer products.
    fn is_fast_in_nhwc(self, shape: &Conv2dShape, samples: usize, level: Level) -> bool {
        match self {
            Algorithm::Auto => nhwc::winograd::pays(level, shape, samples),
            Algorithm::Direct => false,
            Algorithm::Fast => nhwc::winograd::is_supported(level, shape),
        }
    }

    /// Whether a convolution in lanes is to be computed with fewer products.
    fn is_fast(self, shape: &Conv2dShape, is_first: bool, level: Level) -> bool {
        let pays = match self {
            Algorithm::Auto => is_faster(shape, is_first, level),
            Algorithm::Direct => false,
            Algorithm::Fast => true,
        };
        pays && winograd::is_supported(level, shape)
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

/// The ways of samples one after the other that save no products. At the level scalar, matrix products are not.
fn of_all_products(shape: &Conv2dShape, is_first: bool, level: Level) -> Ways {
    if depthwise::is_supported(level, shape) {
        return Ways::all(Way::Depthwise);
    }
    if level == Level::scalar() || !direct::is_packable(level, shape) {
        return Ways::all(Way::Columns);
    }
    let few = shape.in_c / shape.groups * FILLED < level.lanes();
    let unless = |columns: bool| if columns { Way::Columns } else { Way::Direct };
    Ways { input: unless(few && !is_first), params: unless(!direct::is_supported(level, shape)), ..Ways::DIRECT }
}
