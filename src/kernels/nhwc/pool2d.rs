//! What both poolings share: the receptive field of each output pixel.

use std::ops::Range;

use crate::kernels::check_len;
use crate::shape::{Pool2dShape, batch_len};
use crate::simd::Simd;

/// The pixels of a batch under one window.
pub(super) struct Field {
    /// Rows of pixels, counted through the whole batch.
    rows: Range<usize>,
    cols: Range<usize>,
}

impl Field {
    /// Number of pixels; at least one.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.cols.len()
    }

    /// Where the channels of each pixel start, row by row.
    #[inline(always)]
    pub(super) fn pixels(&self, shape: &Pool2dShape) -> impl Iterator<Item = usize> {
        let (w, c, cols) = (shape.w.input, shape.c, self.cols.clone());
        self.rows.clone().flat_map(
            #[inline(always)]
            move |row| cols.clone().map(move |col| (row * w + col) * c),
        )
    }
}

/// The field of every output pixel of a batch of `n`.
#[inline(always)]
pub(super) fn fields(shape: &Pool2dShape, n: usize) -> impl Iterator<Item = Field> {
    (0..n).flat_map(move |sample| {
        let above = sample * shape.h.input;
        (0..shape.h.output).flat_map(move |oy| {
            let rows = shape.h.field(oy);
            let rows = above + rows.start..above + rows.end;
            (0..shape.w.output).map(move |ox| Field { rows: rows.clone(), cols: shape.w.field(ox) })
        })
    })
}

/// The vector of `dx` from `at` on, cut where the batch ends. Lanes past the last channel belong to the next pixel; kernels
/// read them for speed and add zero to them.
#[inline(always)]
pub(super) fn vector_mut<S: Simd>(_: S, dx: &mut [f32], at: usize) -> &mut [f32] {
    let end = dx.len().min(at + S::LANES);
    &mut dx[at..end]
}

pub(super) fn check(shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32]) {
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(y, batch_len(n, shape.y_len()));
}
