//! Register tiles of channels each by itself: products of vectors of pixels and vectors of weights, a channel a lane.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::kernels::tile::{LINE, Terms, distance, starts};
use crate::simd::Simd;

/// The terms of `P` neighbouring outputs of many channels, each by itself: under `K` taps, each of which is on the pixel after that
/// of the one before it, so that outputs, which are `D` pixels apart, share some, and in loops around them.
pub(super) struct ByLane<const K: usize, const D: usize> {
    pub channels: usize,
    /// The loops, and where the first pixel that is there and the first weight lie.
    pub terms: Terms,
    /// Which of the `(P - 1) * D + K` pixels under the taps are there: at least one for every output.
    pub pixels: Range<usize>,
    /// Where the taps lie in the weights, from the first weight on.
    pub taps: [usize; K],
}

impl<const K: usize, const D: usize> ByLane<K, D> {
    /// Whether all terms lie within a source and weights of these lengths, and `P` vectors or more `pixel` apart in so many numbers.
    #[inline(always)]
    fn fits<const P: usize>(&self, lanes: usize, [x_len, w_len]: [usize; 2], pixel: usize, len: usize) -> bool {
        let (channels, pixels, terms) = (self.channels, &self.pixels, self.terms.of_neighbours::<true>());
        let w_len = self.taps.iter().max().map_or(0, |&last| w_len.saturating_sub(last));
        channels >= lanes
            && distance(P, pixel).and_then(|way| way.checked_add(channels)).is_some_and(|end| end <= len)
            && pixels.start < K
            && ((P - 1) * D + 1..(P - 1) * D + K + 1).contains(&pixels.end)
            && (terms.is_none() || terms.fit(channels, pixels.len(), channels, x_len, w_len))
    }

    /// How many rows of how many runs of terms there are.
    #[inline(always)]
    fn counts(&self) -> [usize; 2] {
        let [rows, runs, _] = self.terms.loops;
        if self.terms.is_none() { [0, 0] } else { [rows.count, if K > 1 { 1 } else { runs.count }] }
    }

    /// Where the first pixel would be if all were there; it may wrap.
    #[inline(always)]
    fn first_pixel(&self) -> usize {
        self.terms.x.wrapping_sub(self.pixels.start.wrapping_mul(self.terms.pixel))
    }

    /// Whether a pixel is there, if all from the last under the first output to the first under the last one are.
    #[inline(always)]
    fn has<const P: usize>(&self, q: usize) -> bool {
        K - 1 <= q && q <= (P - 1) * D || self.pixels.contains(&q)
    }

    /// The first pixel that no tile before the next one needs; not all places that follow are there.
    #[inline(always)]
    fn next_pixel<const P: usize>(&self, x: &[f32]) -> *const f32 {
        let rows = self.terms.loops[0];
        let last_row = if rows.x > 0 { rows.count.saturating_sub(1).wrapping_mul(rows.x as usize) } else { 0 };
        let pixels = ((P - 1) * D + K).wrapping_mul(self.terms.pixel);
        x.as_ptr().wrapping_add(self.first_pixel()).wrapping_add(last_row).wrapping_add(pixels)
    }
}

/// Asks for what a tile needs of the `pixels` from `next` on, as large a part of it as these channels are of all.
#[inline(always)]
fn prefetch<S: Simd>(s: S, next: *const f32, pixels: usize, channel: usize) {
    for line in 0..(pixels * S::LANES).div_ceil(LINE) {
        s.prefetch(next.wrapping_add(channel * pixels + line * LINE));
    }
}

/// Writes `max(floor, b[c] + sum x[c] w[c])` of a tile to `y`, in which outputs lie `y_pixel` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn gather_by_lane<S: Simd, const P: usize, const K: usize, const D: usize>(
    s: S,
    tile: &ByLane<K, D>,
    [x, w]: [&[f32]; 2],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
    y_pixel: usize,
) {
    let fits = tile.fits::<P>(S::LANES, [x.len(), w.len()], y_pixel, y.len());
    assert!(fits, "{:?} of {:?} in {} and {}", tile.terms, tile.pixels, x.len(), w.len());
    // SAFETY: All places fit by the assertion, and where all pixels are there, it is said so.
    unsafe {
        match tile.pixels.len() == (P - 1) * D + K {
            true => gather_by_lane_unchecked::<S, P, K, D, true>(s, tile, [x, w], b, floor, y, y_pixel),
            false => gather_by_lane_unchecked::<S, P, K, D, false>(s, tile, [x, w], b, floor, y, y_pixel),
        }
    }
}

