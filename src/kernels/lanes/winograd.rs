//! 2-D convolution, one image a lane, with fewer multiplications than its formula has.
//!
//! Winograd's minimal filtering `F(4, k)`: four neighbouring outputs of a row of `k` taps come from `k + 3` products instead
//! of `4 k`. For `k` = 3 and 5, stride 1 and dilation 1 along the columns' axis; along the rows', anything that
//! [`is_supported`] accepts. Tiles of four columns go to the values of polynomials at points and back; between, each
//! point is a convolution of columns, which [`conv2d`] computes.
//!
//! The formula and the shapes are those of [`conv2d`]. With `*` the product point by point, `A`, `B` and `G` as below:
//!
//! | | |
//! |---|---|
//! | output | `y = A^T ((G w) * (B^T x))` |
//! | gradient of the input | `dx = B ((G w) * (A dy))` |
//! | gradient of the weights | `dw = G^T ((B^T x) * (A dy))` |
//!
//! `A`, `G`: values of polynomials of four and of `k` coefficients at 0, 1, -1, 2, -2, for `k` = 5 also at 1/2, -1/2, and "at
//! infinity", which is the leading coefficient. `B^T`: the transpose of the interpolation from values there.
//!
//! # Error
//! At most `(K + 4 (k + 3)) 2^-24` times the same formula on the absolute values of everything in it, where `K` terms are summed
//! between the transforms: `kh in_c / groups + 1` of the output, `kh out_c / groups + 2` of the gradient of the input, to which
//! two tiles add, and `n oh tiles + 1` of that of the weights. That is the classical bound: each sum of so many terms rounds as
//! often. Every pass has three transforms of at most `k + 3` terms; the fourth `k + 3` stands for what strips of tall images
//! add to each other. A NaN or an infinity taints all
//! columns of its tile. An output that is zero for want of inputs and bias may be off as well, unless sums are short (at most
//! 16 rows of taps times channels, as in a first layer): there it is zero.
//!
//! # Source
//! Lavin, Gray: [Fast Algorithms for Convolutional Neural Networks](https://arxiv.org/abs/1509.09308) (2015).

use std::ops::Range;

use super::points::{
    AddInputGradients, Inputs, Magnitudes, OutputGradients, Outputs, TILE, weight_gradients, weights as weight_values,
};
use super::tile::{Transform, Vectors, starts, transform};
use super::{conv2d, weights};
use crate::kernels::check_len;
use crate::shape::{Axis, Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, Simd, dispatch};

/// Floats that the values of a strip of tiles should not exceed, so that they stay in the cache.
const STRIP_LEN: usize = 144 * 1024;

/// The least output rows of a strip: rows at its edges have values in two strips.
const MIN_ROWS: usize = 8;

/// The most terms of a short sum.
const SHORT: usize = 16;

/// Whether sums have so few terms that values of the output cost more than they.
fn is_short(shape: &Conv2dShape) -> bool {
    shape.h.kernel * shape.in_c <= SHORT && (shape.h.dilation, shape.groups) == (1, 1)
}

/// Whether a convolution can be computed so: three or five taps a row, stride and dilation 1 along it, every window with
/// a place in the image, and values that fit the address space.
pub fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    checked_len(level, shape).is_some()
}

/// Floats of scratch.
///
/// # Panics
/// If the convolution is not supported.
pub fn scratch_len(level: Level, shape: &Conv2dShape) -> usize {
    checked_len(level, shape).expect("a convolution that is supported")
}

/// The same, if the convolution is supported.
fn checked_len(level: Level, shape: &Conv2dShape) -> Option<usize> {
    let Conv2dShape { h, w, .. } = shape;
    if !matches!((w.kernel, w.stride, w.dilation), (3 | 5, 1, 1)) || !h.is_on_input() || !w.is_on_input() {
        return None;
    }
    let points = points(shape);
    let copies = if is_short(shape) { 2 } else { 1 };
    let weights = (shape.w_len() / shape.w.kernel).checked_mul(copies * points)?;
    let (rows, tiles) = strip_size(level.lanes(), shape)?;
    let (band, _) = shape.h.band(0..rows);
    let longest = Axis { input: shape.h.input.min(band.input + band.before), ..band };
    strip_len(level.lanes(), shape, &longest)?
        .checked_mul(tiles)?
        .checked_add(weights + 2 * points * level.lanes())
        .filter(|&len| len <= MAX_LEN)
}

