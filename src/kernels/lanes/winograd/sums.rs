//! Sums at all points, a tile of registers at a time: they go back from the points while they are in the cache.

use super::pooled::Sink;
use super::strips::{Side, Strip};
use crate::kernels::lanes::gather::{Tile, Tiles};
use crate::kernels::maps::{Transform, put_spaced};
use crate::kernels::points::{AddInputGradients, Outputs};
use crate::kernels::tile::{Terms, Values, gather_at_points};
use crate::simd::Simd;

/// Numbers at points: those at one of them, and how far apart the points lie.
pub(super) type Planes<'a> = (&'a [f32], usize);

/// Sums at so many points of what is in a source and in weights.
pub(super) struct AtPoints<'a, S> {
    x: Planes<'a>,
    w: Planes<'a>,
    points: usize,
    values: Values,
    to: &'a mut dyn Finish<S>,
}

impl<'a, S: Simd> AtPoints<'a, S> {
    pub fn new(x: Planes<'a>, w: Planes<'a>, points: usize, to: &'a mut dyn Finish<S>) -> Self {
        AtPoints { x, w, points, values: Values::NONE, to }
    }
}

/// What becomes of the sums at all points.
pub(super) trait Finish<S> {
    /// Takes those of a tile.
    fn finish(&mut self, s: S, tile: &Tile, values: &Values);
}

impl<S: Simd> Tiles<S> for AtPoints<'_, S> {
    #[inline(always)]
    fn take<const C: usize, const P: usize, const NEXT: bool>(&mut self, s: S, terms: &Terms, tile: &Tile) {
        if terms.is_none() {
            self.values = Values::NONE;
        } else {
            gather_at_points::<S, C, P, NEXT>(s, &mut self.values, self.points, self.x, self.w, terms);
        }
        self.to.finish(s, tile, &self.values);
    }
}

/// Outputs of a strip.
pub(super) struct ToOutputs<'a, 'b, const N: usize> {
    pub strip: &'a Strip,
    pub outputs: &'a Outputs<'a>,
    /// Of the inputs, if some outputs may be zero for want of them.
    pub magnitudes: Option<&'a [f32]>,
    pub sink: &'a mut Sink<'b>,
}

impl<S: Simd, const N: usize> Finish<S> for ToOutputs<'_, '_, N> {
    fn finish(&mut self, s: S, tile: &Tile, values: &Values) {
        s.vectorize(
            #[inline(always)]
            || self.put(s, tile, values),
        );
    }
}

impl<const N: usize> ToOutputs<'_, '_, N> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, tile: &Tile, values: &Values) {
        let ToOutputs { strip, outputs, magnitudes, sink } = self;
        let (first, pixels) = (tile.channel, tile.pixels);
        let channels = first + tile.old_channels..first + tile.channels;
        // A copy, for what is read through a reference could change with every write.
        let outputs = **outputs;
        for pixel in tile.old_pixels..pixels {
            let [index, row] = tile.place(pixel);
            let blank = magnitudes.map(
                #[inline(always)]
                |magnitudes| strip.blank(s, index, row, magnitudes),
            );
            let place = (&strip.outputs, strip.outputs.tiles.start + index, row);
            sink.put(
                s,
                place,
                channels.clone(),
                #[inline(always)]
                |channel| {
                    let values = values.get::<S, N>(s, (channel - first) * pixels + pixel);
                    let mut y = outputs.apply(s, channel, &values);
                    if let Some(blank) = &blank
                        && outputs.b.is_none_or(|b| b[channel] == 0.0)
                    {
                        for (y, &blank) in y.iter_mut().zip(blank) {
                            *y = s.select(blank, s.splat(outputs.floor.max(0.0)), *y);
                        }
                    }
                    y
                },
            );
        }
    }
}

/// Input gradients of a strip, which are added to.
pub(super) struct ToInputGradients<'a, const N: usize> {
    pub side: &'a Side,
    pub dx: &'a mut [f32],
}

impl<S: Simd, const N: usize> Finish<S> for ToInputGradients<'_, N> {
    fn finish(&mut self, s: S, tile: &Tile, values: &Values) {
        s.vectorize(
            #[inline(always)]
            || self.add(s, tile, values),
        );
    }
}

impl<const N: usize> ToInputGradients<'_, N> {
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, tile: &Tile, values: &Values) {
        for pixel in tile.old_pixels..tile.pixels {
            let [index, row] = tile.place(pixel);
            let vectors = self.side.image(self.side.tiles.start + index);
            let first = vectors.at + row * vectors.row;
            for new in tile.old_channels..tile.channels {
                let channel = tile.channel + new;
                let dx: [_; N] = AddInputGradients.apply(s, channel, &values.get::<S, N>(s, new * tile.pixels + pixel));
                put_spaced::<S, N, true>(
                    s,
                    &dx,
                    vectors.present.clone(),
                    &mut self.dx[first + channel * S::LANES..],
                    vectors.step,
                );
            }
        }
    }
}
