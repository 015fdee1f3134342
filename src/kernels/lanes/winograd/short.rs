//! Short sums: the output without its values in memory.

use super::Winograd;
use super::pooled::{Place, Sink};
use super::strips::{Side, Spot, Strip, strips};
use crate::kernels::points::{Inputs, Magnitudes, Outputs, TILE};
use crate::kernels::tile::{Transform, starts};
use crate::shape::Conv2dShape;
use crate::simd::{Simd, dispatch};

/// The most terms of a short sum.
const SHORT: usize = 16;

/// Whether sums have so few terms that values of the output cost more than they.
pub(crate) fn is_short(shape: &Conv2dShape) -> bool {
    shape.h.kernel * shape.in_c <= SHORT && (shape.h.dilation, shape.groups) == (1, 1)
}

impl<const N: usize> Winograd<'_, N> {
    /// The same for short sums, without values of the output in memory. Where all inputs and the bias are zero, so is the
    /// output: images are often empty at their borders, and a rounding would decide on which side of a ReLU they lie.
    pub(super) fn forward_at_once(
        &self,
        x: &[f32],
        w: &[f32],
        outputs: Outputs<'_>,
        sinks: impl Iterator<Item = impl Sink>,
        scratch: &mut [f32],
    ) {
        let zeros = outputs.b.is_none_or(|b| b.contains(&0.0));
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        let (planes, scratch) = scratch.split_at_mut(N * self.weights_len());
        self.weight_values(w, planes);
        for (weight, values) in weights.chunks_exact_mut(N).enumerate() {
            for (value, plane) in values.iter_mut().zip(planes.chunks_exact(self.weights_len())) {
                *value = plane[weight];
            }
        }
        for (x, mut sink) in x.chunks_exact(self.x_block()).zip(sinks) {
            for strip in strips(self.level.lanes(), self.shape) {
                let (u, rest) = scratch.split_at_mut(N * strip.inputs.plane());
                let magnitudes = &mut rest[..TILE * strip.inputs.plane()];
                self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values_beside));
                if zeros {
                    let to = (&mut *magnitudes, Side::tile_beside as Spot);
                    self.map::<_, N, TILE>(&Magnitudes, &strip.inputs, (x, Side::image), to);
                }
                let values = [&*u, &*magnitudes, &*weights];
                dispatch!(self.level, s => if zeros {
                    self.strip_at_once::<_, true>(s, &strip, values, &outputs, &mut sink);
                } else {
                    self.strip_at_once::<_, false>(s, &strip, values, &outputs, &mut sink);
                });
            }
        }
    }

    /// All tiles of a strip. `ZEROS` says that outputs may have to be zero.
    #[inline(always)]
    fn strip_at_once<S: Simd, const ZEROS: bool>(
        &self,
        s: S,
        strip: &Strip,
        values: [&[f32]; 3],
        outputs: &Outputs<'_>,
        sink: &mut impl Sink,
    ) {
        for tile in strip.outputs.tiles.clone() {
            // As many channels as there are registers for the values of.
            match (S::LANES, N, self.shape.out_c) {
                (16, 6, 4..) => self.tile_at_once::<_, 4, ZEROS>(s, strip, tile, values, outputs, sink),
                (16, 8, 3..) => self.tile_at_once::<_, 3, ZEROS>(s, strip, tile, values, outputs, sink),
                (_, 6, 2..) => self.tile_at_once::<_, 2, ZEROS>(s, strip, tile, values, outputs, sink),
                _ => self.tile_at_once::<_, 1, ZEROS>(s, strip, tile, values, outputs, sink),
            }
        }
    }

    /// All rows and channels of a tile, `C` channels at a time.
    #[inline(always)]
    fn tile_at_once<S: Simd, const C: usize, const ZEROS: bool>(
        &self,
        s: S,
        strip: &Strip,
        tile: usize,
        [u, magnitudes, w]: [&[f32]; 3],
        outputs: &Outputs<'_>,
        sink: &mut impl Sink,
    ) {
        let (rows, side, term) = (&strip.column.w, &strip.outputs, N * S::LANES);
        let floor = s.splat(outputs.floor);
        let (u, magnitudes) =
            (&u[strip.inputs.values_beside(tile).at..], &magnitudes[strip.inputs.tile_beside(tile).at..]);
        for row in 0..rows.output {
            let taps = rows.taps(row);
            let source = (row * rows.stride + taps.start - rows.before) * self.shape.in_c;
            let terms = taps.len() * self.shape.in_c;
            let u = &u[source * term..][..terms * term];
            let mut magnitude = [s.splat(1.0); TILE];
            if ZEROS {
                magnitude = [s.splat(0.0); TILE];
                for terms in magnitudes[source * TILE * S::LANES..].chunks_exact(TILE * S::LANES).take(terms) {
                    for (sum, term) in magnitude.iter_mut().zip(terms.chunks_exact(S::LANES)) {
                        *sum = s.add(*sum, s.load(term));
                    }
                }
            }
            let w = &w[taps.start * self.run() * N..];
            for (new, channel) in (0..).step_by(C).zip(starts(self.shape.out_c, C)) {
                let mut sums = [[s.splat(0.0); N]; C];
                for (u, w) in u.chunks_exact(term).zip(w.chunks_exact(self.shape.out_c * N)) {
                    let w = &w[channel * N..][..C * N];
                    let mut values = [s.splat(0.0); N];
                    for (value, u) in values.iter_mut().zip(u.chunks_exact(S::LANES)) {
                        *value = s.load(u);
                    }
                    for (sums, w) in sums.iter_mut().zip(w.chunks_exact(N)) {
                        for ((sum, &value), &w) in sums.iter_mut().zip(&values).zip(w) {
                            *sum = s.mul_add(s.splat(w), value, *sum);
                        }
                    }
                }
                for (c, sums) in sums.iter().enumerate() {
                    // What lies before the new ones had its turn in the tile before.
                    if channel + c < new {
                        continue;
                    }
                    let bias = s.max(floor, s.splat(outputs.b.map_or(0.0, |b| b[channel + c])));
                    let mut y: [S::V; TILE] = outputs.apply(s, channel + c, sums);
                    if ZEROS {
                        for (y, magnitude) in y.iter_mut().zip(magnitude) {
                            *y = s.select(s.le(magnitude, s.splat(0.0)), bias, *y);
                        }
                    }
                    sink.put(s, &Place { side, tile, row }, channel + c, y);
                }
            }
        }
    }
}