/// Products of a row of outputs and a row of taps, where there would be one for each pair of them.
pub(crate) fn products_of_row(shape: &Conv2dShape) -> usize {
    shape.w.output.div_ceil(TILE).saturating_mul(points(shape))
}

fn points(shape: &Conv2dShape) -> usize {
    shape.w.kernel + TILE - 1
}

/// Floats of the values of a tile of columns with these rows, before and after the products.
fn strip_len(lanes: usize, shape: &Conv2dShape, rows: &Axis) -> Option<usize> {
    let [inputs, outputs] = [rows.input.checked_mul(shape.in_c)?, rows.output.checked_mul(shape.out_c)?];
    let magnitudes = if is_short(shape) { inputs.checked_mul(TILE)? } else { 0 };
    let values = inputs.checked_add(outputs)?.checked_mul(points(shape))?;
    values.checked_add(magnitudes)?.checked_mul(lanes)
}

/// Output rows and tiles of a strip.
fn strip_size(lanes: usize, shape: &Conv2dShape) -> Option<(usize, usize)> {
    let (rows, tiles) = (shape.h.output, shape.w.output.div_ceil(TILE));
    let len = strip_len(lanes, shape, &shape.h)?;
    let bands = len.div_ceil(STRIP_LEN).min(rows.div_ceil(MIN_ROWS));
    Some((rows.div_ceil(bands), (STRIP_LEN / len).clamp(1, tiles)))
}

/// The output, with bias `b` if there is one, and nothing below `floor`: 0 for ReLU, negative infinity for no activation.
///
/// # Panics
/// If the convolution is not supported, or a slice has not the length of its shape.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    check(level, shape, n, [x, w, y, scratch]);
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    if n == 0 {
        return;
    }
    match points(shape) {
        6 => Winograd::<6> { level, shape }.forward(x, w, Outputs { b, floor }, y, scratch),
        _ => Winograd::<8> { level, shape }.forward(x, w, Outputs { b, floor }, y, scratch),
    }
}

/// The gradient `dx` of the input.
///
/// # Panics
/// See [`forward`].
pub fn backward_input(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    check(level, shape, n, [dx, w, dy, scratch]);
    if n == 0 {
        return;
    }
    match points(shape) {
        6 => Winograd::<6> { level, shape }.backward_input(dy, w, dx, scratch),
        _ => Winograd::<8> { level, shape }.backward_input(dy, w, dx, scratch),
    }
}

/// Adds to the gradients `dw` of the weights and, if there is one, `db` of the bias.
///
/// # Panics
/// See [`forward`].
#[allow(clippy::too_many_arguments)]
pub fn backward_params(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    check(level, shape, n, [x, dw, dy, scratch]);
    if let Some(db) = db {
        weights::bias(level, shape.out_c, dy, db);
    }
    if n == 0 {
        return;
    }
    match points(shape) {
        6 => Winograd::<6> { level, shape }.backward_params(x, dy, dw, scratch),
        _ => Winograd::<8> { level, shape }.backward_params(x, dy, dw, scratch),
    }
}

fn check(level: Level, shape: &Conv2dShape, n: usize, [x, w, y, scratch]: [&[f32]; 4]) {
    assert!(is_supported(level, shape), "a convolution that winograd does not support");
    check_len!(x, batch_len(batch_len(n, level.lanes()), shape.x_len()));
    check_len!(w, shape.w_len());
    check_len!(y, batch_len(batch_len(n, level.lanes()), shape.y_len()));
    check_len!(scratch, scratch_len(level, shape));
}

/// Some tiles of some output rows.
struct Strip {
    /// One column of it.
    column: Conv2dShape,
    tiles: usize,
    inputs: Side,
    outputs: Side,
}

