//! What both poolings share: windows, and the pixels under them.

use crate::kernels::check_len;
use crate::kernels::tile::starts;
use crate::shape::{Pool2dShape, batch_len};
use crate::simd::Simd;

/// The pixels of a batch under one window, and the output pixel.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// Where the channels of the output start.
    pub output: usize,
    /// Where those of the first pixel start, and where its row of the image ends.
    first: usize,
    row_end: usize,
    rows: usize,
    cols: usize,
    /// How far apart rows and pixels lie.
    row: usize,
    pixel: usize,
}

impl Field {
    /// Number of pixels; at least one.
    pub(super) fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Calls `visit` with where the channels of each pixel start and where its row ends, row by row.
    #[inline(always)]
    pub(super) fn pixels(&self, visit: impl FnMut(usize, usize)) {
        // For the compiler to unroll.
        match (self.rows, self.cols) {
            (2, 2) => Field { rows: 2, cols: 2, ..*self }.pixels_in_order(visit),
            _ => self.pixels_in_order(visit),
        }
    }

    #[inline(always)]
    fn pixels_in_order(&self, mut visit: impl FnMut(usize, usize)) {
        for row in 0..self.rows {
            for col in 0..self.cols {
                visit(self.first + row * self.row + col * self.pixel, self.row_end + row * self.row);
            }
        }
    }
}

/// Calls `visit` with every window on a batch of `n`, in the order of the output.
#[inline(always)]
pub(super) fn for_each_field(shape: &Pool2dShape, n: usize, mut visit: impl FnMut(Field)) {
    let (pixel, row) = (shape.c, shape.w.input * shape.c);
    let mut output = 0;
    for sample in 0..n {
        for oy in 0..shape.h.output {
            let rows = shape.h.field(oy);
            let start = (sample * shape.h.input + rows.start) * row;
            for ox in 0..shape.w.output {
                let cols = shape.w.field(ox);
                let first = start + cols.start * pixel;
                let (rows, cols) = (rows.len(), cols.len());
                visit(Field { output, first, row_end: start + row, rows, cols, row, pixel });
                output += pixel;
            }
        }
    }
}

/// Where vectors start that cover the channels of a pixel. The last one overlaps the one before it; if the channels are fewer
/// than a vector, it reaches into the next pixel.
#[inline(always)]
pub(super) fn vectors<S: Simd>(_: S, channels: usize) -> impl Iterator<Item = usize> {
    starts(channels, S::LANES.min(channels))
}

/// The vector of `y` from `at` on, cut at `end`. Lanes past the last channel belong to the next pixel: kernels that write pixels
/// in order leave there what that one will replace, others add zero to them.
#[inline(always)]
pub(super) fn vector_mut<S: Simd>(_: S, y: &mut [f32], at: usize, end: usize) -> &mut [f32] {
    let end = end.min(at + S::LANES);
    &mut y[at..end]
}

pub(super) fn check(shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32]) {
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(y, batch_len(n, shape.y_len()));
}
