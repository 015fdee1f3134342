//! Sums over the taps of a window that fall on something: a convolution's output and the gradient of its input.

use crate::kernels::taps::{Side, Taps};
use crate::kernels::tile::{self, Steps, Terms, best_size, starts};
use crate::simd::Simd;

/// `y[o][c] = max(floor, b[c] + sum x[source][t] w[tap][t][c])` over the taps of `o` and the terms `t` of each. `NEXT` says
/// that output channels are neighbours in the weights.
pub(super) struct Gather<'a, const NEXT: bool> {
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

/// The tensors of a [`Gather`].
pub(super) struct Tensors<'a> {
    pub blocks: usize,
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub b: Option<&'a [f32]>,
    pub floor: f32,
    pub y: &'a mut [f32],
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

/// So many pixels, and how far apart they lie in the source and in the output, in floats.
#[derive(Clone, Copy)]
struct Pixels {
    count: usize,
    x: usize,
    y: usize,
}

impl<const NEXT: bool> Gather<'_, NEXT> {
    /// Writes all of `y`.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, tensors: &mut Tensors<'_>) {
        for group in 0..self.groups {
            for phase in 0..self.cols.step().min(self.cols.outputs()) {
                let mut start = phase;
                while start < self.cols.outputs() {
                    let (len, taps) = (self.cols.same_taps(start), self.cols.taps(start));
                    self.segment(s, Segment { group, start, len, taps }, tensors);
                    start += len * self.cols.step();
                }
            }
        }
    }

    #[inline(always)]
    fn segment<S: Simd>(&self, s: S, segment: Segment, tensors: &mut Tensors<'_>) {
        let pixels = segment.len.max(tensors.blocks);
        if S::LANES == 16 {
            match (pixels >= 4, best_size(self.channels, [6, 4, 1]), best_size(self.channels, [16, 12, 6, 4, 1])) {
                (true, 6, _) => self.tiles::<S, 6, 4>(s, segment, tensors),
                (true, 4, _) => self.tiles::<S, 4, 4>(s, segment, tensors),
                (true, _, _) => self.tiles::<S, 1, 4>(s, segment, tensors),
                (false, _, 16) => self.tiles::<S, 16, 1>(s, segment, tensors),
                (false, _, 12) => self.tiles::<S, 12, 1>(s, segment, tensors),
                (false, _, 6) => self.tiles::<S, 6, 1>(s, segment, tensors),
                (false, _, 4) => self.tiles::<S, 4, 1>(s, segment, tensors),
                (false, _, _) => self.tiles::<S, 1, 1>(s, segment, tensors),
            }
        } else {
            match (pixels >= 2, best_size(self.channels, [6, 4, 1]), best_size(self.channels, [12, 6, 4, 1])) {
                (true, 6, _) => self.tiles::<S, 6, 2>(s, segment, tensors),
                (true, 4, _) => self.tiles::<S, 4, 2>(s, segment, tensors),
                (true, _, _) => self.tiles::<S, 1, 2>(s, segment, tensors),
                (false, _, 12) => self.tiles::<S, 12, 1>(s, segment, tensors),
                (false, _, 6) => self.tiles::<S, 6, 1>(s, segment, tensors),
                (false, _, 4) => self.tiles::<S, 4, 1>(s, segment, tensors),
                (false, _, _) => self.tiles::<S, 1, 1>(s, segment, tensors),
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const C: usize, const P: usize>(&self, s: S, segment: Segment, tensors: &mut Tensors<'_>) {
        let y_pixel = self.groups * self.channels * S::LANES;
        let floor = s.splat(tensors.floor);
        let along = self.pixels_of_row::<S>(&segment);
        let across = self.pixels_of_blocks(tensors);
        // A short row is taken in several blocks at once.
        let (inner, outer) = if along.count >= P { (along, across) } else { (across, along) };
        for row in 0..self.rows.outputs() {
            let mut terms = self.terms_of::<S>(&self.rows.taps(row), &segment);
            terms.pixel = inner.x;
            let (x_first, w_first) = (terms.x, terms.w);
            let y_first =
                (row * self.cols.outputs() + segment.start) * y_pixel + segment.group * self.channels * S::LANES;
            for place in 0..outer.count {
                for pixel in starts(inner.count, P) {
                    terms.x = x_first + place * outer.x + pixel * inner.x;
                    let y_at = y_first + place * outer.y + pixel * inner.y;
                    for channel in starts(self.channels, C) {
                        let mut sums = [[s.splat(0.0); P]; C];
                        if let Some(b) = tensors.b {
                            let b = &b[segment.group * self.channels + channel..][..C];
                            for c in 0..C {
                                sums[c] = [s.splat(b[c]); P];
                            }
                        }
                        terms.w = w_first + channel * self.w_channel;
                        if terms.loops[0].count > 0 && terms.loops[1].count > 0 {
                            tile::gather::<S, C, P, NEXT>(s, &mut sums, tensors.x, tensors.w, &terms);
                        }
                        let y = &mut tensors.y[y_at + channel * S::LANES..];
                        tile::store(s, &sums, floor, y, [S::LANES, inner.y]);
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
        let y = if several { self.cols.step() * self.groups * self.channels * S::LANES } else { 0 };
        Pixels { count: segment.len, x, y }
    }

    /// The same output in every block.
    #[inline(always)]
    fn pixels_of_blocks(&self, tensors: &Tensors<'_>) -> Pixels {
        let count = tensors.blocks;
        Pixels { count, x: tensors.x.len() / count, y: tensors.y.len() / count }
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