impl Strip {
    /// Where the values of its inputs and outputs lie.
    fn split<'a>(&self, scratch: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32]) {
        let (inputs, rest) = scratch.split_at_mut(self.inputs.points * self.inputs.stride());
        (inputs, &mut rest[..self.outputs.points * self.outputs.stride()])
    }
}

/// What a strip covers of an image, on one side of the convolution.
struct Side {
    lanes: usize,
    points: usize,
    tiles: Range<usize>,
    first_row: usize,
    rows: usize,
    channels: usize,
    /// Columns of the image, and of the padding before.
    width: usize,
    before: usize,
    /// Columns of a tile.
    most: usize,
}

/// Where the vectors of a tile lie.
type Place = fn(&Side, usize) -> Vectors;

impl Side {
    /// The columns of a tile.
    fn image(&self, tile: usize) -> Vectors {
        let (start, step) = (tile * TILE, self.channels * self.lanes);
        let present = self.before.saturating_sub(start)..self.most.min(self.width + self.before - start);
        let col = start + present.start - self.before;
        let at = (self.first_row * self.width + col) * step;
        Vectors { present, at, step, row: self.width * step, col: self.lanes }
    }

    /// The values of a tile.
    fn values(&self, tile: usize) -> Vectors {
        let row = self.channels * self.lanes;
        let at = (tile - self.tiles.start) * self.rows * row;
        Vectors { present: 0..self.points, at, step: self.stride(), row, col: self.lanes }
    }

    /// The values of a tile, those of a pixel beside each other.
    fn values_beside(&self, tile: usize) -> Vectors {
        self.beside(tile, self.points)
    }

    /// A number for each output of a tile, those of a pixel beside each other.
    fn tile_beside(&self, tile: usize) -> Vectors {
        self.beside(tile, TILE)
    }

    fn beside(&self, tile: usize, count: usize) -> Vectors {
        let (step, col) = (self.lanes, count * self.lanes);
        let row = self.channels * col;
        Vectors { present: 0..count, at: (tile - self.tiles.start) * self.rows * row, step, row, col }
    }

    /// The values at each point.
    fn planes<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        values.chunks_exact(self.stride()).map(|values| &values[..self.plane()])
    }

    fn planes_mut<'a>(&self, values: &'a mut [f32]) -> impl Iterator<Item = &'a mut [f32]> {
        values.chunks_exact_mut(self.stride()).map(|values| &mut values[..self.plane()])
    }

    /// How far apart those at neighbouring points lie: not a power of two, or they would share cache lines.
    fn stride(&self) -> usize {
        self.plane() + self.lanes
    }

    /// Floats of the values of all tiles at one point.
    fn plane(&self) -> usize {
        self.tiles.len() * self.rows * self.channels * self.lanes
    }
}

/// A convolution by values at `N` points.
struct Winograd<'a, const N: usize> {
    level: Level,
    shape: &'a Conv2dShape,
}

