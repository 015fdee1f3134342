//! Outputs and gradients of inputs: tiles of sums from tiles of sources, a block of them at a time.

use std::ops::Range;

use super::tiles::{Images, Tile, Tiles};
use super::{GAP, POINTS, SIDE, at_points, weights};
use crate::kernels::maps::{Patch, Transform, transform_square};
use crate::kernels::nhwc::direct::Pass;
use crate::kernels::nhwc::panels::{Panels, VECTORS};
use crate::kernels::nhwc::products::{Affine, Block, Dim};
use crate::kernels::points::{self, Inputs, TILE};
use crate::kernels::tile::Steps;
use crate::shape::Conv2dShape;
use crate::simd::{Level, Simd, dispatch};

/// Floats of the values of a block of tiles, so that they stay in the cache.
const BLOCK_LEN: usize = 64 * 1024;

/// Tiles of a block are a multiple of this.
const STEP: usize = 12;

/// Tiles of sums from tiles of sources.
pub(super) struct Gather {
    level: Level,
    pub source: Images,
    pub sums: Images,
    groups: usize,
    /// Source channels of a group.
    terms: usize,
    /// Channels of sums of a group.
    channels: usize,
}

impl Gather {
    pub fn new(level: Level, shape: &Conv2dShape, pass: Pass) -> Self {
        let (inputs, outputs) = (Images::inputs(shape), Images::outputs(shape));
        let (source, sums) = match pass {
            Pass::Forward => (inputs, outputs),
            Pass::BackwardInput => (outputs.mirrored_sources(shape), inputs.sums()),
        };
        let weights = super::weights_of(shape, pass);
        let (terms, channels) = (weights.terms(), weights.channels());
        Gather { level, source, sums, groups: shape.groups, terms, channels }
    }

    /// The most tiles of a block.
    pub fn most(&self) -> usize {
        (BLOCK_LEN / (POINTS * self.source.channels) / STEP).max(1) * STEP
    }

    /// Floats from the values at a point to those at the next.
    fn plane(&self, tiles: usize) -> usize {
        tiles * self.source.channels + GAP
    }

    /// Floats from the sums at a point to those at the next.
    fn sums_plane(&self, tiles: usize) -> usize {
        tiles * VECTORS * self.level.lanes() + GAP
    }

    pub fn scratch_len(&self) -> usize {
        POINTS * (self.plane(self.most()) + self.sums_plane(self.most()))
    }

    /// Writes some rows of tiles of each of `n` samples; more than one sample has all of them.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        n: usize,
        rows: Range<usize>,
        x: &[f32],
        packed: &[f32],
        affine: Affine<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let tiles = Tiles { samples: n, rows, cols: self.sums.tiles()[1] };
        let (count, most) = (tiles.count(), self.most());
        // Blocks of one size, so that none is a small rest.
        let size = count.div_ceil(count.div_ceil(most).max(1)).next_multiple_of(STEP).max(STEP);
        for start in (0..count).step_by(size) {
            let block = Tiled { tiles: &tiles, range: start..count.min(start + size) };
            let (values, sums) = scratch.split_at_mut(POINTS * self.plane(block.len()));
            dispatch!(self.level, s => {
                self.read(s, &block, x, values);
                for (group, packed) in packed.chunks_exact(packed.len() / self.groups).enumerate() {
                    let panels = packed.chunks(weights::panel_len(self.terms, self.channels, self.level.lanes()));
                    for (place, panel) in weights::panels(self.channels, self.level.lanes()).zip(panels) {
                        self.multiply(s, &block, group, place.1, values, panel, sums);
                        self.write(s, &block, group * self.channels + place.0, place.1, sums, affine, y);
                    }
                }
            });
        }
    }

    /// Writes the values of a block's sources.
    #[inline(always)]
    fn read<S: Simd>(&self, s: S, block: &Tiled<'_>, x: &[f32], values: &mut [f32]) {
        let (plane, channels) = (self.plane(block.len()), self.source.channels);
        for (index, tile) in block.iter().enumerate() {
            let (from, to) = (self.source.patch(tile), at_points(index * channels, plane));
            transform_square::<S, _, _, SIDE, SIDE>(s, (&Inputs, &Inputs), channels, (x, &from), (values, &to));
        }
    }

    /// Writes the values of a block's sums for a panel of so many channels.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        s: S,
        block: &Tiled<'_>,
        group: usize,
        width: usize,
        values: &[f32],
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let (plane, sums_plane) = (self.plane(block.len()), self.sums_plane(block.len()));
        let once = Steps { count: 1, x: 0, w: 0 };
        for (point, weights) in panel.chunks_exact(weights::point_len(self.terms, width)).enumerate() {
            let product = Block {
                dims: [Dim::ONE, Dim::ONE, Dim { count: block.len(), x: self.source.channels, y: width }],
                x: point * plane + group * self.terms,
                y: point * sums_plane,
                term: 0,
                loops: [once, once, Steps { count: self.terms, x: 1, w: 1 }],
            };
            let weights = Panels { data: &weights[..self.terms * width], terms: self.terms, channels: width };
            product.write_at_once(s, values, weights, Affine::NONE, sums);
        }
    }

    /// Writes a block's sums for so many channels, from the first one on.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn write<S: Simd>(
        &self,
        s: S,
        block: &Tiled<'_>,
        first: usize,
        width: usize,
        sums: &[f32],
        affine: Affine<'_>,
        y: &mut [f32],
    ) {
        let (plane, above) = (self.sums_plane(block.len()), block.tiles.rows.start);
        let images = self.sums.below(above);
        let along = Outputs { b: affine.b.map(|b| &b[first..first + width]), floor: affine.floor };
        for (index, tile) in block.iter().enumerate() {
            let from = at_points(index * width, plane);
            let patch = images.patch(Tile { row: tile.row - above, ..tile });
            let to = Patch { at: patch.at + first, ..patch };
            transform_square::<S, _, _, SIDE, TILE>(s, (&Sums, &along), width, (sums, &from), (y, &to));
        }
    }
}

/// Some of the tiles.
struct Tiled<'a> {
    tiles: &'a Tiles,
    range: Range<usize>,
}

impl Tiled<'_> {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn iter(&self) -> impl Iterator<Item = Tile> {
        self.range.clone().map(|tile| self.tiles.tile(tile))
    }
}

/// Sums of a tile from their values.
struct Sums;

impl Transform<SIDE, TILE> for Sums {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, values: &[S::V; SIDE]) -> [S::V; TILE] {
        points::outputs(s, s.splat(0.0), values)
    }
}

/// Outputs of a tile, with bias and floor, from their values.
struct Outputs<'a> {
    b: Option<&'a [f32]>,
    floor: f32,
}

impl Transform<SIDE, TILE> for Outputs<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, channel: usize, values: &[S::V; SIDE]) -> [S::V; TILE] {
        let floor = s.splat(self.floor);
        let start = match self.b {
            Some(b) => s.load(&b[channel..]),
            None => s.splat(0.0),
        };
        points::outputs(s, start, values).map(
            #[inline(always)]
            |y| s.max(floor, y),
        )
    }
}
