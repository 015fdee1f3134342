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
