//! What both poolings share: the pixels under each window.

use crate::kernels::check_len;
use crate::layer::Activation;
use crate::shape::{Pool2dShape, batch_len};
use crate::simd::{Level, Simd};

/// The pixels under one window: where the first starts, how many there are, and how far apart they lie, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub first: usize,
    pub rows: usize,
    pub cols: usize,
    pub row: usize,
    pub pixel: usize,
}

impl Window {
    /// Where the pixels start, row by row.
    #[inline(always)]
    pub fn pixels(self) -> impl Iterator<Item = usize> {
        let row = move |row| (0..self.cols).map(move |col| self.first + row * self.row + col * self.pixel);
        (0..self.rows).flat_map(row)
    }

    /// Whether this is the window that nearly everybody uses, for which loops are unrolled.
    #[inline(always)]
    pub fn is_two_by_two(&self) -> bool {
        (self.rows, self.cols) == (2, 2)
    }

    /// The first `len` numbers of each pixel of a two by two window.
    #[inline(always)]
    pub fn corners<'a>(&self, x: &'a [f32], len: usize) -> [&'a [f32]; 4] {
        let [upper, lower] = [self.first, self.first + self.row];
        [upper, upper + self.pixel, lower, lower + self.pixel].map(|at| &x[at..][..len])
    }
}

/// The windows of `n` blocks, in the order of the output.
#[inline(always)]
pub(super) fn windows(lanes: usize, shape: &Pool2dShape, n: usize) -> impl Iterator<Item = Window> {
    let (pixel, row) = (shape.c * lanes, shape.w.input * shape.c * lanes);
    (0..n).flat_map(move |block| {
        (0..shape.h.output).flat_map(move |oy| {
            let rows = shape.h.field(oy);
            (0..shape.w.output).map(move |ox| {
                let cols = shape.w.field(ox);
                let first = (block * shape.h.input + rows.start) * row + cols.start * pixel;
                Window { first, rows: rows.len(), cols: cols.len(), row, pixel }
            })
        })
    })
}

/// Checks that a gradient can go on through an activation pixel by pixel.
pub(super) fn check_activated(shape: &Pool2dShape, activation: Activation, db: &Option<&mut [f32]>) {
    assert!(shape.is_partition(), "windows that share pixels or leave some out");
    assert!(activation != Activation::Softmax, "a softmax is not element-wise");
    if let Some(db) = db {
        check_len!(db, shape.c);
    }
}

pub(super) fn check(level: Level, shape: &Pool2dShape, n: usize, x: &[f32], y: &[f32]) {
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.x_len()));
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.y_len()));
}

/// `y = f(corners)`, a vector at a time.
#[inline(always)]
pub(super) fn map_corners<S: Simd>(s: S, corners: [&[f32]; 4], y: &mut [f32], f: impl Fn([S::V; 4]) -> S::V) {
    let [a, b, c, d] = corners.map(|corner| corner.chunks_exact(S::LANES));
    for ((((y, a), b), c), d) in y.chunks_exact_mut(S::LANES).zip(a).zip(b).zip(c).zip(d) {
        s.store(f([s.load(a), s.load(b), s.load(c), s.load(d)]), y);
    }
}
