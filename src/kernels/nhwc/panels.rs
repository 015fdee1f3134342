//! Weights in panels of output channels, as wide as the vectors that stay in registers beside the sums of a tile.

use std::ops::Range;

use crate::kernels::tile::{SQUARE, Square};
use crate::shape::Conv2dShape;
use crate::simd::{Simd, copy};

/// Vectors of channels in a panel; the last one may have fewer.
pub(super) const VECTORS: usize = 2;

/// `[panel][term][channel]`: the weights of every term, channels that are not there filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub data: &'a [f32],
    pub terms: usize,
    pub channels: usize,
}

/// Weights of neighbouring channels.
pub(super) struct Panel<'a> {
    pub weights: &'a [f32],
    pub channels: Range<usize>,
    /// Channels and zeros.
    pub width: usize,
}

impl<'a> Panels<'a> {
    pub fn iter(self, lanes: usize) -> impl Iterator<Item = Panel<'a>> {
        let widths = widths(self.channels, lanes);
        widths.map(move |(first, width)| Panel {
            weights: &self.data[first * self.terms..][..width * self.terms],
            channels: first..self.channels.min(first + width),
            width,
        })
    }
}

/// The first channel of each panel and its width.
fn widths(channels: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let padded = channels.next_multiple_of(lanes);
    (0..padded).step_by(VECTORS * lanes).map(move |first| (first, (VECTORS * lanes).min(padded - first)))
}

/// The weights of a convolution as a pass uses them: from `terms` to `channels`, both of a group.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub shape: &'a Conv2dShape,
    /// From output gradients to those of inputs.
    pub transposed: bool,
}

impl Weights<'_> {
    pub fn terms(&self) -> usize {
        if self.transposed { self.out_c() } else { self.in_c() }
    }

    pub fn channels(&self) -> usize {
        if self.transposed { self.in_c() } else { self.out_c() }
    }

    fn in_c(&self) -> usize {
        self.shape.in_c / self.shape.groups
    }

    fn out_c(&self) -> usize {
        self.shape.out_c / self.shape.groups
    }

    /// Weights of a tap for `LANES` terms from `term` on, a vector of channels from `channel` on each; zero where there is none.
    #[inline(always)]
    pub fn square<S: Simd>(&self, s: S, w: &[f32], [group, tap, term, channel]: [usize; 4], square: &mut Square) {
        let (row, column) = if self.transposed { (channel, term) } else { (term, channel) };
        let (rows, columns) = (S::LANES.min(self.in_c() - row), S::LANES.min(self.out_c() - column));
        let first = (tap * self.in_c() + row) * self.shape.out_c + group * self.out_c() + column;
        for (i, vector) in square.chunks_exact_mut(S::LANES).take(S::LANES).enumerate() {
            let v =
                if i < rows { s.load_padded(&w[first + i * self.shape.out_c..][..columns], 0.0) } else { s.splat(0.0) };
            s.store(v, vector);
        }
        if self.transposed {
            s.transpose(&mut square[..S::LANES * S::LANES]);
        }
    }

    /// Writes a panel of a group: `[tap][term][channel]`.
    #[inline(always)]
    pub fn pack<S: Simd>(&self, s: S, w: &[f32], group: usize, first: usize, width: usize, panel: &mut [f32]) {
        let mut square = SQUARE;
        for (tap, panel) in panel.chunks_exact_mut(self.terms() * width).enumerate() {
            for (block, rows) in panel.chunks_mut(S::LANES * width).enumerate() {
                for part in (0..width).step_by(S::LANES) {
                    self.square(s, w, [group, tap, block * S::LANES, first + part], &mut square);
                    for (row, vector) in rows.chunks_exact_mut(width).zip(square.chunks_exact(S::LANES)) {
                        copy(vector, &mut row[part..part + S::LANES]);
                    }
                }
            }
        }
    }
}
