//! 2-D convolution with fewer multiplications than its formula has.
//!
//! Winograd's minimal filtering `F(4 x 4, 3 x 3)`: sixteen outputs of nine taps come from 36 products instead of 144. Tiles of
//! four by four outputs go to the values of polynomials at points along both axes and back; between, each point is a product
//! of matrices, tiles times channels, computed as [`direct`](super::direct) computes one of a single tap. Weights are packed
//! once for any number of calls.
//!
//! The formula and the shapes are those of [`conv2d`](super::conv2d). With `*` the product point by point, summed over channels
//! or tiles, and `A`, `B` and `G` as in [`lanes::winograd`](crate::kernels::lanes::winograd) for three taps:
//!
//! | | |
//! |---|---|
//! | output | `y = A^T ((G w G^T) * (B^T x B)) A` |
//! | gradient of the input | the same, of `dy` and of `w` flipped, from output to input channels |
//! | gradient of the weights | `dw = G^T ((B^T x B) * (A dy A^T)) G` |
//!
//! # Error
//! At most `(K + 48) 2^-24` times the same formula on the absolute values of everything in it, where `K` terms are summed between
//! the transforms: `in_c / groups + 1` of the output, `out_c / groups` of the gradient of the input, and the tiles of the whole
//! batch and one more of the gradient of the weights. That is the classical bound: each sum of so many terms rounds as often.
//! Every pass has three transforms of two sums of at most six terms each; what is left of the 48 stands for the rounded factors in
//! `G`. A NaN or an infinity can taint all outputs of each tile that reads it, and no others. An output that is zero for want of inputs
//! may be off as well.
//!
//! # Example
//! ```
//! use convlane::kernels::nhwc::winograd::{self, Pass};
//! use convlane::shape::{Conv2dShape, Padding, Shape, Window};
//! use convlane::Level;
//!
//! let window = Window { padding: Padding::Same, ..Window::new(3) };
//! let (level, shape) = (Level::best(), Conv2dShape::new(Shape::hwc(4, 4, 16), 16, 1, &window)?);
//! let (x, w, mut y) = ([1.0; 256], vec![1.0; shape.w_len()], [0.0; 256]);
//! let mut packed = vec![0.0; winograd::packed_len(level, &shape, Pass::Forward)];
//! let mut scratch = vec![0.0; winograd::scratch_len(level, &shape, Pass::Forward)];
//! winograd::pack(level, &shape, Pass::Forward, &w, &mut packed);
//! winograd::forward(level, &shape, 1, &x, &packed, Some(&[0.5; 16]), 0.0, &mut y, &mut scratch);
//! assert!((y[0] - 64.5).abs() < 1e-3 && (y[5 * 16] - 144.5).abs() < 1e-3);
//! # Ok::<(), convlane::Error>(())
//! ```
//!
//! # Source
//! Lavin, Gray: [Fast Algorithms for Convolutional Neural Networks](https://arxiv.org/abs/1509.09308) (2015).

mod cost;
mod gather;
mod params;
mod tiles;
mod weights;

pub use self::cost::pays;
use self::gather::Gather;
use self::params::Params;
use super::add_rows;
pub use super::direct::Pass;
use super::panels::Weights;
use super::products::Affine;
use crate::kernels::check_len;
use crate::kernels::maps::Patch;
use crate::kernels::points::TILE;
use crate::shape::{Conv2dShape, MAX_LEN, batch_len};
use crate::simd::{Level, dispatch};

/// Taps along a side of a window.
const TAPS: usize = 3;

/// Points along a side, and as many inputs of a tile.
const SIDE: usize = TILE + TAPS - 1;

/// All points.
const POINTS: usize = SIDE * SIDE;

/// Floats between what lies at neighbouring points, lest they share cache lines.
const GAP: usize = 16;

/// Whether a convolution can be computed so: a window of three by three taps, stride and dilation 1, every window with a place in
/// the image, a vector or more of input and of output channels in a group, and lengths that fit the address space.
pub fn is_supported(level: Level, shape: &Conv2dShape) -> bool {
    let Conv2dShape { h, w, in_c, out_c, groups } = shape;
    let axes =
        [h, w].iter().all(|axis| (axis.kernel, axis.stride, axis.dilation) == (TAPS, 1, 1) && axis.is_on_input());
    let fits = |pass| checked_len(level, shape, pass).is_some_and(|len| len <= MAX_LEN);
    let scratch = params::checked_len(shape).is_some_and(|len| len <= MAX_LEN);
    axes && in_c.min(out_c) / groups >= level.lanes() && scratch && fits(Pass::Forward) && fits(Pass::BackwardInput)
}

/// Floats of packed weights.
///
/// # Panics
/// If the convolution is not supported.
pub fn packed_len(level: Level, shape: &Conv2dShape, pass: Pass) -> usize {
    check_supported(level, shape);
    checked_len(level, shape, pass).unwrap_or(MAX_LEN)
}

