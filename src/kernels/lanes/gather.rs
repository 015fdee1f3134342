//! Sums over the taps of a window that fall on something: a convolution's output and the gradient of its input.

use crate::kernels::taps::{Side, Taps};
use crate::kernels::tile::{self, Steps, Terms, best_size, starts};
use crate::simd::Simd;

/// `sum x[source][t] w[tap][t][c]` over the taps of an output `o` and the terms `t` of each, for every `o` and channel `c`. `NEXT`
/// says that output channels are neighbours in the weights.
pub(super) struct Gather<'a, const NEXT: bool> {
    /// Blocks, and how far apart they lie in the source.
    pub blocks: usize,
    pub x_block: usize,
    pub rows: Side<'a>,
    pub cols: Side<'a>,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Source channels of a group.
    pub terms: usize,
    /// Output channels of a group.
    pub channels: usize,
    /// How far apart weights lie: those of taps, groups, terms and output channels.
    pub w_tap: usize,
    pub w_group: usize,
    pub w_term: usize,
    pub w_channel: usize,
}

/// What a [`Gather`] makes of its tiles.
pub(super) trait Tiles<S: Simd> {
    /// Takes a tile of `C` channels and `P` pixels, whose terms are these.
    fn take<const C: usize, const P: usize, const NEXT: bool>(&mut self, s: S, terms: &Terms, tile: &Tile);
}

/// A tile and where it is. Tiles overlap where they do not fit.
pub(super) struct Tile {
    pub channels: usize,
    pub pixels: usize,
    /// The first channel, and the first pixel by its block, its row and its column.
    pub channel: usize,
    pub block: usize,
    pub row: usize,
    pub col: usize,
    /// From a pixel to the next one: blocks and columns.
    pub blocks: usize,
    pub cols: usize,
    /// Channels and pixels that had their turn in the tile before.
    pub old_channels: usize,
    pub old_pixels: usize,
}

impl Tile {
    /// Block and column of a pixel.
    #[inline(always)]
    pub fn place(&self, pixel: usize) -> [usize; 2] {
        [self.block + pixel * self.blocks, self.col + pixel * self.cols]
    }
}

/// Tiles of `max(floor, b[channel] + sum)`, which are written to `y`.
pub(super) struct Direct<'a> {
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub b: Option<&'a [f32]>,
    pub floor: f32,
    pub y: &'a mut [f32],
    /// How far apart blocks, rows and pixels lie in `y`, in vectors.
    pub steps: [usize; 3],
}

impl<S: Simd> Tiles<S> for Direct<'_> {
    #[inline(always)]
    fn take<const C: usize, const P: usize, const NEXT: bool>(&mut self, s: S, terms: &Terms, tile: &Tile) {
        let mut sums = [[s.splat(0.0); P]; C];
        if let Some(b) = self.b {
            let b = &b[tile.channel..][..C];
            for c in 0..C {
                sums[c] = [s.splat(b[c]); P];
            }
        }
        if !terms.is_none() {
            tile::gather::<S, C, P, NEXT>(s, &mut sums, self.x, self.w, terms);
        }
        let [block, row, col] = self.steps;
        let at = tile.block * block + tile.row * row + tile.col * col + tile.channel;
        let pixel = tile.blocks * block + tile.cols * col;
        tile::store(s, &sums, s.splat(self.floor), &mut self.y[at * S::LANES..], [S::LANES, pixel * S::LANES]);
    }
}

/// Neighbouring outputs of a row with the same taps, of one group of channels.
#[derive(Clone, Copy)]
struct Segment {
    group: usize,
    start: usize,
    len: usize,
    /// Those of the first output.
    taps: Taps,
}

/// So many pixels, and how far apart they lie: in the source, in floats, and by their blocks and columns.
#[derive(Clone, Copy)]
struct Pixels {
    count: usize,
    x: usize,
    blocks: usize,
    cols: usize,
}

