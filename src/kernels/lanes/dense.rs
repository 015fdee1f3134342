//! Dense layers, one sample a lane: `y[o] = b[o] + sum_i x[i] w[i][o]`.
//!
//! # Shapes
//! | | |
//! |---|---|
//! | `x`, `dx` | `[n][in][lane]` |
//! | `w`, `dw` | `[in][out]` |
//! | `b`, `db` | `[out]` |
//! | `y`, `dy` | `[n][out][lane]` |
//! | `scratch` | [`scratch_len`] |

use super::conv2d;
use crate::kernels::tile::{self, MAX_SUMS, Steps, Terms, best_size, starts};
use crate::kernels::{check_len, update};
use crate::shape::{DenseShape, batch_len};
use crate::simd::{Level, MAX_LANES, Simd, dispatch};

/// The output, with bias `b` if there is one, and nothing below `floor`: 0 for ReLU, negative infinity for no activation.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    level: Level,
    shape: &DenseShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
) {
    check(level, shape, n, x, w, y);
    conv2d::forward(level, &shape.pixel(), n, x, w, b, floor, y);
}

/// The gradient `dx` of the input.
///
/// # Panics
/// If a slice has not the length of its shape.
pub fn backward_input(level: Level, shape: &DenseShape, n: usize, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    check(level, shape, n, dx, w, dy);
    conv2d::backward_input(level, &shape.pixel(), n, dy, w, dx);
}

/// Floats of scratch that [`backward_params`] needs.
///
/// # Panics
/// If they overflow the address space.
pub fn scratch_len(level: Level, shape: &DenseShape, n: usize) -> usize {
    batch_len(batch_len(n, level.lanes()), row_len(level, shape.outputs))
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// If a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn backward_params(
    level: Level,
    shape: &DenseShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    check(level, shape, n, x, dw, dy);
    let (x_block, dy_block) = (shape.inputs * level.lanes(), shape.outputs * level.lanes());
    check_len!(scratch, scratch_len(level, shape, n));
    let row = row_len(level, shape.outputs);
    for (dy, rows) in dy.chunks_exact(dy_block).zip(scratch.chunks_exact_mut(row * level.lanes())) {
        transpose(level, shape.outputs, dy, rows);
    }
    let rows = Blocks { values: scratch, stride: row * level.lanes() };
    if let Some(db) = db {
        check_len!(db, shape.outputs);
        add_bias(level, shape.outputs, 0, rows, db);
    }
    add_products(level, shape.outputs, Blocks { values: x, stride: x_block }, rows, dw);
}

fn check(level: Level, shape: &DenseShape, n: usize, x: &[f32], w: &[f32], y: &[f32]) {
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.inputs));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.outputs));
}

/// Floats of a row of `outputs` that whole vectors fill.
pub(crate) fn row_len(level: Level, outputs: usize) -> usize {
    outputs.next_multiple_of(level.lanes())
}

/// An output gradient `[out][lane]` as rows `[lane][row_len]`, filled up with zeros.
pub(crate) fn transpose(level: Level, outputs: usize, dy: &[f32], rows: &mut [f32]) {
    let row = row_len(level, outputs);
    check_len!(rows, level.lanes() * row);
    dispatch!(level, s => transpose_squares(s, row, dy, rows))
}

#[inline(always)]
fn transpose_squares<S: Simd>(s: S, row: usize, dy: &[f32], rows: &mut [f32]) {
    let mut square = [0.0; MAX_LANES * MAX_LANES];
    let square = &mut square[..S::LANES * S::LANES];
    for (dy, at) in dy.chunks(S::LANES * S::LANES).zip((0..).step_by(S::LANES)) {
        square[..dy.len()].copy_from_slice(dy);
        square[dy.len()..].fill(0.0);
        s.transpose(square);
        for (rows, square) in rows.chunks_exact_mut(row).zip(square.chunks_exact(S::LANES)) {
            s.store(s.load(square), &mut rows[at..]);
        }
    }
}

/// A part of each of some blocks of samples.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    /// From the part of the first block on.
    pub values: &'a [f32],
    /// Floats between blocks.
    pub stride: usize,
}

impl<'a> Blocks<'a> {
    /// Parts of so many blocks.
    fn parts(self, blocks: usize) -> impl Iterator<Item = Self> {
        self.values.chunks(blocks.saturating_mul(self.stride)).map(move |values| Blocks { values, ..self })
    }
}

