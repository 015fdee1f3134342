//! Strips: how images are cut into tiles that stay in the cache, or put together, and where their pixels and values lie.

use std::ops::Range;

use super::points_of;
use super::short::is_short;
use crate::kernels::maps::Vectors;
use crate::kernels::points::TILE;
use crate::shape::{Axis, Conv2dShape};

/// Floats that the values of a strip of tiles should not exceed, so that they stay in the cache. With so many, all tiles
/// of LeNet-5's first layer are one strip: in `examples/roofline.rs` its weight gradient takes 78 ms an epoch, with strips of
/// 64 Ki floats 88, with 256 Ki the same.
const STRIP_LEN: usize = 144 * 1024;

/// The same of a strip of several blocks: sums over the pixels of all need fewer tiles of registers. Backward, LeNet-5's second
/// layer takes a tenth less time so with AVX2, and its first, for which this is too little, a tenth more.
const BLOCKS_LEN: usize = 64 * 1024;

/// The most blocks of a strip: those of a group of a plan with vectors of eight lanes.
const MAX_BLOCKS: usize = 2;

/// The least output rows of a strip: rows at its edges have values in two strips.
const MIN_ROWS: usize = 8;

/// Floats of the values of a tile of columns with these rows, of inputs and of output gradients.
fn strip_len(lanes: usize, shape: &Conv2dShape, rows: &Axis) -> Option<usize> {
    let [inputs, outputs] = [rows.input.checked_mul(shape.in_c)?, rows.output.checked_mul(shape.out_c)?];
    let magnitudes = if is_short(shape) { inputs.checked_mul(TILE)? } else { 0 };
    let values = inputs.checked_add(outputs)?.checked_mul(points_of(shape))?;
    values.checked_add(magnitudes)?.checked_mul(lanes)
}

/// Floats of the values of any strip.
pub(super) fn checked_len(lanes: usize, shape: &Conv2dShape) -> Option<usize> {
    let Size { rows, tiles, blocks } = Size::of(lanes, shape)?;
    let (band, _) = shape.h.band(0..rows);
    // Further down, no padding takes the place of inputs.
    let longest = Axis { input: shape.h.input.min(band.input + band.before), ..band };
    let values = strip_len(lanes, shape, &longest)?.checked_mul(tiles)?.checked_mul(blocks)?;
    values.checked_add(2 * points_of(shape) * lanes)
}

/// The size of a strip: output rows, tiles of a row, and blocks.
struct Size {
    rows: usize,
    tiles: usize,
    blocks: usize,
}

impl Size {
    fn of(lanes: usize, shape: &Conv2dShape) -> Option<Self> {
        let (rows, tiles) = (shape.h.output, shape.w.output.div_ceil(TILE));
        let len = strip_len(lanes, shape, &shape.h)?;
        let bands = len.div_ceil(STRIP_LEN).min(rows.div_ceil(MIN_ROWS));
        let blocks = (BLOCKS_LEN / len / tiles).clamp(1, MAX_BLOCKS);
        Some(Size { rows: rows.div_ceil(bands), tiles: (STRIP_LEN / len).clamp(1, tiles), blocks })
    }
}

/// The strips of `n` blocks, those of a block from the top.
pub(super) fn strips(lanes: usize, shape: &Conv2dShape, n: usize) -> impl Iterator<Item = Strip> {
    let (shape, points, all_tiles) = (*shape, points_of(shape), shape.w.output.div_ceil(TILE));
    let Size { rows, tiles, blocks } = Size::of(lanes, &shape).expect("a convolution that is supported");
    let parts = move |block| {
        let blocks = blocks.min(n - block);
        let parts = (0..shape.h.output).step_by(rows);
        parts.flat_map(move |row| (0..all_tiles).step_by(tiles).map(move |tile| (block, blocks, row, tile)))
    };
    (0..n).step_by(blocks).flat_map(parts).map(move |(block, blocks, row, tile)| {
        let (band, first_row) = shape.h.band(row..shape.h.output.min(row + rows));
        // There are several blocks only where all tiles are in a strip.
        let tiles = tile..(all_tiles * blocks).min(tile + tiles * blocks);
        let Axis { input: width, before, .. } = shape.w;
        let inputs = Side {
            lanes,
            points,
            block,
            tiles: tiles.clone(),
            all_tiles,
            first_row,
            rows: band.input,
            height: shape.h.input,
            channels: shape.in_c,
            width,
            before,
            most: points,
        };
        let outputs = Side {
            first_row: row,
            rows: band.output,
            height: shape.h.output,
            channels: shape.out_c,
            width: shape.w.output,
            before: 0,
            most: TILE,
            ..inputs.clone()
        };
        Strip { column: shape.column(band), tiles: tiles.len(), inputs, outputs }
    })
}

/// Some tiles of some output rows, or all tiles of some blocks.
pub(super) struct Strip {
    /// One column of it.
    pub column: Conv2dShape,
    pub tiles: usize,
    pub inputs: Side,
    pub outputs: Side,
}