impl<const N: usize> Winograd<'_, N> {
    fn forward(&self, x: &[f32], w: &[f32], outputs: Outputs<'_>, y: &mut [f32], scratch: &mut [f32]) {
        if is_short(self.shape) {
            return self.forward_at_once(x, w, outputs, y, scratch);
        }
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        self.weight_values(w, weights);
        for (x, y) in x.chunks_exact(self.x_block()).zip(y.chunks_exact_mut(self.y_block())) {
            for strip in self.strips() {
                let (u, m) = strip.split(scratch);
                self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values));
                for ((w, u), m) in weights
                    .chunks_exact(self.weights_len())
                    .zip(strip.inputs.planes(u))
                    .zip(strip.outputs.planes_mut(m))
                {
                    conv2d::forward(self.level, &strip.column, strip.tiles, u, w, None, f32::NEG_INFINITY, m);
                }
                self.map::<_, N, TILE>(&outputs, &strip.outputs, (m, Side::values), (y, Side::image));
            }
        }
    }

    /// The same for short sums, without values of the output in memory. Where all inputs and the bias are zero, so is the
    /// output: images are often empty at their borders, and a rounding would decide on which side of a ReLU they lie.
    fn forward_at_once(&self, x: &[f32], w: &[f32], outputs: Outputs<'_>, y: &mut [f32], scratch: &mut [f32]) {
        let zeros = outputs.b.is_none_or(|b| b.contains(&0.0));
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        let (planes, scratch) = scratch.split_at_mut(N * self.weights_len());
        self.weight_values(w, planes);
        for (weight, values) in weights.chunks_exact_mut(N).enumerate() {
            for (value, plane) in values.iter_mut().zip(planes.chunks_exact(self.weights_len())) {
                *value = plane[weight];
            }
        }
        for (x, y) in x.chunks_exact(self.x_block()).zip(y.chunks_exact_mut(self.y_block())) {
            for strip in self.strips() {
                let (u, rest) = scratch.split_at_mut(N * strip.inputs.plane());
                let magnitudes = &mut rest[..TILE * strip.inputs.plane()];
                self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values_beside));
                if zeros {
                    let to = (&mut *magnitudes, Side::tile_beside as Place);
                    self.map::<_, N, TILE>(&Magnitudes, &strip.inputs, (x, Side::image), to);
                }
                let values = [&*u, &*magnitudes, &*weights];
                dispatch!(self.level, s => if zeros {
                    self.strip_at_once::<_, true>(s, &strip, values, &outputs, y);
                } else {
                    self.strip_at_once::<_, false>(s, &strip, values, &outputs, y);
                });
            }
        }
    }

    /// All tiles of a strip. `ZEROS` says that outputs may have to be zero.
    #[inline(always)]
    fn strip_at_once<S: Simd, const ZEROS: bool>(
        &self,
        s: S,
        strip: &Strip,
        values: [&[f32]; 3],
        outputs: &Outputs<'_>,
        y: &mut [f32],
    ) {
        for tile in strip.outputs.tiles.clone() {
            // As many channels as there are registers for the values of.
            match (S::LANES, N, self.shape.out_c) {
                (16, 6, 4..) => self.tile_at_once::<_, 4, ZEROS>(s, strip, tile, values, outputs, y),
                (16, 8, 3..) => self.tile_at_once::<_, 3, ZEROS>(s, strip, tile, values, outputs, y),
                (_, 6, 2..) => self.tile_at_once::<_, 2, ZEROS>(s, strip, tile, values, outputs, y),
                _ => self.tile_at_once::<_, 1, ZEROS>(s, strip, tile, values, outputs, y),
            }
        }
    }

    /// All rows and channels of a tile, `C` channels at a time.
    #[inline(always)]
    fn tile_at_once<S: Simd, const C: usize, const ZEROS: bool>(
        &self,
        s: S,
        strip: &Strip,
        tile: usize,
        [u, magnitudes, w]: [&[f32]; 3],
        outputs: &Outputs<'_>,
        y: &mut [f32],
    ) {
        let (rows, place, term) = (&strip.column.w, strip.outputs.image(tile), N * S::LANES);
        let floor = s.splat(outputs.floor);
        let (u, magnitudes) =
            (&u[strip.inputs.values_beside(tile).at..], &magnitudes[strip.inputs.tile_beside(tile).at..]);
        for row in 0..rows.output {
            let taps = rows.taps(row);
            let source = (row * rows.stride + taps.start - rows.before) * self.shape.in_c;
            let terms = taps.len() * self.shape.in_c;
            let u = &u[source * term..][..terms * term];
            let mut magnitude = [s.splat(1.0); TILE];
            if ZEROS {
                magnitude = [s.splat(0.0); TILE];
                for terms in magnitudes[source * TILE * S::LANES..].chunks_exact(TILE * S::LANES).take(terms) {
                    for (sum, term) in magnitude.iter_mut().zip(terms.chunks_exact(S::LANES)) {
                        *sum = s.add(*sum, s.load(term));
                    }
                }
            }
            let w = &w[taps.start * self.run() * N..];
            for channel in starts(self.shape.out_c, C) {
                let mut sums = [[s.splat(0.0); N]; C];
                for (u, w) in u.chunks_exact(term).zip(w.chunks_exact(self.shape.out_c * N)) {
                    let w = &w[channel * N..][..C * N];
                    let mut values = [s.splat(0.0); N];
                    for (value, u) in values.iter_mut().zip(u.chunks_exact(S::LANES)) {
                        *value = s.load(u);
                    }
                    for (sums, w) in sums.iter_mut().zip(w.chunks_exact(N)) {
                        for ((sum, &value), &w) in sums.iter_mut().zip(&values).zip(w) {
                            *sum = s.mul_add(s.splat(w), value, *sum);
                        }
                    }
                }
                for (c, sums) in sums.iter().enumerate() {
                    let at = place.at + row * place.row + (channel + c) * S::LANES;
                    let bias = s.max(floor, s.splat(outputs.b.map_or(0.0, |b| b[channel + c])));
                    let tile: [S::V; TILE] = outputs.apply(s, channel + c, sums);
                    for (i, mut v) in tile.into_iter().enumerate().take(place.present.end) {
                        if ZEROS {
                            v = s.select(s.le(magnitude[i], s.splat(0.0)), bias, v);
                        }
                        s.store(v, &mut y[at + i * place.step..]);
                    }
                }
            }
        }
    }

    fn backward_input(&self, dy: &[f32], w: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
        let (weights, scratch) = scratch.split_at_mut(N * self.weights_len());
        self.weight_values(w, weights);
        dx.fill(0.0);
        for (dy, dx) in dy.chunks_exact(self.y_block()).zip(dx.chunks_exact_mut(self.x_block())) {
            for strip in self.strips() {
                let (m, z) = strip.split(scratch);
                self.map::<_, TILE, N>(&OutputGradients, &strip.outputs, (dy, Side::image), (z, Side::values));
                for ((w, z), m) in weights
                    .chunks_exact(self.weights_len())
                    .zip(strip.outputs.planes(z))
                    .zip(strip.inputs.planes_mut(m))
                {
                    conv2d::backward_input(self.level, &strip.column, strip.tiles, z, w, m);
                }
                self.map::<_, N, N>(&AddInputGradients, &strip.inputs, (m, Side::values), (dx, Side::image));
            }
        }
    }

    fn backward_params(&self, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
        let (gradients, scratch) = scratch.split_at_mut(N * self.weights_len());
        gradients.fill(0.0);
        for (x, dy) in x.chunks_exact(self.x_block()).zip(dy.chunks_exact(self.y_block())) {
            for strip in self.strips() {
                let (u, z) = strip.split(scratch);
                self.map::<_, N, N>(&Inputs, &strip.inputs, (x, Side::image), (u, Side::values));
                self.map::<_, TILE, N>(&OutputGradients, &strip.outputs, (dy, Side::image), (z, Side::values));
                for ((dw, u), z) in gradients
                    .chunks_exact_mut(self.weights_len())
                    .zip(strip.inputs.planes(u))
                    .zip(strip.outputs.planes(z))
                {
                    conv2d::backward_params(self.level, &strip.column, strip.tiles, u, z, dw, None);
                }
            }
        }
        self.add_weight_gradients(gradients, dw);
    }

    /// Maps every tile of a strip on one side, from a place to another.
    fn map<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        map: &T,
        side: &Side,
        (x, from): (&[f32], Place),
        (y, to): (&mut [f32], Place),
    ) {
        dispatch!(self.level, s => {
            for tile in side.tiles.clone() {
                transform(s, map, [side.rows, side.channels], (x, &from(side, tile)), (&mut *y, &to(side, tile)));
            }
        })
    }

    /// The strips of a block, from the top.
    fn strips(&self) -> impl Iterator<Item = Strip> {
        let (level, shape, all_tiles) = (self.level, *self.shape, self.shape.w.output.div_ceil(TILE));
        let (rows, tiles) = strip_size(level.lanes(), &shape).expect("a convolution that is supported");
        (0..shape.h.output).step_by(rows).flat_map(move |row| {
            let (band, first_row) = shape.h.band(row..shape.h.output.min(row + rows));
            (0..all_tiles).step_by(tiles).map(move |tile| {
                let tiles = tile..all_tiles.min(tile + tiles);
                let (lanes, points, Axis { input: width, before, .. }) = (level.lanes(), N, shape.w);
                Strip {
                    column: shape.column(band),
                    tiles: tiles.len(),
                    inputs: Side {
                        lanes,
                        points,
                        tiles: tiles.clone(),
                        first_row,
                        rows: band.input,
                        channels: shape.in_c,
                        width,
                        before,
                        most: N,
                    },
                    outputs: Side {
                        lanes,
                        points,
                        tiles,
                        first_row: row,
                        rows: band.output,
                        channels: shape.out_c,
                        width: shape.w.output,
                        before: 0,
                        most: TILE,
                    },
                }
            })
        })
    }

    fn weight_values(&self, w: &[f32], values: &mut [f32]) {
        let (taps, run) = (self.shape.w.kernel, self.run());
        dispatch!(self.level, s => {
            for (row, w) in w.chunks_exact(taps * run).enumerate() {
                for part in parts(run, self.level.lanes()) {
                    let mut taps = [s.splat(0.0); N];
                    for (tap, w) in taps.iter_mut().zip(w.chunks_exact(run)) {
                        *tap = s.load_padded(&w[part.clone()], 0.0);
                    }
                    for (v, values) in weight_values(s, &taps).into_iter().zip(values.chunks_exact_mut(self.weights_len())) {
                        s.store_cut(v, &mut values[row * run..][part.clone()]);
                    }
                }
            }
        })
    }

    fn add_weight_gradients(&self, gradients: &[f32], dw: &mut [f32]) {
        let (taps, run) = (self.shape.w.kernel, self.run());
        dispatch!(self.level, s => {
            for (row, dw) in dw.chunks_exact_mut(taps * run).enumerate() {
                for part in parts(run, self.level.lanes()) {
                    let mut values = [s.splat(0.0); N];
                    for (v, gradients) in values.iter_mut().zip(gradients.chunks_exact(self.weights_len())) {
                        *v = s.load_padded(&gradients[row * run..][part.clone()], 0.0);
                    }
                    for (v, dw) in weight_gradients(s, &values).into_iter().zip(dw.chunks_exact_mut(run)) {
                        let dw = &mut dw[part.clone()];
                        s.store_cut(s.add(v, s.load_padded(dw, 0.0)), dw);
                    }
                }
            }
        })
    }

    /// Weights of one tap.
    fn run(&self) -> usize {
        self.shape.in_c / self.shape.groups * self.shape.out_c
    }

    /// Weights at one point: a tap of each row.
    fn weights_len(&self) -> usize {
        self.shape.h.kernel * self.run()
    }

    fn x_block(&self) -> usize {
        self.shape.x_len() * self.level.lanes()
    }

    fn y_block(&self) -> usize {
        self.shape.y_len() * self.level.lanes()
    }
}

/// Parts of at most `size` that cover `len`.
fn parts(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Shape, Window};

    /// The geometries that tests/winograd.rs takes for images of many strips are such.
    #[test]
    fn large_images_take_several_strips() {
        let strips = |(h, w, c), filters, window: &Window| {
            let shape = Conv2dShape::new(Shape::hwc(h, w, c), filters, 1, window).unwrap();
            let (rows, tiles) = strip_size(8, &shape).unwrap();
            (shape.h.output.div_ceil(rows), shape.w.output.div_ceil(TILE).div_ceil(tiles), is_short(&shape))
        };
        let tall = strips((150, 9, 40), 24, &Window { stride: (2, 1).into(), ..Window::new((5, 3)) });
        assert!(matches!(tall, (3.., _, false)), "{tall:?}");
        let wide = strips((40, 90, 3), 6, &Window::new(5));
        assert!(matches!(wide, (1, 2.., true)), "{wide:?}");
        let short = strips((400, 7, 3), 70, &Window::new(3));
        assert!(matches!(short, (3.., _, true)), "{short:?}");
    }
}
