//! How `par` twins cut a batch: into pieces fixed by the batch alone, so that sums over them are too.

use rayon::prelude::*;

/// The most pieces of a batch, and so the most threads a `par` twin keeps busy.
const MAX_PIECES: usize = 16;

/// Samples (or rows) in a piece of a batch of `n`; at least one.
pub(super) fn rows_per_piece(n: usize) -> usize {
    n.div_ceil(MAX_PIECES).max(1)
}

/// Pieces of a batch of `n`; at least one.
pub(super) fn pieces(n: usize) -> usize {
    n.div_ceil(rows_per_piece(n)).max(1)
}

/// Runs `piece` on every piece of a batch of `n`, with its number of samples and its parts of `x` and `y`.
pub(super) fn for_each_piece(
    n: usize,
    (x, x_len): (&[f32], usize),
    (y, y_len): (&mut [f32], usize),
    piece: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) {
    let rows = rows_per_piece(n);
    let pieces = x.par_chunks(rows * x_len).zip(y.par_chunks_mut(rows * y_len));
    pieces.for_each(|(x, y)| piece(y.len() / y_len, x, y));
}

/// Adds the `i`-th number of every partial sum, in order, to `sum[i]`. Partial sums lie `stride` apart.
pub(super) fn add_partials(partials: &[f32], stride: usize, sum: &mut [f32]) {
    const CHUNK: usize = 4096;
    sum.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sum)| {
        for partial in partials.chunks(stride) {
            for (sum, term) in sum.iter_mut().zip(&partial[chunk * CHUNK..]) {
                *sum += term;
            }
        }
    });
}
