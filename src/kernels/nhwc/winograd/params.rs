//! Weight gradients: sums over tiles at each point, a strip of tiles at a time.

use std::iter;
use std::ops::Range;

use super::tiles::{Images, Tiles};
use super::{GAP, POINTS, SIDE, TAPS, at_points};
use crate::kernels::maps::{Patch, transform_square};
use crate::kernels::nhwc::products::{Dim, Line, Sweep};
use crate::kernels::points::{Inputs, OutputGradients, TILE, TapGradients};
use crate::kernels::tile::starts;
use crate::shape::Conv2dShape;
use crate::simd::{Level, dispatch};

/// Tiles of a block, which one thread takes to their values.
const BLOCK: usize = 12;

/// Blocks of a strip, whose values are summed before those of the next take their place. More would not fit the cache;
/// with fewer, sums at the points would come and go more often than the values.
const BLOCKS: usize = 8;

/// Neighbouring gradients that go from points to taps at a time.
const CHUNK: usize = 64;

/// Floats of scratch, which no other pass needs more of, but for the gaps in it; none if they overflow.
pub(super) fn checked_len(shape: &Conv2dShape) -> Option<usize> {
    let values = shape.in_c.checked_add(shape.out_c)?.checked_mul(POINTS * BLOCK * BLOCKS)?;
    (shape.w_len() / (TAPS * TAPS)).checked_mul(POINTS)?.checked_add(values)
}

/// Gradients of the weights of a batch.
pub(super) struct Params {
    level: Level,
    inputs: Images,
    outputs: Images,
    groups: usize,
    tiles: Tiles,
}

impl Params {
    pub fn new(level: Level, shape: &Conv2dShape, n: usize) -> Self {
        let (inputs, outputs) = (Images::inputs(shape), Images::outputs(shape));
        let [rows, cols] = outputs.tiles();
        Params { level, inputs, outputs, groups: shape.groups, tiles: Tiles { samples: n, rows: 0..rows, cols } }
    }

    /// Terms: input channels of a group.
    pub fn terms(&self) -> usize {
        self.inputs.channels / self.groups
    }

    /// Numbers of a tap.
    pub fn run_len(&self) -> usize {
        self.terms() * self.outputs.channels
    }

    /// Floats from the gradients at a point to those at the next.
    pub fn point_len(&self) -> usize {
        self.run_len() + GAP
    }

    fn planes(&self) -> [usize; 2] {
        [self.inputs, self.outputs].map(|images| BLOCK * images.channels + GAP)
    }

    /// Floats of the values of a block.
    pub fn block_len(&self) -> usize {
        POINTS * self.planes().iter().sum::<usize>()
    }

    pub fn scratch_len(&self) -> usize {
        POINTS * self.point_len() + BLOCKS * self.block_len()
    }

    /// Scratch as the gradients at all points and the values of a strip.
    pub fn split<'a>(&self, scratch: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32]) {
        scratch.split_at_mut(POINTS * self.point_len())
    }

    /// The tiles of each strip.
    pub fn strips(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.tiles.count();
        (0..count).step_by(BLOCK * BLOCKS).map(move |start| start..count.min(start + BLOCK * BLOCKS))
    }

    /// Writes the values of a strip's block.
    pub fn read(&self, strip: &Range<usize>, block: usize, [x, dy]: [&[f32]; 2], values: &mut [f32]) {
        let [inputs, outputs] = self.planes();
        let (u, z) = values.split_at_mut(POINTS * inputs);
        let start = strip.start + block * BLOCK;
        dispatch!(self.level, s => {
            for (index, tile) in (start..strip.end.min(start + BLOCK)).map(|tile| self.tiles.tile(tile)).enumerate() {
                let (from, to) = (self.inputs.patch(tile), at_points(index * self.inputs.channels, inputs));
                transform_square::<_, _, _, SIDE, SIDE>(s, (&Inputs, &Inputs), self.inputs.channels, (x, &from), (u, &to));
                let (from, to) = (self.outputs.patch(tile), at_points(index * self.outputs.channels, outputs));
                let maps = (&OutputGradients, &OutputGradients);
                transform_square::<_, _, _, TILE, SIDE>(s, maps, self.outputs.channels, (dy, &from), (z, &to));
            }
        });
    }

    /// Adds to the gradients of some terms at a point the sums over a strip.
    pub fn add(&self, strip: &Range<usize>, values: &[f32], point: usize, terms: Range<usize>, gradients: &mut [f32]) {
        let ([inputs, outputs], block_len) = (self.planes(), self.block_len());
        let channels = self.outputs.channels / self.groups;
        let (full, rest) = (strip.len() / BLOCK, strip.len() % BLOCK);
        for (first, blocks, tiles) in [(0, full, BLOCK), (full, 1, rest)] {
            for group in 0..self.groups {
                let sweep = Sweep {
                    dims: [
                        Dim::ONE,
                        Dim { count: blocks, x: block_len, y: block_len },
                        Dim { count: tiles, x: self.inputs.channels, y: self.outputs.channels },
                    ],
                    x: first * block_len + point * inputs + group * self.terms() + terms.start,
                    dy: first * block_len + POINTS * inputs + point * outputs + group * channels,
                    dw: group * channels,
                    channels,
                    row: self.outputs.channels,
                };
                if blocks * tiles > 0 {
                    let line = Line { x: 0, term: 0, len: terms.len() };
                    dispatch!(self.level, s => sweep.add(s, [values, values], iter::once(line), gradients));
                }
            }
        }
    }

    /// Adds to the gradients of neighbouring weights of all taps, from the `first` on, what those at the points come to.
    pub fn finish(&self, gradients: &[f32], first: usize, taps: [&mut [f32]; TAPS * TAPS]) {
        let mut sums = [0.0; TAPS * TAPS * CHUNK];
        let to = Patch { rows: 0..TAPS, cols: 0..TAPS, at: 0, row: TAPS * CHUNK, col: CHUNK };
        let mut taps = taps;
        // Chunks overlap at the end; what one before has added is left alone.
        for (new, start) in (0..).step_by(CHUNK).zip(starts(taps[0].len(), CHUNK)) {
            let from = at_points(first + start, self.point_len());
            let maps = (&TapGradients, &TapGradients);
            dispatch!(self.level, s => {
                transform_square::<_, _, _, SIDE, SIDE>(s, maps, CHUNK, (gradients, &from), (&mut sums, &to));
            });
            for (dw, sums) in taps.iter_mut().zip(sums.chunks_exact(CHUNK)) {
                dw[new..start + CHUNK].iter_mut().zip(&sums[new - start..]).for_each(|(dw, sum)| *dw += sum);
            }
        }
    }
}

/// The parts of each tap.
pub(super) fn taps(dw: &mut [f32]) -> [&mut [f32]; TAPS * TAPS] {
    let mut taps = dw.chunks_exact_mut(dw.len() / (TAPS * TAPS));
    std::array::from_fn(|_| taps.next().unwrap_or_default())
}
