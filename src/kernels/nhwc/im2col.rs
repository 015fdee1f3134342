//! Receptive fields as rows of a matrix (im2col), and rows of a matrix added back to receptive fields (col2im).
//!
//! A *column matrix* has a row `[kh][kw][in_c / groups]` for every output pixel of the batch.

use std::ops::Range;

use crate::shape::{Axis, Conv2dShape};
use crate::simd::{Level, copy, dispatch};

/// Output pixels of a batch, seen by one group of channels.
pub(super) struct Fields<'a> {
    pub(super) shape: &'a Conv2dShape,
    pub(super) group: usize,
    pub(super) pixels: Range<usize>,
}

impl Fields<'_> {
    /// Writes the receptive fields in the batch `x` to `columns`, zeros where they leave the image.
    pub(super) fn im2col(&self, level: Level, x: &[f32], columns: &mut [f32]) {
        let padded = [self.shape.h, self.shape.w].iter().any(|axis| axis.before > 0 || axis.after > 0);
        dispatch!(level, _s => {
            for (pixel, column) in self.pixels().zip(columns.chunks_exact_mut(self.shape.terms())) {
                if padded {
                    column.fill(0.0);
                }
                pixel.runs(self.shape, self.group, #[inline(always)] |x_at, column_at, len| {
                    // A short run may spill over into the next one, which comes after it.
                    match (x[x_at..].first_chunk::<8>(), column[column_at..].first_chunk_mut::<8>()) {
                        (Some(x), Some(column)) if len <= 8 && !padded => *column = *x,
                        _ => copy(&x[x_at..][..len], &mut column[column_at..][..len]),
                    }
                });
            }
        })
    }

    /// Adds the rows of `columns` to the receptive fields in the batch `dx`.
    pub(super) fn col2im(&self, level: Level, columns: &[f32], dx: &mut [f32]) {
        dispatch!(level, _s => {
            for (pixel, column) in self.pixels().zip(columns.chunks_exact(self.shape.terms())) {
                pixel.runs(self.shape, self.group, #[inline(always)] |x_at, column_at, len| {
                    for (dx, column) in dx[x_at..][..len].iter_mut().zip(&column[column_at..][..len]) {
                        *dx += column;
                    }
                });
            }
        })
    }

    fn pixels(&self) -> impl Iterator<Item = Pixel> + use<> {
        let (oh, ow) = (self.shape.h.output, self.shape.w.output);
        let row = self.pixels.start / ow;
        let first = Pixel { sample: row / oh, oy: row % oh, ox: self.pixels.start % ow };
        let next = move |&Pixel { sample, oy, ox }: &Pixel| {
            Some(match (oy + 1 == oh, ox + 1 == ow) {
                (_, false) => Pixel { sample, oy, ox: ox + 1 },
                (false, true) => Pixel { sample, oy: oy + 1, ox: 0 },
                (true, true) => Pixel { sample: sample + 1, oy: 0, ox: 0 },
            })
        };
        std::iter::successors(Some(first), next).take(self.pixels.len())
    }
}

/// An output pixel of a batch.
struct Pixel {
    sample: usize,
    oy: usize,
    ox: usize,
}

impl Pixel {
    /// Calls `run(x_at, column_at, len)` for every stretch of the receptive field that is contiguous both in the batch
    /// and in a row of the column matrix.
    #[inline(always)]
    fn runs(&self, shape: &Conv2dShape, group: usize, mut run: impl FnMut(usize, usize, usize)) {
        let channels = shape.in_c / shape.groups;
        let (ys, xs) = (shape.h.taps(self.oy), shape.w.taps(self.ox));
        if xs.is_empty() {
            return;
        }
        let position = |axis: &Axis, o: usize, k: usize| o * axis.stride + k * axis.dilation - axis.before;
        let dense = shape.w.dilation == 1 && shape.groups == 1;
        for ky in ys {
            let row = self.sample * shape.h.input + position(&shape.h, self.oy, ky);
            let at = |kx: usize| {
                let pixel = row * shape.w.input + position(&shape.w, self.ox, kx);
                (pixel * shape.in_c + group * channels, (ky * shape.w.kernel + kx) * channels)
            };
            if dense {
                let (x_at, column_at) = at(xs.start);
                run(x_at, column_at, xs.len() * channels);
            } else {
                for kx in xs.clone() {
                    let (x_at, column_at) = at(kx);
                    run(x_at, column_at, channels);
                }
            }
        }
    }
}
