//! A ReLU and average pooling of two by two, done along with the convolution before them. Of what the pooling takes, the
//! backward pass needs no more than which numbers are positive: a bit each.

use super::Winograd;
use super::strips::{Side, Strip};
use crate::kernels::points::{OutputGradients, Outputs, TILE};
use crate::kernels::tile::{Transform, give, take};
use crate::shape::{Axis, Conv2dShape, Pool2dShape};
use crate::simd::{Simd, dispatch};

/// Whether a pooling's windows are the two by two that part the output of a convolution.
pub(crate) fn is_two_by_two(shape: &Conv2dShape, pool: &Pool2dShape) -> bool {
    let halves = |rows: usize, axis: &Axis| (axis.kernel, 2 * axis.output) == (2, rows);
    pool.is_partition() && halves(shape.h.output, &pool.h) && halves(shape.w.output, &pool.w)
}

/// Where the outputs of a block go.
pub(super) trait Sink {
    /// Takes four neighbouring outputs of a channel in a row of a tile, or as many of them as the image has.
    fn put<S: Simd>(&mut self, s: S, place: &Place<'_>, channel: usize, y: [S::V; TILE]);
}

/// A row of a tile.
pub(super) struct Place<'a> {
    pub side: &'a Side,
    pub tile: usize,
    /// From the first one of the strip on.
    pub row: usize,
}

impl Place<'_> {
    /// Windows of two columns.
    fn windows(&self) -> usize {
        self.side.image(self.tile).present.end / 2
    }

    /// Where the pair of a window's columns lies among all pairs of this row's channel, and the window among all windows.
    fn pair(&self, window: usize, channel: usize) -> [usize; 2] {
        let (row, col) = (self.side.row(self.row), self.tile * TILE / 2 + window);
        [row, row / 2].map(|row| (row * self.side.pairs() + col) * self.side.channels + channel)
    }

    fn is_upper(&self) -> bool {
        self.side.row(self.row).is_multiple_of(2)
    }
}

/// All of them.
pub(super) struct Whole<'a>(pub &'a mut [f32]);

impl Sink for Whole<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, place: &Place<'_>, channel: usize, y: [S::V; TILE]) {
        let vectors = place.side.image(place.tile);
        let at = vectors.at + place.row * vectors.row + channel * S::LANES;
        for (i, y) in y.into_iter().enumerate().take(vectors.present.end) {
            s.store(y, &mut self.0[at + i * vectors.step..]);
        }
    }
}

/// The means of two by two, and the signs of them all: those of two neighbours in the halves of a number's bits.
pub(super) struct Pooled<'a> {
    pub y: &'a mut [f32],
    pub signs: &'a mut [f32],
}

impl Sink for Pooled<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, place: &Place<'_>, channel: usize, y: [S::V; TILE]) {
        for window in 0..TILE / 2 {
            if window == place.windows() {
                break;
            }
            let (left, right, [pair, mean]) = (y[2 * window], y[2 * window + 1], place.pair(window, channel));
            self.signs[pair] = f32::from_bits(s.signs(left) | s.signs(right) << 16);
            let y = &mut self.y[mean * S::LANES..][..S::LANES];
            if place.is_upper() {
                s.store(s.add(left, right), y);
            } else {
                s.store(s.mul(s.add(s.add(s.load(y), left), right), s.splat(0.25)), y);
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
    fn get<S: Simd>(&self, s: S, place: &Place<'_>, channel: usize) -> [S::V; TILE] {
        let mut deltas = [s.splat(0.0); TILE];
        for window in 0..TILE / 2 {
            if window == place.windows() {
                break;
            }
            let [pair, mean] = place.pair(window, channel);
            let share = s.mul(s.load(&self.dy[mean * S::LANES..]), s.splat(0.25));
            let bits = self.signs[pair].to_bits();
            deltas[2 * window] = s.keep(bits, share);
            deltas[2 * window + 1] = s.keep(bits >> 16, share);
        }
        deltas
    }
}

impl<const N: usize> Winograd<'_, N> {
    /// The outputs of a strip from their values.
    pub(super) fn put_outputs(&self, strip: &Strip, m: &[f32], outputs: &Outputs<'_>, sink: &mut impl Sink) {
        let side = &strip.outputs;
        dispatch!(self.level, s => {
            for tile in side.tiles.clone() {
                take::<_, N>(s, [side.rows, side.channels], (m, &side.values(tile)), #[inline(always)] |[row, channel], values| {
                    sink.put(s, &Place { side, tile, row }, channel, outputs.apply(s, channel, &values));
                });
            }
        })
    }

    /// The values of a strip's output gradients from those of their means.
    pub(super) fn pooled_gradients(&self, strip: &Strip, gradients: &Gradients<'_>, z: &mut [f32]) {
        let side = &strip.outputs;
        dispatch!(self.level, s => {
            for tile in side.tiles.clone() {
                give::<_, N>(s, [side.rows, side.channels], (&mut *z, &side.values(tile)), #[inline(always)] |[row, channel]| {
                    let deltas = gradients.get(s, &Place { side, tile, row }, channel);
                    OutputGradients.apply(s, channel, &deltas)
                });
            }
        })
    }
}