fn checked_len(level: Level, shape: &Conv2dShape, pass: Pass) -> Option<usize> {
    let weights = weights_of(shape, pass);
    weights::group_len(weights.terms(), weights.channels(), level.lanes())?.checked_mul(shape.groups)
}

fn weights_of(shape: &Conv2dShape, pass: Pass) -> Weights<'_> {
    Weights { shape, transposed: pass == Pass::BackwardInput }
}

/// Floats of scratch that a pass needs, for any number of samples.
///
/// # Panics
/// If the convolution is not supported.
pub fn scratch_len(level: Level, shape: &Conv2dShape, pass: Pass) -> usize {
    check_supported(level, shape);
    Gather::new(level, shape, pass).scratch_len()
}

fn check_supported(level: Level, shape: &Conv2dShape) {
    assert!(is_supported(level, shape), "a convolution that winograd does not support");
}

/// Packs weights for a pass.
///
/// # Panics
/// If the convolution is not supported, or a slice has not the length of its shape.
pub fn pack(level: Level, shape: &Conv2dShape, pass: Pass, w: &[f32], packed: &mut [f32]) {
    check_len!(packed, packed_len(level, shape, pass));
    check_len!(w, shape.w_len());
    let weights = weights_of(shape, pass);
    let panel_len = weights::panel_len(weights.terms(), weights.channels(), level.lanes());
    let group_len = packed.len() / shape.groups;
    for (group, packed) in packed.chunks_exact_mut(group_len).enumerate() {
        for (panel, packed) in packed.chunks_mut(panel_len).enumerate() {
            dispatch!(level, s => weights::pack(s, &weights, w, group, panel, packed));
        }
    }
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
    packed: &[f32],
    b: Option<&[f32]>,
    floor: f32,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let gather = checked(level, shape, n, Pass::Forward, [x, y, packed], b);
    check_len!(scratch, gather.scratch_len());
    gather.run(n, 0..gather.sums.tiles()[0], x, packed, Affine { b, floor }, y, scratch);
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
    packed: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let gather = checked(level, shape, n, Pass::BackwardInput, [dx, dy, packed], None);
    check_len!(scratch, gather.scratch_len());
    gather.run(n, 0..gather.sums.tiles()[0], dy, packed, Affine::NONE, dx, scratch);
}

/// The sums of a pass, after the checks at its door: of `x` and `y`, packed weights, and a bias if there is one.
fn checked(
    level: Level,
    shape: &Conv2dShape,
    n: usize,
    pass: Pass,
    [x, y, packed]: [&[f32]; 3],
    b: Option<&[f32]>,
) -> Gather {
    check_len!(packed, packed_len(level, shape, pass));
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(y, batch_len(n, shape.y_len()));
    if let Some(b) = b {
        check_len!(b, shape.out_c);
    }
    Gather::new(level, shape, pass)
}

/// Floats of scratch that the gradients of weights need, for any number of samples.
///
/// # Panics
/// If the convolution is not supported.
pub fn params_scratch_len(level: Level, shape: &Conv2dShape) -> usize {
    check_supported(level, shape);
    Params::new(level, shape, 0).scratch_len()
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
    check_params(level, shape, n, [x, dy, dw, scratch]);
    add_rows(shape.out_c, dy, db);
    if n == 0 {
        return;
    }
    let params = Params::new(level, shape, n);
    let (gradients, values) = params.split(scratch);
    gradients.fill(0.0);
    for strip in params.strips() {
        for (block, values) in values.chunks_exact_mut(params.block_len()).enumerate() {
            params.read(&strip, block, [x, dy], values);
        }
        for (point, gradients) in gradients.chunks_exact_mut(params.point_len()).enumerate() {
            params.add(&strip, values, point, 0..params.terms(), &mut gradients[..params.run_len()]);
        }
    }
    params.finish(gradients, 0, params::taps(dw));
}

fn check_params(level: Level, shape: &Conv2dShape, n: usize, [x, dy, dw, scratch]: [&[f32]; 4]) {
    check_len!(scratch, params_scratch_len(level, shape));
    check_len!(x, batch_len(n, shape.x_len()));
    check_len!(dy, batch_len(n, shape.y_len()));
    check_len!(dw, shape.w_len());
}

/// Where the values of a tile lie at all points.
fn at_points(at: usize, plane: usize) -> Patch {
    Patch { rows: 0..SIDE, cols: 0..SIDE, at, row: SIDE * plane, col: plane }
}

/// The same, split over the current rayon pool: outputs by samples and rows of tiles, weight gradients by tiles, points and
/// channels.
pub mod par {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::kernels::par::rows_per_piece;
    use rayon::prelude::*;

    /// See [`super::pack`].
    pub fn pack(level: Level, shape: &Conv2dShape, pass: Pass, w: &[f32], packed: &mut [f32]) {
        check_len!(packed, packed_len(level, shape, pass));
        check_len!(w, shape.w_len());
        let weights = weights_of(shape, pass);
        let panel_len = weights::panel_len(weights.terms(), weights.channels(), level.lanes());
        let group_len = packed.len() / shape.groups;
        packed.par_chunks_exact_mut(group_len).enumerate().for_each(|(group, packed)| {
            packed.par_chunks_mut(panel_len).enumerate().for_each(|(panel, packed)| {
                dispatch!(level, s => weights::pack(s, &weights, w, group, panel, packed));
            });
        });
    }

