//! How images are cut into square tiles, and where the places of a tile lie.

use std::ops::Range;

use super::SIDE;
use crate::kernels::maps::Patch;
use crate::kernels::points::TILE;
use crate::shape::Conv2dShape;

/// Images on one side of a convolution, and the places of each tile.
#[derive(Clone, Copy)]
pub(super) struct Images {
    rows: usize,
    cols: usize,
    pub channels: usize,
    /// Rows and columns of padding before.
    before: [usize; 2],
    /// Places along a side of a tile.
    most: usize,
}

impl Images {
    /// The inputs of a convolution.
    pub fn inputs(shape: &Conv2dShape) -> Self {
        let Conv2dShape { h, w, in_c, .. } = shape;
        Images { rows: h.input, cols: w.input, channels: *in_c, before: [h.before, w.before], most: SIDE }
    }

    /// Its outputs.
    pub fn outputs(shape: &Conv2dShape) -> Self {
        Images { rows: shape.h.output, cols: shape.w.output, channels: shape.out_c, before: [0; 2], most: TILE }
    }

    /// Sources for sums of the flipped taps, instead of sums.
    pub fn mirrored_sources(self, shape: &Conv2dShape) -> Self {
        Images { before: [shape.h, shape.w].map(|axis| axis.kernel - 1 - axis.before), most: SIDE, ..self }
    }

    /// Sums, instead of sources.
    pub fn sums(self) -> Self {
        Images { before: [0; 2], most: TILE, ..self }
    }

    /// Floats of a row.
    pub fn row_len(&self) -> usize {
        self.cols * self.channels
    }

    /// Floats of an image.
    pub fn len(&self) -> usize {
        self.rows * self.row_len()
    }

    /// Tiles of an image of sums, down and along.
    pub fn tiles(&self) -> [usize; 2] {
        [self.rows, self.cols].map(|len| len.div_ceil(TILE))
    }

    /// Without the rows above some rows of tiles.
    pub fn below(self, tiles: usize) -> Self {
        Images { rows: self.rows - tiles * TILE, ..self }
    }

    /// Where a tile lies.
    pub fn patch(&self, tile: Tile) -> Patch {
        let (rows, row) = self.places(self.rows, self.before[0], tile.row);
        let (cols, col) = self.places(self.cols, self.before[1], tile.col);
        let at = tile.sample * self.len() + row * self.row_len() + col * self.channels;
        Patch { rows, cols, at, row: self.row_len(), col: self.channels }
    }

    /// The places of a tile along an axis that are on the image, and the first of them there.
    fn places(&self, len: usize, before: usize, tile: usize) -> (Range<usize>, usize) {
        let start = tile * TILE;
        let present = before.saturating_sub(start)..self.most.min(len + before - start);
        let first = start + present.start - before;
        (present, first)
    }
}

/// A tile of one of some images.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub sample: usize,
    pub row: usize,
    pub col: usize,
}

/// Some rows of tiles of each of some images.
#[derive(Clone)]
pub(super) struct Tiles {
    pub samples: usize,
    pub rows: Range<usize>,
    pub cols: usize,
}

impl Tiles {
    pub fn count(&self) -> usize {
        self.samples * self.rows.len() * self.cols
    }

    pub fn tile(&self, index: usize) -> Tile {
        let (row, col) = (index / self.cols, index % self.cols);
        Tile { sample: row / self.rows.len(), row: self.rows.start + row % self.rows.len(), col }
    }
}
