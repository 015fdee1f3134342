//! Parameter gradients: products of inputs and output gradients, summed over pixels, then over lanes.

use crate::kernels::check_len;
use crate::kernels::tile::{SQUARE, Square, Walk, best_size, correlate, starts};
use crate::simd::{Level, Simd, dispatch};

/// Products of neighbouring vectors of an input and of an output gradient, over the pixels of a walk.
pub(super) struct Products<'a> {
    /// From the first term at the first pixel on.
    pub x: &'a [f32],
    /// From the first channel at the first pixel on.
    pub dy: &'a [f32],
    pub walk: Walk,
    /// Neighbouring vectors of `x`.
    pub terms: usize,
    /// Neighbouring vectors of `dy`.
    pub channels: usize,
    /// How far apart the gradients of neighbouring terms lie; those of channels are neighbours.
    pub row: usize,
}

/// The most terms of a tile.
const MAX_TERMS: usize = 6;

/// For each term of a tile a square of vectors, one a channel, to be summed over lanes.
type Squares = [Square; MAX_TERMS];

impl Products<'_> {
    /// Adds the gradients to `dw[term][channel]`.
    #[inline(always)]
    pub fn add_to<S: Simd>(&self, s: S, dw: &mut [f32]) {
        let mut squares = [SQUARE; MAX_TERMS];
        match best_size(self.terms, [6, 5, 4, 3, 1]) {
            6 => self.tiles::<S, 6>(s, &mut squares, dw),
            5 => self.tiles::<S, 5>(s, &mut squares, dw),
            4 => self.tiles::<S, 4>(s, &mut squares, dw),
            3 => self.tiles::<S, 3>(s, &mut squares, dw),
            _ => self.tiles::<S, 1>(s, &mut squares, dw),
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const T: usize>(&self, s: S, squares: &mut Squares, dw: &mut [f32]) {
        for (new, start) in (0..).step_by(T).zip(starts(self.terms, T)) {
            for first in (0..self.channels).step_by(S::LANES) {
                let channels = S::LANES.min(self.channels - first);
                let (x, dy) = (&self.x[start * S::LANES..], &self.dy[first * S::LANES..]);
                if S::LANES == 16 {
                    match best_size(channels, [4, 3, 1]) {
                        4 => self.square::<S, T, 4>(s, x, dy, channels, squares),
                        3 => self.square::<S, T, 3>(s, x, dy, channels, squares),
                        _ => self.square::<S, T, 1>(s, x, dy, channels, squares),
                    }
                } else {
                    match best_size(channels, [2, 1]) {
                        2 => self.square::<S, T, 2>(s, x, dy, channels, squares),
                        _ => self.square::<S, T, 1>(s, x, dy, channels, squares),
                    }
                }
                // Terms before `new` have had their turn in the tile before.
                for t in new - start..T {
                    add_rows(s, &squares[t], &mut dw[(start + t) * self.row + first..][..channels]);
                }
            }
        }
    }

    /// The vectors of a tile of terms and of some channels, at most `LANES`.
    #[inline(always)]
    fn square<S: Simd, const T: usize, const C: usize>(
        &self,
        s: S,
        x: &[f32],
        dy: &[f32],
        channels: usize,
        squares: &mut Squares,
    ) {
        for channel in starts(channels, C) {
            correlate::<S, T, C>(s, x, &dy[channel * S::LANES..], &self.walk, squares, channel);
        }
    }
}

/// Adds to `db[channel]` the sum of `dy[..][channel][lane]`.
pub(super) fn bias(level: Level, channels: usize, dy: &[f32], db: &mut [f32]) {
    check_len!(db, channels);
    dispatch!(level, s => sum_pixels(s, channels, dy, db))
}

#[inline(always)]
fn sum_pixels<S: Simd>(s: S, channels: usize, dy: &[f32], db: &mut [f32]) {
    for (db, first) in db.chunks_mut(S::LANES).zip((0..).step_by(S::LANES)) {
        let mut square = SQUARE;
        for pixel in dy.chunks_exact(channels * S::LANES) {
            let here = pixel[first * S::LANES..].chunks_exact(S::LANES);
            for (dy, sum) in here.zip(square.chunks_exact_mut(S::LANES)).take(db.len()) {
                s.store(s.add(s.load(sum), s.load(dy)), sum);
            }
        }
        add_rows(s, &square, db);
    }
}

/// Adds the sum over the lanes of each vector of a square to a number of `sums`.
#[inline(always)]
pub(super) fn add_rows<S: Simd>(s: S, square: &Square, sums: &mut [f32]) {
    let sum = s.add(s.load_padded(sums, 0.0), s.sum_rows(square));
    s.store_cut(sum, sums);
}
