//! Images into blocks of lanes and back: `[n][len]` to `[len][lane]`.

use crate::kernels::cast::Pixels;
use crate::kernels::check_len;
use crate::shape::batch_len;
use crate::simd::{Level, MAX_LANES, Simd, copy, dispatch};

/// Samples of `pixels` at `indices` into one block, `x[len][lane]`; lanes without a sample are zero, so that gradients, which
/// are packed the same way, find nothing in them but what follows from zeros.
///
/// # Panics
/// If there are more samples than lanes, there is no sample at an index, or `x` is not a block.
pub fn samples(level: Level, pixels: Pixels<'_>, indices: impl ExactSizeIterator<Item = usize>, x: &mut [f32]) {
    let (n, lanes, len) = (indices.len(), level.lanes(), check(level, indices.len(), x));
    let mut starts = [0; MAX_LANES];
    for (start, index) in starts.iter_mut().zip(indices) {
        *start = batch_len(index, len);
        assert!(len <= pixels.len() && *start <= pixels.len() - len, "sample {index} of {}", pixels.len() / len);
    }
    let starts = &starts[..n];
    match pixels {
        Pixels::U8 { values, scale } => dispatch!(level, s => {
            // Samples lie far apart, and would be waited for one line after the other.
            for &start in starts {
                for line in values[start..][..len].chunks(64) {
                    s.prefetch(line.as_ptr());
                }
            }
            let factor = s.splat(scale);
            pack(s, starts, x, #[inline(always)] |start, row: &mut [f32]| {
                let values = &values[start..][..row.len()];
                if values.len() == lanes {
                    return s.store(s.mul(s.load_bytes(values), factor), row);
                }
                for (x, &value) in row.iter_mut().zip(values) {
                    *x = f32::from(value) * scale;
                }
            })
        }),
        Pixels::F32(values) => dispatch!(level, s => {
            pack(s, starts, x, #[inline(always)] |start, row: &mut [f32]| copy(&values[start..][..row.len()], row))
        }),
    }
}

/// The elements of a sample in block `x`.
fn check(level: Level, n: usize, x: &[f32]) -> usize {
    let lanes = level.lanes();
    assert!(n <= lanes && x.len().is_multiple_of(lanes), "{n} samples in a block of {} for {lanes} lanes", x.len());
    x.len() / lanes
}

/// Fills `x[len][lane]` with rows that `read` gives from a place on, which is `starts[lane]` for the first element.
#[inline(always)]
fn pack<S: Simd>(s: S, starts: &[usize], x: &mut [f32], read: impl Fn(usize, &mut [f32])) {
    for (part, at) in x.chunks_mut(S::LANES * S::LANES).zip((0..).step_by(S::LANES)) {
        let (elements, mut last) = (part.len() / S::LANES, [0.0; MAX_LANES * MAX_LANES]);
        let whole = elements == S::LANES;
        let square = if whole { &mut *part } else { &mut last[..S::LANES * S::LANES] };
        let (filled, empty) = square.split_at_mut(starts.len() * S::LANES);
        for (row, start) in filled.chunks_exact_mut(S::LANES).zip(starts) {
            read(start + at, &mut row[..elements]);
        }
        empty.fill(0.0);
        s.transpose(square);
        if !whole {
            part.copy_from_slice(&last[..part.len()]);
        }
    }
}

/// The `n` samples `y[n][len]` of the first lanes of a block `x[len][lane]`.
///
/// # Panics
/// If `n` exceeds the lanes, or a length does not fit.
pub fn unpack(level: Level, n: usize, x: &[f32], y: &mut [f32]) {
    let len = check(level, n, x);
    check_len!(y, n * len);
    dispatch!(level, s => take(s, len, x, y))
}

#[inline(always)]
fn take<S: Simd>(s: S, len: usize, x: &[f32], y: &mut [f32]) {
    for (square, at) in x.chunks(S::LANES * S::LANES).zip((0..len).step_by(S::LANES)) {
        let mut rows = [0.0; MAX_LANES * MAX_LANES];
        rows[..square.len()].copy_from_slice(square);
        s.transpose(&mut rows[..S::LANES * S::LANES]);
        let elements = square.len() / S::LANES;
        for (y, row) in y.chunks_exact_mut(len).zip(rows.chunks_exact(S::LANES)) {
            copy(&row[..elements], &mut y[at..][..elements]);
        }
    }
}
