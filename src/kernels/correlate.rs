//! Products of vectors of two tensors, summed along a walk over their pixels: the gradients of weights in lanes.
#![allow(unsafe_code)]

use super::tile::distance;
use crate::simd::Simd;

/// A rectangle of pixels in each of some blocks, walked through in two tensors at once. Steps are in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub blocks: usize,
    pub rows: usize,
    pub cols: usize,
    pub x_block: usize,
    pub dy_block: usize,
    pub x_row: usize,
    pub x_col: usize,
    pub dy_row: usize,
    pub dy_col: usize,
}

/// Neighbouring vectors of an input and of an output gradient at every pixel of a walk.
pub(super) struct Products<'a, S> {
    s: S,
    x: &'a [f32],
    dy: &'a [f32],
    walk: Walk,
    terms: usize,
    channels: usize,
}

impl<'a, S: Simd> Products<'a, S> {
    /// So many `terms` from the start of `x` on, and so many `channels` from that of `dy`.
    ///
    /// # Panics
    /// If they do not all lie within the slices.
    #[inline(always)]
    pub fn new(s: S, x: &'a [f32], dy: &'a [f32], walk: Walk, terms: usize, channels: usize) -> Self {
        let Walk { blocks, rows, cols, x_block, dy_block, x_row, x_col, dy_row, dy_col } = walk;
        let end = |block, row, col, vectors: usize| {
            let pixel =
                distance(blocks, block)?.checked_add(distance(rows, row)?)?.checked_add(distance(cols, col)?)?;
            pixel.checked_add(vectors.checked_mul(S::LANES)?)
        };
        assert!(
            end(x_block, x_row, x_col, terms).is_some_and(|end| end <= x.len())
                && end(dy_block, dy_row, dy_col, channels).is_some_and(|end| end <= dy.len()),
            "{terms} and {channels} of {walk:?} of {} and {}",
            x.len(),
            dy.len()
        );
        Products { s, x, dy, walk, terms, channels }
    }

    #[inline(always)]
    pub fn terms(&self) -> usize {
        self.terms
    }

    #[inline(always)]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The sums over all pixels of `x[term + t] dy[channel + c]`.
    #[inline(always)]
    pub fn correlate<const T: usize, const C: usize>(&self, term: usize, channel: usize) -> [[S::V; C]; T] {
        let Products { s, walk: Walk { blocks, rows, cols, x_block, dy_block, x_row, x_col, dy_row, dy_col }, .. } =
            *self;
        assert!(T <= self.terms && term <= self.terms - T && C <= self.channels && channel <= self.channels - C);
        let (x, dy) = (&self.x[term * S::LANES..], &self.dy[channel * S::LANES..]);
        let mut sums = [[s.splat(0.0); C]; T];
        for block in 0..blocks {
            for row in 0..rows {
                let (mut x_at, mut dy_at) = (block * x_block + row * x_row, block * dy_block + row * dy_row);
                for _ in 0..cols {
                    let mut deltas = [s.splat(0.0); C];
                    for (c, delta) in deltas.iter_mut().enumerate() {
                        // SAFETY: `dy_at` is that of a pixel of the walk and `channel + c` one of all channels there, so that
                        // the vector ends within `dy` by the assertion of `new`.
                        *delta = s.load(unsafe { dy.get_unchecked(dy_at + c * S::LANES..dy_at + (c + 1) * S::LANES) });
                    }
                    for (t, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: `x_at` is that of a pixel of the walk and `term + t` one of all terms there, so that the
                        // vector ends within `x` by the assertion of `new`.
                        let x = s.load(unsafe { x.get_unchecked(x_at + t * S::LANES..x_at + (t + 1) * S::LANES) });
                        for (sum, &delta) in sums.iter_mut().zip(&deltas) {
                            *sum = s.mul_add(x, delta, *sum);
                        }
                    }
                    // After the last pixel this leads nowhere, and may wrap.
                    (x_at, dy_at) = (x_at.wrapping_add(x_col), dy_at.wrapping_add(dy_col));
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "Walk")]
    fn a_walk_that_wraps_is_refused() {
        let far = 1 << (usize::BITS - 2);
        let walk =
            Walk { blocks: 5, rows: 1, cols: 1, x_block: far, dy_block: 0, x_row: 0, x_col: 0, dy_row: 0, dy_col: 0 };
        let (x, dy) = ([0.0; 64], [0.0; 64]);
        crate::simd::dispatch!(crate::simd::Level::scalar(), s => {
            Products::new(s, &x, &dy, walk, 1, 1);
        });
    }

    #[test]
    fn products_lie_within_what_there_is() {
        let walk =
            Walk { blocks: 1, rows: 1, cols: 2, x_block: 0, dy_block: 0, x_row: 0, x_col: 8, dy_row: 0, dy_col: 16 };
        let (x, dy) = ([1.0; 32], [2.0; 32]);
        let refuses = |terms, channels| {
            let new = || crate::simd::dispatch!(crate::simd::Level::scalar(), s => _ = Products::new(s, &x, &dy, walk, terms, channels));
            std::panic::catch_unwind(new).is_err()
        };
        assert!(!refuses(3, 2) && refuses(4, 2) && refuses(3, 3) && refuses(usize::MAX, 1));
        let refuses = |term, channel| {
            let sums = || {
                crate::simd::dispatch!(crate::simd::Level::scalar(), s => {
                    let sums = Products::new(s, &x, &dy, walk, 3, 2).correlate::<2, 1>(term, channel);
                    assert!(sums.iter().all(|sums| s.sum(sums[0]) == 32.0));
                })
            };
            std::panic::catch_unwind(sums).is_err()
        };
        assert!(!refuses(1, 1) && refuses(2, 1) && refuses(1, 2));
    }
}
