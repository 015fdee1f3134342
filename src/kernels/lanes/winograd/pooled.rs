//! A ReLU and average pooling of two by two, done along with the convolution before them. Of what the pooling takes, the
//! backward pass needs no more than which numbers are positive: a bit each.

use std::ops::Range;

use super::Winograd;
use super::strips::{Side, Strip};
use crate::kernels::maps::{Transform, Vectors, give, put_spaced};
use crate::kernels::points::{OutputGradients, TILE};
use crate::shape::{Axis, Conv2dShape, Pool2dShape};
use crate::simd::{Simd, dispatch};

/// Whether a pooling's windows are the two by two that part the output of a convolution.
pub(crate) fn is_two_by_two(shape: &Conv2dShape, pool: &Pool2dShape) -> bool {
    let halves = |rows: usize, axis: &Axis| (axis.kernel, 2 * axis.output) == (2, rows);
    pool.is_partition() && halves(shape.h.output, &pool.h) && halves(shape.w.output, &pool.w)
}

/// Where the outputs of a block go.
pub(super) enum Sink<'a> {
    /// All of them.
    Whole(&'a mut [f32]),
    Pooled(Pooled<'a>),
}

impl Sink<'_> {
    /// Takes what `outputs` has for some channels in a row of a tile: four neighbours, or as many of them as the image has.
    #[inline(always)]
    pub fn put<S: Simd>(
        &mut self,
        s: S,
        (side, tile, row): (&Side, usize, usize),
        channels: Range<usize>,
        outputs: impl Fn(usize) -> [S::V; TILE],
    ) {
        match self {
            Sink::Whole(whole) => {
                let Vectors { present, at, step, row: next, .. } = side.image(tile);
                for channel in channels {
                    let y = &mut whole[at + row * next + channel * S::LANES..];
                    put_spaced::<S, TILE, false>(s, &outputs(channel), present.clone(), y, step);
                }
            }
            Sink::Pooled(pooled) => pooled.put(s, &Windows::of(side, tile, row), channels, outputs),
        }
    }
}

/// The windows of a row of a tile, two columns wide.
pub(super) struct Windows {
    count: usize,
    channels: usize,
    /// Where the first channel of the first one is, among the pairs of all rows and among all windows.
    pair: usize,
    mean: usize,
    is_upper: bool,
}

impl Windows {
    #[inline(always)]
    fn of(side: &Side, tile: usize, row: usize) -> Self {
        let row = side.row(row);
        let [pair, mean] = [row, row / 2].map(|row| (row * side.pairs() + tile * TILE / 2) * side.channels);
        let count = side.image(tile).present.end / 2;
        Windows { count, channels: side.channels, pair, mean, is_upper: row.is_multiple_of(2) }
    }
}

/// The means of two by two, and the signs of them all: those of two neighbours in the halves of a number's bits.
pub(super) struct Pooled<'a> {
    pub y: &'a mut [f32],
    pub signs: &'a mut [f32],
}

impl Pooled<'_> {
    #[inline(always)]
    fn put<S: Simd>(
        &mut self,
        s: S,
        windows: &Windows,
        channels: Range<usize>,
        outputs: impl Fn(usize) -> [S::V; TILE],
    ) {
        let len = windows.count * windows.channels;
        let signs = &mut self.signs[windows.pair..][..len];
        let means = &mut self.y[windows.mean * S::LANES..][..len * S::LANES];
        for channel in channels {
            let y = outputs(channel);
            for window in 0..TILE / 2 {
                if window == windows.count {
                    break;
                }
                let (left, right, at) = (y[2 * window], y[2 * window + 1], window * windows.channels + channel);
                signs[at] = f32::from_bits(s.signs(left) | s.signs(right) << 16);
                let mean = &mut means[at * S::LANES..][..S::LANES];
                if windows.is_upper {
                    s.store(s.add(left, right), mean);
                } else {
                    s.store(s.mul(s.add(s.add(s.load(mean), left), right), s.splat(0.25)), mean);
                }
            }
        }
    }
}

/// The gradients of means, and the signs that [`Pooled`] kept.
pub(super) struct Gradients<'a> {
    pub dy: &'a [f32],
    pub signs: &'a [f32],
}

impl Gradients<'_> {
    /// The gradients before the ReLU of four neighbours, zero where the image has none.
    #[inline(always)]
    fn get<S: Simd>(&self, s: S, windows: &Windows, channel: usize) -> [S::V; TILE] {
        let mut deltas = [s.splat(0.0); TILE];
        for window in 0..TILE / 2 {
            if window == windows.count {
                break;
            }
            let at = window * windows.channels + channel;
            let share = s.mul(s.load(&self.dy[(windows.mean + at) * S::LANES..]), s.splat(0.25));
            let bits = self.signs[windows.pair + at].to_bits();
            deltas[2 * window] = s.keep(bits, share);
            deltas[2 * window + 1] = s.keep(bits >> 16, share);
        }
        deltas
    }
}

impl<const N: usize> Winograd<'_, N> {
    /// The values of a strip's output gradients from those of their means.
    pub(super) fn pooled_gradients(&self, strip: &Strip, gradients: &Gradients<'_>, z: &mut [f32]) {
        let side = &strip.outputs;
        dispatch!(self.level, s => {
            for tile in side.tiles.clone() {
                let mut values = side.values(tile);
                for row in 0..side.rows {
                    let windows = Windows::of(side, tile, row);
                    give::<_, N>(s, side.channels, (&mut *z, &values), #[inline(always)] |channel| {
                        OutputGradients.apply(s, channel, &gradients.get(s, &windows, channel))
                    });
                    values.at += values.row;
                }
            }
        })
    }
}