/// [`gather_by_lane`] without its assertion.
///
/// # Safety
/// The tile must fit, and all its pixels be there if `IS_WHOLE`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn gather_by_lane_unchecked<S: Simd, const P: usize, const K: usize, const D: usize, const IS_WHOLE: bool>(
    s: S,
    tile: &ByLane<K, D>,
    [x, w]: [&[f32]; 2],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
    y_pixel: usize,
) {
    let ([rows, runs, _], [row_count, run_count]) = (tile.terms.loops, tile.counts());
    let (floor, x_first, x_next) = (s.splat(floor), tile.first_pixel(), tile.next_pixel::<P>(x));
    let y_next = y.as_ptr().wrapping_add(P * y_pixel);
    for channel in starts(tile.channels, S::LANES) {
        prefetch(s, x_next, P * D, channel);
        prefetch(s, y_next, P, channel);
        let mut sums = [if let Some(b) = b { s.load(&b[channel..]) } else { s.splat(0.0) }; P];
        // What is added after the last step of a loop leads to no place that is visited, and may wrap.
        let (mut x_row, mut w_row) = (x_first.wrapping_add(channel), tile.terms.w + channel);
        for _ in 0..row_count {
            let (mut x_run, mut w_run) = (x_row, w_row);
            for _ in 0..run_count {
                let mut weights = [s.splat(0.0); K];
                for (weight, tap) in weights.iter_mut().zip(tile.taps) {
                    // SAFETY: This is a weight of a term, and within the channels, so that the vector ends within `w`.
                    *weight = s.load(unsafe { w.get_unchecked(w_run + tap..w_run + tap + S::LANES) });
                }
                for q in 0..(P - 1) * D + K {
                    if !IS_WHOLE && !tile.has::<P>(q) {
                        continue;
                    }
                    let at = x_run.wrapping_add(q.wrapping_mul(tile.terms.pixel));
                    // SAFETY: This is a pixel that is there, and within the channels, so that the vector ends within `x`.
                    let pixel = s.load(unsafe { x.get_unchecked(at..at + S::LANES) });
                    for (k, &weight) in weights.iter().enumerate() {
                        if k <= q && (q - k) % D == 0 && (q - k) / D < P {
                            sums[(q - k) / D] = s.mul_add(pixel, weight, sums[(q - k) / D]);
                        }
                    }
                }
                (x_run, w_run) = (x_run.wrapping_add_signed(runs.x), w_run.wrapping_add(runs.w));
            }
            (x_row, w_row) = (x_row.wrapping_add_signed(rows.x), w_row.wrapping_add(rows.w));
        }
        for (p, &sum) in sums.iter().enumerate() {
            let at = p * y_pixel + channel;
            // SAFETY: `p < P`, and this is within the channels, so that the vector ends within `y`.
            s.store(s.max(floor, sum), unsafe { y.get_unchecked_mut(at..at + S::LANES) });
        }
    }
}

/// Adds to `dw[c]` the sums over the outputs of a tile of `x[c] dy[c]`, for all weights. Outputs lie `dy_pixel` apart.
#[inline(always)]
pub(super) fn correlate_by_lane<S: Simd, const P: usize, const K: usize, const D: usize>(
    s: S,
    tile: &ByLane<K, D>,
    x: &[f32],
    dy: &[f32],
    dy_pixel: usize,
    dw: &mut [f32],
) {
    let fits = tile.fits::<P>(S::LANES, [x.len(), dw.len()], dy_pixel, dy.len());
    assert!(fits, "{:?} of {:?} in {} and {}", tile.terms, tile.pixels, x.len(), dw.len());
    // SAFETY: All places fit by the assertion, and where all pixels are there, it is said so.
    unsafe {
        match tile.pixels.len() == (P - 1) * D + K {
            true => correlate_by_lane_unchecked::<S, P, K, D, true>(s, tile, x, dy, dy_pixel, dw),
            false => correlate_by_lane_unchecked::<S, P, K, D, false>(s, tile, x, dy, dy_pixel, dw),
        }
    }
}

/// [`correlate_by_lane`] without its assertion.
///
/// # Safety
/// The tile must fit, and all its pixels be there if `IS_WHOLE`.
#[inline(always)]
unsafe fn correlate_by_lane_unchecked<S: Simd, const P: usize, const K: usize, const D: usize, const IS_WHOLE: bool>(
    s: S,
    tile: &ByLane<K, D>,
    x: &[f32],
    dy: &[f32],
    dy_pixel: usize,
    dw: &mut [f32],
) {
    let (rows, [row_count, _]) = (tile.terms.loops[0], tile.counts());
    let (x_first, x_next) = (tile.first_pixel(), tile.next_pixel::<P>(x));
    let dy_next = dy.as_ptr().wrapping_add(P * dy_pixel);
    for (vector, channel) in starts(tile.channels, S::LANES).enumerate() {
        prefetch(s, x_next, P * D, channel);
        prefetch(s, dy_next, P, channel);
        let mut deltas = [s.splat(0.0); P];
        for (p, delta) in deltas.iter_mut().enumerate() {
            let at = p * dy_pixel + channel;
            // SAFETY: `p < P`, and this is within the channels, so that the vector ends within `dy`.
            *delta = s.load(unsafe { dy.get_unchecked(at..at + S::LANES) });
        }
        // The last vector overlaps the one before it, which has added those lanes.
        let new = u32::MAX << (vector * S::LANES - channel);
        // What is added after the last step leads to no place that is visited, and may wrap.
        let (mut x_row, mut w_row) = (x_first.wrapping_add(channel), tile.terms.w + channel);
        for _ in 0..row_count {
            let mut sums = [s.splat(0.0); K];
            for q in 0..(P - 1) * D + K {
                if !IS_WHOLE && !tile.has::<P>(q) {
                    continue;
                }
                let at = x_row.wrapping_add(q.wrapping_mul(tile.terms.pixel));
                // SAFETY: This is a pixel that is there, and within the channels, so that the vector ends within `x`.
                let pixel = s.load(unsafe { x.get_unchecked(at..at + S::LANES) });
                for (k, sum) in sums.iter_mut().enumerate() {
                    if k <= q && (q - k) % D == 0 && (q - k) / D < P {
                        *sum = s.mul_add(pixel, deltas[(q - k) / D], *sum);
                    }
                }
            }
            for (&sum, tap) in sums.iter().zip(tile.taps) {
                // SAFETY: This is a weight of a term, and within the channels, so that the vector ends within `dw`.
                let dw = unsafe { dw.get_unchecked_mut(w_row + tap..w_row + tap + S::LANES) };
                let sum = if new == u32::MAX { sum } else { s.keep(new, sum) };
                s.store(s.add(s.load(dw), sum), dw);
            }
            (x_row, w_row) = (x_row.wrapping_add_signed(rows.x), w_row.wrapping_add(rows.w));
        }
    }
}
