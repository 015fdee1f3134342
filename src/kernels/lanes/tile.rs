//! Register tiles: the inner loops of every product in the lanes layout.
#![allow(unsafe_code)]

use crate::simd::Simd;

/// How far apart neighbours lie, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strides {
    /// Pixels of a tile, in the source.
    pub pixel: usize,
    /// Terms of a sum, in the source.
    pub source: usize,
    /// Terms of a sum, in the weights.
    pub term: usize,
    /// Channels of a tile, in the weights.
    pub channel: usize,
}

/// Adds to `sums[c][p]` the products `x[p][t] w[t][c]` of `len` terms.
#[inline(always)]
pub(super) fn gather<S: Simd, const C: usize, const P: usize>(
    s: S,
    sums: &mut [[S::V; P]; C],
    x: &[f32],
    w: &[f32],
    len: usize,
    strides: Strides,
) {
    let Strides { pixel, source, term, channel } = strides;
    assert!(
        len > 0
            && (P - 1) * pixel + (len - 1) * source + S::LANES <= x.len()
            && (len - 1) * term + (C - 1) * channel < w.len()
    );
    for t in 0..len {
        let mut pixels = [s.splat(0.0); P];
        for p in 0..P {
            let at = p * pixel + t * source;
            // SAFETY: `t < len` and `p < P`, so that the vector ends within `x` by the assertion above.
            pixels[p] = s.load(unsafe { x.get_unchecked(at..at + S::LANES) });
        }
        for c in 0..C {
            // SAFETY: `t < len` and `c < C`, so that the weight lies within `w` by the assertion above.
            let weight = s.splat(unsafe { *w.get_unchecked(t * term + c * channel) });
            for p in 0..P {
                sums[c][p] = s.mul_add(weight, pixels[p], sums[c][p]);
            }
        }
    }
}

/// A rectangle of pixels, walked through in two tensors at once. Steps are in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub rows: usize,
    pub cols: usize,
    pub x_row: usize,
    pub x_col: usize,
    pub dy_row: usize,
    pub dy_col: usize,
}

/// The sums over the pixels of a walk of `x[t] dy[c]`, for neighbouring vectors `t` of `x` and `c` of `dy`.
#[inline(always)]
pub(super) fn correlate<S: Simd, const T: usize, const C: usize>(
    s: S,
    x: &[f32],
    dy: &[f32],
    walk: &Walk,
) -> [[S::V; C]; T] {
    let Walk { rows, cols, x_row, x_col, dy_row, dy_col } = *walk;
    assert!(
        rows > 0
            && cols > 0
            && (rows - 1) * x_row + (cols - 1) * x_col + T * S::LANES <= x.len()
            && (rows - 1) * dy_row + (cols - 1) * dy_col + C * S::LANES <= dy.len()
    );
    let mut sums = [[s.splat(0.0); C]; T];
    for row in 0..rows {
        let (mut x_at, mut dy_at) = (row * x_row, row * dy_row);
        for _ in 0..cols {
            let mut deltas = [s.splat(0.0); C];
            for c in 0..C {
                // SAFETY: `dy_at` is that of a pixel of the walk and `c < C`, so that the vector ends within `dy` by the
                // assertion above.
                deltas[c] = s.load(unsafe { dy.get_unchecked(dy_at + c * S::LANES..dy_at + (c + 1) * S::LANES) });
            }
            for t in 0..T {
                // SAFETY: `x_at` is that of a pixel of the walk and `t < T`, so that the vector ends within `x` by the
                // assertion above.
                let x = s.load(unsafe { x.get_unchecked(x_at + t * S::LANES..x_at + (t + 1) * S::LANES) });
                for c in 0..C {
                    sums[t][c] = s.mul_add(x, deltas[c], sums[t][c]);
                }
            }
            x_at += x_col;
            dy_at += dy_col;
        }
    }
    sums
}

/// The size out of `sizes` for tiles that cover `n` with the least work; tiles overlap at the end, so none may exceed `n`,
/// and 1 must be among them.
#[inline(always)]
pub(super) fn best_size<const N: usize>(n: usize, sizes: [usize; N]) -> usize {
    // A tile costs its size and, in loads and the like, about one more.
    let cost = |size: usize| n.div_ceil(size) * (size + 1);
    let better =
        |best: usize, size: usize| if size <= n && (best > n || cost(size) < cost(best)) { size } else { best };
    let mut best = sizes[0];
    for size in sizes {
        best = better(best, size);
    }
    best
}

/// Where tiles of `size` start that cover `n`, the last one as far back as it must.
#[inline(always)]
pub(super) fn starts(n: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(size)).map(move |tile| (tile * size).min(n - size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything() {
        for n in 1..100 {
            let size = best_size(n, [6, 4, 1]);
            let covered: Vec<usize> = starts(n, size).flat_map(|start| start..start + size).collect();
            assert!((0..n).all(|i| covered.contains(&i)) && covered.iter().all(|&i| i < n), "{n}: {size}");
        }
        assert_eq!([6, 16, 10, 3].map(|n| best_size(n, [6, 4, 1])), [6, 4, 6, 1]);
    }
}
