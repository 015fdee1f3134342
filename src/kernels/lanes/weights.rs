//! Parameter gradients: products of inputs and output gradients, summed over pixels, then over lanes.

use crate::kernels::check_len;
use crate::kernels::correlate::Products;
use crate::kernels::tile::{SQUARE, Square, best_size, starts};
use crate::simd::{Level, Simd, dispatch};

/// Adds the sums of products over pixels and lanes to `dw[term][channel]`; terms lie `row` apart.
#[inline(always)]
pub(super) fn add_products<S: Simd>(s: S, products: &Products<'_, S>, dw: &mut [f32], row: usize) {
    match best_size(products.terms(), [6, 5, 4, 3, 1]) {
        6 => terms_at_once::<S, 6>(s, products, dw, row),
        5 => terms_at_once::<S, 5>(s, products, dw, row),
        4 => terms_at_once::<S, 4>(s, products, dw, row),
        3 => terms_at_once::<S, 3>(s, products, dw, row),
        _ => terms_at_once::<S, 1>(s, products, dw, row),
    }
}

#[inline(always)]
fn terms_at_once<S: Simd, const T: usize>(s: S, products: &Products<'_, S>, dw: &mut [f32], row: usize) {
    if S::LANES == 16 {
        match best_size(products.channels(), [4, 3, 1]) {
            4 => tiles::<S, T, 4>(s, products, dw, row),
            3 => tiles::<S, T, 3>(s, products, dw, row),
            _ => tiles::<S, T, 1>(s, products, dw, row),
        }
    } else {
        match best_size(products.channels(), [2, 1]) {
            2 => tiles::<S, T, 2>(s, products, dw, row),
            _ => tiles::<S, T, 1>(s, products, dw, row),
        }
    }
}

/// Tiles of `T` terms and `C` channels.
#[inline(always)]
fn tiles<S: Simd, const T: usize, const C: usize>(s: S, products: &Products<'_, S>, dw: &mut [f32], row: usize) {
    for (new_term, term) in (0..).step_by(T).zip(starts(products.terms(), T)) {
        for (new_channel, channel) in (0..).step_by(C).zip(starts(products.channels(), C)) {
            let sums = products.correlate::<T, C>(term, channel);
            // What lies before the new ones had its turn in the tile before.
            let old = [new_term - term, new_channel - channel];
            let dw = &mut dw[term * row + channel..];
            if old == [0, 0] {
                add_sums::<S, T, C, true>(s, &sums, dw, row, old);
            } else {
                add_sums::<S, T, C, false>(s, &sums, dw, row, old);
            }
        }
    }
}

/// Adds the sums over the lanes to `dw`, but those of `old` terms and channels. `ALL` says that none is.
#[inline(always)]
fn add_sums<S: Simd, const T: usize, const C: usize, const ALL: bool>(
    s: S,
    sums: &[[S::V; C]; T],
    dw: &mut [f32],
    row: usize,
    [old_terms, old_channels]: [usize; 2],
) {
    assert!((T - 1) * row + C <= dw.len(), "a tile beyond the gradients");
    let rows = const { 4 / C };
    for first in (0..T).step_by(rows) {
        let mut four = [s.splat(0.0); 4];
        for r in 0..rows.min(T - first) {
            four[r * C..][..C].copy_from_slice(&sums[first + r]);
        }
        let sums = s.sum_four(four);
        for r in 0..rows.min(T - first) {
            let (t, dw) = (first + r, &mut dw[(first + r) * row..][..C]);
            for c in 0..C {
                if ALL || t >= old_terms && c >= old_channels {
                    dw[c] += sums[r * C + c];
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
