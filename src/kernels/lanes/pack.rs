//! Images into blocks of lanes and back: `[n][len]` to `[len][lane]`.

use crate::kernels::cast::Pixels;
use crate::kernels::check_len;
use crate::shape::batch_len;
use crate::simd::{Level, MAX_LANES, Simd, copy, dispatch};

/// Samples of `pixels` at `indices` into one block, `x[len][lane]`. Lanes without a sample repeat the last one, so that
/// they hold nothing that the others do not; in a block without samples all lanes are zero.
///
/// # Panics
/// If there are more samples than lanes, there is no sample at an index, or `x` is not a block.
pub fn samples(level: Level, pixels: Pixels<'_>, indices: impl ExactSizeIterator<Item = usize>, x: &mut [f32]) {
    let (n, len) = (indices.len(), check(level, indices.len(), x));
    if n == 0 {
        return x.fill(0.0);
    }
    let mut starts = [0; MAX_LANES];
    for (start, index) in starts.iter_mut().zip(indices) {
        *start = batch_len(index, len);
        assert!(len <= pixels.len() && *start <= pixels.len() - len, "sample {index} of {}", pixels.len() / len);
    }
    let (last, lanes) = (starts[n - 1], level.lanes());
    starts[n..].fill(last);
    match pixels {
        Pixels::U8 { values, scale } => dispatch!(level, s => {
            let factor = s.splat(scale);
            pack(s, len, x, #[inline(always)] |lane, at, row: &mut [f32]| {
                let values = &values[starts[lane] + at..][..row.len()];
                if values.len() == lanes {
                    return s.store(s.mul(s.load_bytes(values), factor), row);
                }
                for (x, &value) in row.iter_mut().zip(values) {
                    *x = f32::from(value) * scale;
                }
            })
        }),
        Pixels::F32(values) => dispatch!(level, s => {
            pack(s, len, x, #[inline(always)] |lane, at, row: &mut [f32]| {
                copy(&values[starts[lane] + at..][..row.len()], row);
            })
        }),
    }
}

/// The gradients `dy[n][len]` of samples into one block, `x[len][lane]`; lanes without a sample are zero.
///
/// # Panics
/// If `n` exceeds the lanes, or a length does not fit.
pub fn gradients(level: Level, n: usize, dy: &[f32], x: &mut [f32]) {
    let len = check(level, n, x);
    check_len!(dy, n * len);
    dispatch!(level, s => {
        pack(s, len, x, #[inline(always)] |lane, at, row: &mut [f32]| {
            if lane < n {
                copy(&dy[lane * len + at..][..row.len()], row);
            } else {
                row.fill(0.0);
            }
        })
    })
}

/// The elements of a sample in block `x`.
fn check(level: Level, n: usize, x: &[f32]) -> usize {
    let lanes = level.lanes();
    assert!(n <= lanes && x.len().is_multiple_of(lanes), "{n} samples in a block of {} for {lanes} lanes", x.len());
    x.len() / lanes
}

/// Fills `x[len][lane]` with rows, given by `row` for a lane from an element on.
#[inline(always)]
fn pack<S: Simd>(s: S, len: usize, x: &mut [f32], row: impl Fn(usize, usize, &mut [f32])) {
    let squares = x.chunks_mut(S::LANES * S::LANES);
    for (square, at) in squares.zip((0..len).step_by(S::LANES)) {
        if square.len() == S::LANES * S::LANES {
            for lane in 0..S::LANES {
                row(lane, at, &mut square[lane * S::LANES..][..S::LANES]);
            }
            s.transpose(square);
        } else {
            let (elements, mut whole) = (square.len() / S::LANES, [0.0; MAX_LANES * MAX_LANES]);
            for lane in 0..S::LANES {
                row(lane, at, &mut whole[lane * S::LANES..][..elements]);
            }
            s.transpose(&mut whole[..S::LANES * S::LANES]);
            square.copy_from_slice(&whole[..square.len()]);
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