impl Strip {
    /// Where the values of its inputs and outputs lie.
    pub fn split<'a>(&self, scratch: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32]) {
        let (inputs, rest) = scratch.split_at_mut(self.inputs.points * self.inputs.stride());
        (inputs, &mut rest[..self.outputs.points * self.outputs.stride()])
    }
}

/// What a strip covers of images, on one side of the convolution.
#[derive(Clone)]
pub(super) struct Side {
    lanes: usize,
    points: usize,
    /// The first block.
    block: usize,
    /// Counted from the first one of that block on, through the blocks after it.
    pub tiles: Range<usize>,
    /// Tiles of a row of a block.
    all_tiles: usize,
    first_row: usize,
    pub rows: usize,
    /// Rows of the image.
    height: usize,
    pub channels: usize,
    /// Columns of the image, and of the padding before.
    width: usize,
    before: usize,
    /// Columns of a tile.
    most: usize,
}

/// Where the vectors of a tile lie.
pub(super) type Spot = fn(&Side, usize) -> Vectors;

impl Side {
    /// The row of a strip among those of all blocks, and the tile in that row.
    #[inline(always)]
    pub fn place(&self, mut tile: usize, row: usize) -> [usize; 2] {
        let mut block = self.block;
        while tile >= self.all_tiles {
            (block, tile) = (block + 1, tile - self.all_tiles);
        }
        [block * self.height + self.first_row + row, tile]
    }

    /// Pairs of columns of the image.
    pub fn pairs(&self) -> usize {
        self.width / 2
    }

    /// The columns of a tile.
    pub fn image(&self, tile: usize) -> Vectors {
        let [row, tile] = self.place(tile, 0);
        let (start, step) = (tile * TILE, self.channels * self.lanes);
        let present = self.before.saturating_sub(start)..self.most.min(self.width + self.before - start);
        let col = start + present.start - self.before;
        let at = (row * self.width + col) * step;
        Vectors { present, at, step, row: self.width * step, col: self.lanes }
    }

    /// The values of a tile.
    pub fn values(&self, tile: usize) -> Vectors {
        let row = self.channels * self.lanes;
        let at = (tile - self.tiles.start) * self.rows * row;
        Vectors { present: 0..self.points, at, step: self.stride(), row, col: self.lanes }
    }

    /// A number for each output of a tile, those of a pixel beside each other.
    pub fn tile_beside(&self, tile: usize) -> Vectors {
        let (step, col) = (self.lanes, TILE * self.lanes);
        let row = self.channels * col;
        Vectors { present: 0..TILE, at: (tile - self.tiles.start) * self.rows * row, step, row, col }
    }

    /// The values at each point.
    pub fn planes<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        values.chunks_exact(self.stride()).map(|values| &values[..self.plane()])
    }

    /// How far apart those at neighbouring points lie: not a power of two, or they would share cache lines.
    pub fn stride(&self) -> usize {
        self.plane() + self.lanes
    }

    /// Floats of the values of all tiles at one point.
    fn plane(&self) -> usize {
        self.tiles.len() * self.rows * self.channels * self.lanes
    }
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
            let Size { rows, tiles, .. } = Size::of(8, &shape).unwrap();
            (shape.h.output.div_ceil(rows), shape.w.output.div_ceil(TILE).div_ceil(tiles), is_short(&shape))
        };
        let tall = strips((150, 9, 40), 24, &Window { stride: (2, 1).into(), ..Window::new((5, 3)) });
        assert!(matches!(tall, (3.., _, false)), "{tall:?}");
        let wide = strips((40, 90, 3), 6, &Window::new(5));
        assert!(matches!(wide, (1, 2.., true)), "{wide:?}");
        let short = strips((400, 7, 3), 70, &Window::new(3));
        assert!(matches!(short, (3.., _, true)), "{short:?}");
    }

    #[test]
    fn strips_cover_every_row_of_every_tile_once() {
        for ((h, w, c), filters, blocks) in [((12, 12, 6), 16, 2), ((28, 28, 1), 6, 1), ((150, 9, 40), 24, 1)] {
            let shape = Conv2dShape::new(Shape::hwc(h, w, c), filters, 1, &Window::new(5)).unwrap();
            assert_eq!(Size::of(8, &shape).unwrap().blocks, blocks);
            for n in 1..=5 {
                let mut seen = vec![0; n * shape.h.output * shape.w.output.div_ceil(TILE)];
                for strip in strips(8, &shape, n) {
                    for (tile, row) in
                        strip.outputs.tiles.clone().flat_map(|tile| (0..strip.outputs.rows).map(move |row| (tile, row)))
                    {
                        let [row, tile] = strip.outputs.place(tile, row);
                        seen[row * shape.w.output.div_ceil(TILE) + tile] += 1;
                    }
                }
                assert!(seen.iter().all(|&count| count == 1), "{n}: {seen:?}");
            }
        }
    }
}
