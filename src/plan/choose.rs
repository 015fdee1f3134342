//! Which engine a network is computed on, unless the caller says.
//!
//! The choice depends on the network, the batch size, the level and the constants below alone, never on threads, caches or
//! a clock, so that neither do the bits.

use super::arena::{MAX_GROUP, samples_of_group};
use super::lower::{Op, Step};
use super::ways::{Way, Ways};
use super::{Algorithm, Engine};
use crate::shape::Conv2dShape;
use crate::simd::Level;

/// What a multiply-add costs, in tenths of one in lanes by the direct algorithm; a block of lanes costs the same however few
/// images it holds. Measured with 8 lanes (AVX2) on batches of 1 to 16 of six networks, of 6 to 256 channels: those of wide
/// convolutions gain from five or six images in eight lanes on, LeNet-5 and the MNIST network from two.
const IN_LANES: u128 = 10;
const FAST_IN_LANES: u128 = 7;
/// With 8 lanes, half as many registers: LeNet-5's convolutions forward took 0.78 times as long as by the direct algorithm.
const FAST_IN_8_LANES: u128 = 8;
/// From registers: more, the fewer the output channels, which fill vectors and hide latencies worse. LeNet-5 took 14 us an image with
/// AVX2, and 51 us eight of them in lanes.
const DIRECT: u128 = 11;
const DIRECT_OF_ONE_CHANNEL: u128 = 80;
/// With fewer products in NHWC. The passes of six layers of 32 to 256 channels, measured one at a time on a Zen 3 with AVX2,
/// took 1.5 to 3.1 times less than by the direct algorithm; whole networks were not measured.
const FAST: u128 = 6;
/// By im2col and products of matrices: more, the fewer the output channels.
const COLUMNS: u128 = 10;
const COLUMNS_OF_ONE_CHANNEL: u128 = 780;
/// Of a dense layer on one image, whose weights are read for it alone.
const DENSE: u128 = 24;
const DENSE_BY_MATRICES: u128 = 80;

/// Floats of values of a group in lanes beyond which images are better taken one after the other.
const MAX_GROUP_LEN: usize = 16 * 1024 * 1024;

impl Engine {
    /// What [`Engine::Auto`] stands for.
    pub(super) fn choose(self, algorithm: Algorithm, steps: &[Step], batch: usize, level: Level) -> Self {
        if self != Engine::Auto {
            return self;
        }
        let values = steps.iter().fold(steps[0].x_len, |sum, step| sum.saturating_add(step.y_len));
        let fits = values.saturating_mul(MAX_GROUP) <= MAX_GROUP_LEN;
        let group = samples_of_group(steps, batch);
        let cost = |engine: Engine, samples: usize| {
            let ways = |index: usize, shape: &Conv2dShape| algorithm.ways(engine, shape, index == 0, group, level);
            let step = |(index, step): (usize, &Step)| cost(engine, level, step, |shape| ways(index, shape));
            steps.iter().enumerate().map(step).fold(0, u128::saturating_add).saturating_mul(samples as u128)
        };
        let lanes = level.lanes();
        let room = batch.div_ceil(lanes).saturating_mul(lanes);
        if fits && cost(Engine::Lanes, room) <= cost(Engine::Nhwc, batch) { Engine::Lanes } else { Engine::Nhwc }
    }
}

/// What a step costs a sample.
fn cost(engine: Engine, level: Level, step: &Step, ways: impl Fn(&Conv2dShape) -> Ways) -> u128 {
    let factor = match (engine, step.op) {
        (Engine::Lanes, Op::Conv2d(shape)) => match ways(&shape).forward {
            Way::Fast if level.lanes() <= 8 => FAST_IN_8_LANES,
            Way::Fast => FAST_IN_LANES,
            _ => IN_LANES,
        },
        (Engine::Lanes, _) => IN_LANES,
        (_, Op::Conv2d(shape)) => {
            // The plan may be to train.
            let Ways { forward, params, .. } = ways(&shape);
            (in_nhwc(forward, &shape) + in_nhwc(params, &shape)) / 2
        }
        _ if level == Level::scalar() => DENSE_BY_MATRICES,
        _ => DENSE,
    };
    factor.saturating_mul(step.multiply_adds() as u128)
}

/// What a multiply-add of a convolution costs.
fn in_nhwc(way: Way, shape: &Conv2dShape) -> u128 {
    let channels = (shape.out_c / shape.groups) as u128;
    match way {
        Way::Fast => FAST,
        Way::Columns => COLUMNS + COLUMNS_OF_ONE_CHANNEL / channels,
        Way::Direct => DIRECT + DIRECT_OF_ONE_CHANNEL / channels,
        Way::Depthwise => DIRECT,
    }
}
