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

impl Products<'_> {
    /// Adds the gradients to `dw[term][channel]`.
    #[inline(always)]
    pub fn add_to<S: Simd>(&self, s: S, dw: &mut [f32]) {
        match best_size(self.terms, [6, 5, 4, 3, 1]) {
            6 => self.terms_at_once::<S, 6>(s, dw),
            5 => self.terms_at_once::<S, 5>(s, dw),
            4 => self.terms_at_once::<S, 4>(s, dw),
            3 => self.terms_at_once::<S, 3>(s, dw),
            _ => self.terms_at_once::<S, 1>(s, dw),
        }
    }

    #[inline(always)]
    fn terms_at_once<S: Simd, const T: usize>(&self, s: S, dw: &mut [f32]) {
        if S::LANES == 16 {
            match best_size(self.channels, [4, 3, 1]) {
                4 => self.tiles::<S, T, 4>(s, dw),
                3 => self.tiles::<S, T, 3>(s, dw),
                _ => self.tiles::<S, T, 1>(s, dw),
            }
        } else {
            match best_size(self.channels, [2, 1]) {
                2 => self.tiles::<S, T, 2>(s, dw),
                _ => self.tiles::<S, T, 1>(s, dw),
            }
        }
    }

    /// Tiles of `T` terms and `C` channels.
    #[inline(always)]
    fn tiles<S: Simd, const T: usize, const C: usize>(&self, s: S, dw: &mut [f32]) {
        for (new_term, term) in (0..).step_by(T).zip(starts(self.terms, T)) {
            for (new_channel, channel) in (0..).step_by(C).zip(starts(self.channels, C)) {
                let (x, dy) = (&self.x[term * S::LANES..], &self.dy[channel * S::LANES..]);
                let sums = correlate::<S, T, C>(s, x, dy, &self.walk);
                // What lies before the new ones had its turn in the tile before.
                let (old_terms, old_channels) = (new_term - term, new_channel - channel);
                let dw = &mut dw[term * self.row + channel..];
                assert!((T - 1) * self.row + C <= dw.len(), "a tile beyond the gradients");
                for t in 0..T {
                    let mut four = [s.splat(0.0); 4];
                    four[..C].copy_from_slice(&sums[t]);
                    let (sums, dw) = (s.sum_four(four), &mut dw[t * self.row..][..C]);
                    for c in 0..C {
                        dw[c] += if t < old_terms || c < old_channels { 0.0 } else { sums[c] };
                    }
                }
            }
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