impl<const NEXT: bool> Gather<'_, NEXT> {
    /// Hands on all tiles.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, to: &mut impl Tiles<S>) {
        for group in 0..self.groups {
            for phase in 0..self.cols.step().min(self.cols.outputs()) {
                let mut start = phase;
                while start < self.cols.outputs() {
                    let (len, taps) = (self.cols.same_taps(start), self.cols.taps(start));
                    self.segment(s, Segment { group, start, len, taps }, to);
                    start += len * self.cols.step();
                }
            }
        }
    }

    #[inline(always)]
    fn segment<S: Simd>(&self, s: S, segment: Segment, to: &mut impl Tiles<S>) {
        let pixels = segment.len.max(self.blocks);
        if S::LANES == 16 {
            match (pixels >= 4, best_size(self.channels, [6, 4, 1]), best_size(self.channels, [16, 12, 6, 4, 1])) {
                (true, 6, _) => self.tiles::<S, 6, 4>(s, segment, to),
                (true, 4, _) => self.tiles::<S, 4, 4>(s, segment, to),
                (true, _, _) => self.tiles::<S, 1, 4>(s, segment, to),
                (false, _, 16) => self.tiles::<S, 16, 1>(s, segment, to),
                (false, _, 12) => self.tiles::<S, 12, 1>(s, segment, to),
                (false, _, 6) => self.tiles::<S, 6, 1>(s, segment, to),
                (false, _, 4) => self.tiles::<S, 4, 1>(s, segment, to),
                (false, _, _) => self.tiles::<S, 1, 1>(s, segment, to),
            }
        } else {
            match (pixels >= 2, best_size(self.channels, [6, 4, 1]), best_size(self.channels, [12, 6, 4, 1])) {
                (true, 6, _) => self.tiles::<S, 6, 2>(s, segment, to),
                (true, 4, _) => self.tiles::<S, 4, 2>(s, segment, to),
                (true, _, _) => self.tiles::<S, 1, 2>(s, segment, to),
                (false, _, 12) => self.tiles::<S, 12, 1>(s, segment, to),
                (false, _, 6) => self.tiles::<S, 6, 1>(s, segment, to),
                (false, _, 4) => self.tiles::<S, 4, 1>(s, segment, to),
                (false, _, _) => self.tiles::<S, 1, 1>(s, segment, to),
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const C: usize, const P: usize>(&self, s: S, segment: Segment, to: &mut impl Tiles<S>) {
        let along = self.pixels_of_row::<S>(&segment);
        let across = Pixels { count: self.blocks, x: self.x_block, blocks: 1, cols: 0 };
        // A short row is taken in several blocks at once.
        let (inner, outer) = if along.count >= P { (along, across) } else { (across, along) };
        for row in 0..self.rows.outputs() {
            let mut terms = self.terms_of::<S>(&self.rows.taps(row), &segment);
            terms.pixel = inner.x;
            let (x_first, w_first) = (terms.x, terms.w);
            for place in 0..outer.count {
                for (new_pixel, pixel) in (0..).step_by(P).zip(starts(inner.count, P)) {
                    terms.x = x_first + place * outer.x + pixel * inner.x;
                    let block = place * outer.blocks + pixel * inner.blocks;
                    let col = segment.start + place * outer.cols + pixel * inner.cols;
                    for (new_channel, channel) in (0..).step_by(C).zip(starts(self.channels, C)) {
                        terms.w = w_first + channel * self.w_channel;
                        let tile = Tile {
                            channels: C,
                            pixels: P,
                            channel: segment.group * self.channels + channel,
                            block,
                            row,
                            col,
                            blocks: inner.blocks,
                            cols: inner.cols,
                            old_channels: new_channel - channel,
                            old_pixels: new_pixel - pixel,
                        };
                        to.take::<C, P, NEXT>(s, &terms, &tile);
                    }
                }
            }
        }
    }

    /// The outputs of a segment. Steps that are never taken may be as large as they like, and are left out.
    #[inline(always)]
    fn pixels_of_row<S: Simd>(&self, segment: &Segment) -> Pixels {
        let (several, read) = (segment.len > 1, segment.taps.count > 0);
        let x = if several && read { self.cols.source_step() * self.groups * self.terms * S::LANES } else { 0 };
        Pixels { count: segment.len, x, blocks: 0, cols: if several { self.cols.step() } else { 0 } }
    }

    /// The terms of the first output of a segment in a row with these taps, for a tile of one pixel.
    #[inline(always)]
    fn terms_of<S: Simd>(&self, rows: &Taps, segment: &Segment) -> Terms {
        let (cols, kw) = (&segment.taps, self.cols.kernel());
        let x_pixel = self.groups * self.terms * S::LANES;
        let x_row = (self.cols.sources() * x_pixel) as isize;
        // Taps that follow each other in the source as they do in the weights are one run.
        let is_one_run =
            self.groups == 1 && (cols.source_step, cols.step) == (1, 1) && self.w_tap == self.terms * self.w_term;
        let (runs, count) =
            if is_one_run { (cols.count.min(1), cols.count * self.terms) } else { (cols.count, self.terms) };
        let x_tap = cols.source_step * x_pixel as isize;
        let w_first = (rows.first * kw + cols.first) * self.w_tap + segment.group * self.w_group;
        let x_first = (rows.source * self.cols.sources() + cols.source) * x_pixel;
        Terms {
            x: x_first + segment.group * self.terms * S::LANES,
            w: w_first,
            loops: [
                Steps { count: rows.count, x: rows.source_step * x_row, w: rows.step * kw * self.w_tap },
                Steps { count: runs, x: x_tap, w: cols.step * self.w_tap },
                Steps { count, x: S::LANES as isize, w: self.w_term },
            ],
            pixel: 0,
            channel: self.w_channel,
        }
    }
}
