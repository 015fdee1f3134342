//! Short sums: outputs that are zero for want of inputs. Images are often empty at their borders, and a rounding would decide on
//! which side of a ReLU they lie.

use super::strips::Strip;
use crate::kernels::points::TILE;
use crate::shape::Conv2dShape;
use crate::simd::Simd;

/// The most terms of a short sum.
const SHORT: usize = 16;

/// Whether sums have so few terms that those of none but zero inputs are told apart.
pub(crate) fn is_short(shape: &Conv2dShape) -> bool {
    shape.h.kernel * shape.in_c <= SHORT && (shape.h.dilation, shape.groups) == (1, 1)
}

impl Strip {
    /// Which outputs of a row of a tile have none but zero inputs, by the magnitudes of the inputs.
    #[inline(always)]
    pub(super) fn blank<S: Simd>(&self, s: S, tile: usize, row: usize, magnitudes: &[f32]) -> [S::M; TILE] {
        let (rows, channels, none) = (&self.column.w, self.column.in_c, s.splat(0.0));
        let taps = rows.taps(row);
        let source = tile * self.inputs.rows + row * rows.stride + taps.start - rows.before;
        let (first, terms) = (source * channels * TILE * S::LANES, taps.len() * channels);
        let mut sums = [none; TILE];
        for terms in magnitudes[first..].chunks_exact(TILE * S::LANES).take(terms) {
            for (sum, term) in sums.iter_mut().zip(terms.chunks_exact(S::LANES)) {
                *sum = s.add(*sum, s.load(term));
            }
        }
        sums.map(
            #[inline(always)]
            |sum| s.le(sum, none),
        )
    }
}