    /// See [`super::forward`]. `scratch` is as long as [`scratch_len`] says for each thread that shall work.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        x: &[f32],
        packed: &[f32],
        b: Option<&[f32]>,
        floor: f32,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let gather = checked(level, shape, n, Pass::Forward, [x, y, packed], b);
        run(&gather, n, x, packed, Affine { b, floor }, y, scratch);
    }

    /// See [`super::backward_input`]. `scratch` is as long as [`scratch_len`] says for each thread that shall work.
    pub fn backward_input(
        level: Level,
        shape: &Conv2dShape,
        n: usize,
        dy: &[f32],
        packed: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        let gather = checked(level, shape, n, Pass::BackwardInput, [dx, dy, packed], None);
        run(&gather, n, dy, packed, Affine::NONE, dx, scratch);
    }

    /// Tiles that a piece of rows should have at least.
    const MIN_TILES: usize = 12;

    /// Writes all sums, in pieces of samples or, if there are few, of rows of tiles. Whoever has scratch takes the next.
    fn run(
        gather: &Gather,
        n: usize,
        x: &[f32],
        packed: &[f32],
        affine: Affine<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let len = gather.scratch_len();
        assert!(
            !scratch.is_empty() && scratch.len().is_multiple_of(len),
            "scratch of {} for {len} each",
            scratch.len()
        );
        let [rows, cols] = gather.sums.tiles();
        let (x_len, y_len) = (gather.source.len(), gather.sums.len());
        let samples = rows_per_piece(n).max(gather.most().div_ceil(rows * cols)).min(n.max(1));
        let few_rows = (n * rows).div_ceil(16).max(MIN_TILES.div_ceil(cols));
        let rows_of_piece = if samples == 1 && n < 8 { few_rows.clamp(1, rows) } else { rows };
        let row_len = TILE * gather.sums.row_len();
        let pieces = y.chunks_mut(samples * y_len).enumerate().flat_map(|(piece, y)| {
            let size = if rows_of_piece < rows { rows_of_piece * row_len } else { y.len() };
            let parts = y.chunks_mut(size).enumerate();
            parts.map(move |(part, y)| (piece * samples, part * rows_of_piece..rows.min((part + 1) * rows_of_piece), y))
        });
        let pieces = Mutex::new(pieces);
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        scratch.par_chunks_exact_mut(len).with_max_len(1).for_each(|scratch| {
            while let Some((first, rows, y)) = next() {
                let n = y.len().div_ceil(y_len);
                gather.run(n, rows, &x[first * x_len..][..n * x_len], packed, affine, y, scratch);
            }
        });
    }

    /// Terms of a piece of the sums at a point.
    const TERMS: usize = 48;

    /// Numbers of a piece of what sums at the points come to.
    const PIECE: usize = 4096;

    /// See [`super::backward_params`].
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
        check_params(level, shape, n, [x, dy, dw, scratch]);
        if n == 0 {
            return add_rows(shape.out_c, dy, db);
        }
        let params = Params::new(level, shape, n);
        let (gradients, values) = params.split(scratch);
        let weights = || {
            gradients.par_chunks_mut(PIECE).for_each(|gradients| gradients.fill(0.0));
            for strip in params.strips() {
                let blocks = values.par_chunks_exact_mut(params.block_len()).enumerate();
                blocks.for_each(|(block, values)| params.read(&strip, block, [x, dy], values));
                gradients.par_chunks_exact_mut(params.point_len()).enumerate().for_each(|(point, gradients)| {
                    let pieces = gradients[..params.run_len()].par_chunks_mut(TERMS * shape.out_c).enumerate();
                    pieces.for_each(|(piece, gradients)| {
                        let terms = piece * TERMS..piece * TERMS + gradients.len() / shape.out_c;
                        params.add(&strip, values, point, terms, gradients);
                    });
                });
            }
            finish(&params, gradients, 0, params::taps(dw));
        };
        rayon::join(weights, || add_rows(shape.out_c, dy, db));
    }

    /// [`Params::finish`], in halves of halves.
    fn finish(params: &Params, gradients: &[f32], first: usize, taps: [&mut [f32]; TAPS * TAPS]) {
        let half = taps[0].len() / 2;
        if half < PIECE {
            return params.finish(gradients, first, taps);
        }
        let (mut lower, mut upper): ([&mut [f32]; TAPS * TAPS], [&mut [f32]; TAPS * TAPS]) = Default::default();
        for (tap, halves) in taps.into_iter().zip(lower.iter_mut().zip(&mut upper)) {
            (*halves.0, *halves.1) = tap.split_at_mut(half);
        }
        rayon::join(|| finish(params, gradients, first, lower), || finish(params, gradients, first + half, upper));
    }
}
