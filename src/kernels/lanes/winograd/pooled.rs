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

/// Where outputs go.
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
        let count = side.image(tile).present.end / 2;
        let [row, tile] = side.place(tile, row);
        let [pair, mean] = [row, row / 2].map(|row| (row * side.pairs() + tile * TILE / 2) * side.channels);
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
        let Windows { count, channels: all, pair, mean, is_upper } = *windows;
        let signs = &mut self.signs[pair..][..count * all];
        let means = &mut self.y[mean * S::LANES..][..count * all * S::LANES];
        let mut places =
            signs.chunks_exact_mut(all).zip(means.chunks_exact_mut(all * S::LANES)).map(|(signs, means)| {
                let means = &mut means[channels.start * S::LANES..channels.end * S::LANES];
                signs[channels.clone()].iter_mut().zip(means.chunks_exact_mut(S::LANES))
            });
        match [places.next(), places.next()] {
            [Some(left), Some(right)] => {
                for (channel, (left, right)) in channels.clone().zip(left.zip(right)) {
                    let y = outputs(channel);
                    put_window(s, [y[0], y[1]], is_upper, left);
                    put_window(s, [y[2], y[3]], is_upper, right);
                }
            }
            [Some(left), None] => {
                for (channel, left) in channels.clone().zip(left) {
                    let y = outputs(channel);
                    put_window(s, [y[0], y[1]], is_upper, left);
                }
            }
            _ => {}
        }
    }
}

/// Writes the signs of two neighbours, and their sum or, with that of those above them, the mean of all.
#[inline(always)]
fn put_window<S: Simd>(s: S, [left, right]: [S::V; 2], is_upper: bool, (sign, mean): (&mut f32, &mut [f32])) {
    *sign = f32::from_bits(s.signs(left) | s.signs(right) << 16);
    let sum = if is_upper { s.add(left, right) } else { s.mul(s.add(s.add(s.load(mean), left), right), s.splat(0.25)) };
    s.store(sum, mean);
}

/// The gradients of means, and the signs that [`Pooled`] kept.
pub(super) struct Gradients<'a> {
    pub dy: &'a [f32],
    pub signs: &'a [f32],
}

impl Gradients<'_> {
    /// The signs and the gradients of a window for every channel.
    #[inline(always)]
    fn window<'a, S: Simd>(
        &'a self,
        _: S,
        windows: &Windows,
        window: usize,
    ) -> impl ExactSizeIterator<Item = (&'a f32, &'a [f32])> {
        let (channels, first) = (windows.channels, window * windows.channels);
        let dy = self.dy[(windows.mean + first) * S::LANES..][..channels * S::LANES].chunks_exact(S::LANES);
        self.signs[windows.pair + first..][..channels].iter().zip(dy)
    }
}

/// The gradients before the ReLU of two neighbours.
#[inline(always)]
fn share<S: Simd>(s: S, (signs, dy): (&f32, &[f32])) -> [S::V; 2] {
    let (bits, quarter) = (signs.to_bits(), s.mul(s.load(dy), s.splat(0.25)));
    [s.keep(bits, quarter), s.keep(bits >> 16, quarter)]
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
                    let to = (&mut *z, &values);
                    let left = gradients.window(s, &windows, 0);
                    if windows.count == 1 {
                        give::<_, _, N>(s, to, left, #[inline(always)] |left| {
                            let [first, second] = share(s, left);
                            OutputGradients.apply(s, 0, &[first, second, s.splat(0.0), s.splat(0.0)])
                        });
                    } else {
                        give::<_, _, N>(s, to, left.zip(gradients.window(s, &windows, 1)), #[inline(always)] |(left, right)| {
                            let ([first, second], [third, fourth]) = (share(s, left), share(s, right));
                            OutputGradients.apply(s, 0, &[first, second, third, fourth])
                        });
                    }
                    values.at += values.row;
                }
            }
        })
    }
}