/// Floats of the rows of some samples, a vector of each: so many are summed at a time, so that those of a tile stay in the nearest
/// cache, beside the inputs.
const COLUMN: usize = 1024;

/// Adds the products of inputs `x[in][lane]` and rows of the output gradient, summed over all samples, to `dw[in][out]`.
pub(crate) fn add_products(level: Level, outputs: usize, x: Blocks<'_>, rows: Blocks<'_>, dw: &mut [f32]) {
    let blocks = COLUMN / (level.lanes() * level.lanes());
    dispatch!(level, s => {
        for (x, rows) in x.parts(blocks).zip(rows.parts(blocks)) {
            outer(s, outputs, x, rows, dw);
        }
    })
}

#[inline(always)]
fn outer<S: Simd>(s: S, outputs: usize, x: Blocks<'_>, rows: Blocks<'_>, dw: &mut [f32]) {
    let (inputs, vectors) = (dw.len() / outputs, outputs.div_ceil(S::LANES));
    if S::LANES == 16 {
        match (best_size(inputs, [6, 1]), best_size(vectors, [4, 3, 1])) {
            (6, 4) => outer_tiles::<S, 6, 4>(s, outputs, x, rows, dw),
            (6, 3) => outer_tiles::<S, 6, 3>(s, outputs, x, rows, dw),
            (6, _) => outer_tiles::<S, 6, 1>(s, outputs, x, rows, dw),
            _ => outer_tiles::<S, 1, 1>(s, outputs, x, rows, dw),
        }
    } else {
        match (best_size(inputs, [6, 1]), best_size(vectors, [2, 1])) {
            (6, 2) => outer_tiles::<S, 6, 2>(s, outputs, x, rows, dw),
            (6, _) => outer_tiles::<S, 6, 1>(s, outputs, x, rows, dw),
            _ => outer_tiles::<S, 1, 1>(s, outputs, x, rows, dw),
        }
    }
}

/// Tiles of `C` inputs and `P` vectors of outputs.
#[inline(always)]
fn outer_tiles<S: Simd, const C: usize, const P: usize>(
    s: S,
    outputs: usize,
    x: Blocks<'_>,
    rows: Blocks<'_>,
    dw: &mut [f32],
) {
    let (blocks, row) = (x.values.len().div_ceil(x.stride), outputs.next_multiple_of(S::LANES));
    let loops = [
        Steps { count: blocks, x: rows.stride as isize, w: x.stride },
        Steps { count: 1, x: 0, w: 0 },
        // Opaque, since eight terms unrolled do not fit the registers of AVX2.
        Steps { count: std::hint::black_box(S::LANES), x: row as isize, w: 1 },
    ];
    for (new_vector, vector) in (0..).step_by(P).zip(starts(row / S::LANES, P)) {
        for (new_input, input) in (0..).step_by(C).zip(starts(dw.len() / outputs, C)) {
            let mut sums = [[s.splat(0.0); P]; C];
            let (from, to) = (vector * S::LANES, input * S::LANES);
            let terms = Terms { x: from, w: to, loops, pixel: S::LANES, channel: S::LANES };
            tile::gather::<S, C, P, false>(s, &mut sums, rows.values, x.values, &terms);
            if (input, vector) == (new_input, new_vector) && from + P * S::LANES <= outputs {
                tile::add(s, &sums, &mut dw[input * outputs + from..], [outputs, S::LANES]);
                continue;
            }
            // Through memory, where a tile of any part of them can be looked up.
            let mut values = [0.0; MAX_SUMS * MAX_LANES];
            tile::add(s, &sums, &mut values, [P * S::LANES, S::LANES]);
            // What lies before the new ones had its turn in the tile before.
            for c in new_input - input..C {
                let at = new_vector * S::LANES..outputs.min(from + P * S::LANES);
                let sums = &values[c * P * S::LANES..][at.start - from..at.end - from];
                for (dw, sum) in dw[(input + c) * outputs..][at].iter_mut().zip(sums) {
                    *dw += sum;
                }
            }
        }
    }
}

/// Adds rows of the output gradient, from output `first` on, summed over all samples, to `db`.
pub(crate) fn add_bias(level: Level, outputs: usize, first: usize, rows: Blocks<'_>, db: &mut [f32]) {
    let row = row_len(level, outputs);
    for rows in rows.parts(1) {
        for row in rows.values[..row * level.lanes()].chunks_exact(row) {
            update::add(level, &row[first..][..db.len()], db);
        }
    }
}
