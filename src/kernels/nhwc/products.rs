//! Sums of products in NHWC: numbers of pixels times vectors of channels.

use std::ops::Range;

use super::panels::{Panel, Panels, VECTORS};
pub(super) use crate::kernels::tile::Dim;
use crate::kernels::tile::{self, Steps, Terms, best_size, starts};
use crate::simd::{MAX_LANES, Simd};

/// Floats of the source and of a panel's outputs that all panels take their turn with: they stay in the L2 cache beside a panel.
const BAND_LEN: usize = 16 * 1024;

/// Outputs of a band at least: many tiles of any size.
const LEAST_BAND: usize = 60;

/// Pixels whose output gradients are laid out for the sums of weight gradients at a time: at most half an L1 cache.
pub(super) const SWEEP_PIXELS: usize = 128;

/// Output gradients of a panel of channels of so many pixels.
#[repr(align(64))]
struct Deltas([f32; SWEEP_PIXELS * VECTORS * MAX_LANES]);

/// Three nested loops in parts of so many steps at most, whole inner loops if they fit.
fn parts(counts: [usize; 3], most: usize) -> impl Iterator<Item = [Range<usize>; 3]> {
    let [a, b, c] = counts;
    // As even as can be.
    let cut = |count: usize, most: usize| count.div_ceil(count.div_ceil(most.max(1)).max(1)).max(1);
    let steps = [cut(a, most / (b * c).max(1)), cut(b, most / c.max(1)), cut(c, most)];
    let ranges =
        move |i: usize| (0..counts[i]).step_by(steps[i]).map(move |start| start..counts[i].min(start + steps[i]));
    ranges(0).flat_map(move |a| {
        ranges(1).flat_map(move |b| {
            let a = a.clone();
            ranges(2).map(move |c| [a.clone(), b.clone(), c])
        })
    })
}

impl Dim {
    pub const ONE: Dim = Dim { count: 1, x: 0, y: 0 };

    /// The two as one, if steps allow it, the inner one last.
    fn merge([outer, inner]: [Dim; 2]) -> [Dim; 2] {
        let follows = (inner.count * inner.x, inner.count * inner.y) == (outer.x, outer.y);
        match (outer.count, inner.count) {
            (_, 1) => [Dim::ONE, outer],
            (1, _) => [outer, inner],
            _ if follows => [Dim::ONE, Dim { count: outer.count * inner.count, ..inner }],
            _ => [outer, inner],
        }
    }

    /// Leaves parts of dimensions, and gives how far from the first place the first of the part lies in the two tensors.
    fn part(dims: &mut [Dim; 3], ranges: [Range<usize>; 3]) -> [usize; 2] {
        let mut starts = [0; 2];
        for (dim, range) in dims.iter_mut().zip(ranges) {
            starts[0] += range.start * dim.x;
            starts[1] += range.start * dim.y;
            dim.count = range.len();
        }
        starts
    }

    /// Samples, rows and columns with as many joined as can be, the longest last unless there are `enough` columns.
    fn longest_last([samples, rows, cols]: [Dim; 3], enough: usize) -> [Dim; 3] {
        let [rows, cols] = Dim::merge([rows, cols]);
        let [samples, rows] = if rows.count == 1 { [rows, samples] } else { [samples, rows] };
        let [rows, cols] = Dim::merge([rows, cols]);
        match [samples.count, rows.count, cols.count] {
            [_, _, c] if c >= enough => [samples, rows, cols],
            [a, b, c] if a > b && a > c => [rows, cols, samples],
            [_, b, c] if b > c => [samples, cols, rows],
            _ => [samples, rows, cols],
        }
    }
}

/// The sizes of tiles with vectors of eight lanes.
const SIZES: [usize; 5] = [6, 5, 4, 2, 1];

/// Neighbouring outputs of a panel in parts, which may overlap: where it saves a twentieth, of tiles of six and one of four.
#[inline(always)]
fn cuts<S: Simd>(count: usize, is_wide: bool) -> impl Iterator<Item = Range<usize>> {
    let (whole, rest) = (count - count % 6, count % 6);
    let (parts, one) = (tile::cost(whole, 6) + tile::cost(4, 4), tile::cost(count, best_size(count, SIZES)));
    let pays = S::LANES == 8 && is_wide && whole > 0 && (1..=4).contains(&rest) && 20 * parts <= 19 * one;
    let first = if pays { whole } else { count };
    std::iter::once(0..first).chain(pays.then(|| count - 4..count))
}

/// Outputs with the same taps: a box of them, and where their terms and sums lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Samples, rows and columns.
    pub dims: [Dim; 3],
    /// Where the first term of the first output lies, and its sum.
    pub x: usize,
    pub y: usize,
    /// The first term in the panels.
    pub term: usize,
    /// The loops over terms: steps in panels, in terms, and in the source, in floats.
    pub loops: [Steps; 3],
}

/// Where sums start and what they may not fall below.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub b: Option<&'a [f32]>,
    pub floor: f32,
}

impl Affine<'_> {
    /// From zero, and any sum.
    pub const NONE: Self = Affine { b: None, floor: f32::NEG_INFINITY };
}

impl Block {
    /// Writes `max(floor, b[c] + sum x[term] w[term][c])` for every output of the box and channel of the panels.
    #[inline(always)]
    pub fn write<S: Simd>(&self, s: S, x: &[f32], panels: Panels<'_>, affine: Affine<'_>, y: &mut [f32]) {
        let block = Block { dims: Dim::longest_last(self.dims, usize::MAX), ..*self };
        let source = block.dims.iter().filter(|dim| dim.count > 1).map(|dim| dim.x).min().unwrap_or(0);
        let band = (BAND_LEN / (source + VECTORS * S::LANES)).max(LEAST_BAND);
        for outputs in parts(block.dims.map(|dim| dim.count), band) {
            block.part(outputs).write_at_once(s, x, panels, affine, y);
        }
    }

    /// These outputs of the box.
    #[inline(always)]
    fn part(mut self, outputs: [Range<usize>; 3]) -> Self {
        let [x_start, y_start] = Dim::part(&mut self.dims, outputs);
        Block { x: self.x + x_start, y: self.y + y_start, ..self }
    }

    /// The same where all that is read and written fits a cache.
    #[inline(always)]
    pub fn write_at_once<S: Simd>(&self, s: S, x: &[f32], panels: Panels<'_>, affine: Affine<'_>, y: &mut [f32]) {
        for panel in panels.iter(S::LANES) {
            let is_wide = panel.width > S::LANES;
            for outputs in cuts::<S>(self.dims[2].count, is_wide) {
                let part = self.part([0..self.dims[0].count, 0..self.dims[1].count, outputs]);
                if is_wide {
                    part.panel::<S, VECTORS>(s, x, &panel, affine, y);
                } else {
                    part.panel::<S, 1>(s, x, &panel, affine, y);
                }
            }
        }
    }

    /// The sums of a panel's channels.
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&self, s: S, x: &[f32], panel: &Panel<'_>, affine: Affine<'_>, y: &mut [f32]) {
        let count = self.dims[2].count;
        if S::LANES == 16 {
            match best_size(count, [10, 9, 8, 6, 4, 2, 1]) {
                9 => self.tiles::<S, 9, V>(s, x, panel, affine, y),
                10 => self.tiles::<S, 10, V>(s, x, panel, affine, y),
                8 => self.tiles::<S, 8, V>(s, x, panel, affine, y),
                6 => self.tiles::<S, 6, V>(s, x, panel, affine, y),
                4 => self.tiles::<S, 4, V>(s, x, panel, affine, y),
                2 => self.tiles::<S, 2, V>(s, x, panel, affine, y),
                _ => self.tiles::<S, 1, V>(s, x, panel, affine, y),
            }
        } else if V == 1 && count >= 12 && 4 * count.next_multiple_of(12) <= 5 * count {
            self.tiles::<S, 12, 1>(s, x, panel, affine, y);
        } else {
            match best_size(count, SIZES) {
                6 => self.tiles::<S, 6, V>(s, x, panel, affine, y),
                5 => self.tiles::<S, 5, V>(s, x, panel, affine, y),
                4 => self.tiles::<S, 4, V>(s, x, panel, affine, y),
                2 => self.tiles::<S, 2, V>(s, x, panel, affine, y),
                _ => self.tiles::<S, 1, V>(s, x, panel, affine, y),
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const P: usize, const V: usize>(
        &self,
        s: S,
        x: &[f32],
        panel: &Panel<'_>,
        affine: Affine<'_>,
        y: &mut [f32],
    ) {
        let width = V * S::LANES;
        let mut bias = [s.splat(0.0); V];
        if let Some(b) = affine.b {
            for (v, b) in bias.iter_mut().zip(b[panel.channels.clone()].chunks(S::LANES)) {
                *v = s.load_padded(b, 0.0);
            }
        }
        let terms = Terms {
            x: self.term * width,
            w: self.x,
            loops: self.loops.map(|steps| Steps { x: steps.x * width as isize, ..steps }),
            pixel: S::LANES,
            channel: self.dims[2].x,
        };
        let y = &mut y[self.y + panel.channels.start..];
        let floor = s.splat(affine.floor);
        tile::gather_box::<S, P, V>(s, bias, floor, panel.weights, x, &terms, &self.dims, panel.channels.len(), y);
    }
}

/// Output gradients of a box of pixels and what lies under them, to be summed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// Samples, rows and columns; `y` is the step in the output gradient.
    pub dims: [Dim; 3],
    /// Where the first pixel lies in the input and in the output gradient.
    pub x: usize,
    pub dy: usize,
    /// The first channel in the gradients of the weights, how many there are, at least a vector, and how far apart the terms lie.
    pub dw: usize,
    pub channels: usize,
    pub row: usize,
}

/// Terms that follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// From a pixel to its first term in the input.
    pub x: usize,
    /// The first term in the gradients of the weights.
    pub term: usize,
    pub len: usize,
}

impl Line {
    /// Those within a range, if there are any, counted from its start.
    pub fn within(self, terms: &Range<usize>) -> Option<Line> {
        let (start, end) = (self.term.max(terms.start), terms.end.min(self.term + self.len));
        (start < end).then(|| Line { x: self.x + start - self.term, term: start - terms.start, len: end - start })
    }
}

impl Sweep {
    /// Adds to `dw[t][c]` the sums over the pixels of `x[t] dy[c]`, for the terms `t` of some lines.
    #[inline(always)]
    pub fn add<S: Simd>(&self, s: S, [x, dy]: [&[f32]; 2], lines: impl Iterator<Item = Line> + Clone, dw: &mut [f32]) {
        let mut deltas = Deltas([0.0; SWEEP_PIXELS * VECTORS * MAX_LANES]);
        let dims = Dim::longest_last(self.dims, 6);
        for pixels in parts(dims.map(|dim| dim.count), SWEEP_PIXELS) {
            let mut sweep = Sweep { dims, ..*self };
            let [x_start, dy_start] = Dim::part(&mut sweep.dims, pixels);
            sweep.x += x_start;
            sweep.dy += dy_start;
            let mut first = 0;
            while first < self.channels {
                // The last vector overlaps the one before it; what that one has added is left alone.
                let left = self.channels - first;
                if left >= VECTORS * S::LANES {
                    sweep.panel::<S, VECTORS>(s, [x, dy], lines.clone(), [first, 0], &mut deltas, dw);
                    first += VECTORS * S::LANES;
                } else {
                    let at = first.min(self.channels - S::LANES);
                    sweep.panel::<S, 1>(s, [x, dy], lines.clone(), [at, first - at], &mut deltas, dw);
                    first += S::LANES.min(left);
                }
            }
        }
    }

    /// The sums of `V` vectors of channels from `channel` on, the first `old` ones of which are not added.
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(
        &self,
        s: S,
        [x, dy]: [&[f32]; 2],
        lines: impl Iterator<Item = Line>,
        [channel, old]: [usize; 2],
        deltas: &mut Deltas,
        dw: &mut [f32],
    ) {
        let [_, rows, cols] = self.dims;
        let width = V * S::LANES;
        let (dy_at, loops) =
            (self.dy + channel, self.dims.map(|dim| Steps { count: dim.count, x: dim.y as isize, w: dim.x }));
        // Those of few channels lie close enough.
        let (deltas, at, loops) = if cols.y <= 4 * width {
            (dy, dy_at, loops)
        } else {
            self.copy::<S, V>(s, &dy[dy_at..], deltas);
            let [of_sample, of_row] = [rows.count * cols.count, cols.count].map(|pixels| (pixels * width) as isize);
            let [samples, rows, cols] = loops;
            let laid_out =
                [Steps { x: of_sample, ..samples }, Steps { x: of_row, ..rows }, Steps { x: width as isize, ..cols }];
            (&deltas.0[..], 0, laid_out)
        };
        for line in lines {
            let terms = Terms { x: at, w: self.x + line.x, loops, pixel: S::LANES, channel: 1 };
            let products = Products { x, deltas, terms, count: line.len, old, row: self.row };
            let dw = &mut dw[line.term * self.row + self.dw + channel..];
            if S::LANES == 16 {
                match best_size(line.len, [11, 8, 6, 4, 2, 1]) {
                    11 => products.add::<S, 11, V>(s, dw),
                    8 => products.add::<S, 8, V>(s, dw),
                    6 => products.add::<S, 6, V>(s, dw),
                    4 => products.add::<S, 4, V>(s, dw),
                    2 => products.add::<S, 2, V>(s, dw),
                    _ => products.add::<S, 1, V>(s, dw),
                }
            } else {
                match best_size(line.len, [6, 5, 4, 2, 1]) {
                    6 => products.add::<S, 6, V>(s, dw),
                    5 => products.add::<S, 5, V>(s, dw),
                    4 => products.add::<S, 4, V>(s, dw),
                    2 => products.add::<S, 2, V>(s, dw),
                    _ => products.add::<S, 1, V>(s, dw),
                }
            }
        }
    }

    /// Lays out the first `V` vectors of output gradients, pixel after pixel.
    #[inline(always)]
    fn copy<S: Simd, const V: usize>(&self, s: S, dy: &[f32], deltas: &mut Deltas) {
        let width = V * S::LANES;
        let mut pixels = deltas.0.chunks_exact_mut(width);
        let [samples, rows, cols] = self.dims;
        for sample in 0..samples.count {
            for row in 0..rows.count {
                let dy = dy[sample * samples.y + row * rows.y..].chunks(cols.y.max(1));
                for (dy, pixel) in dy.take(cols.count).zip(&mut pixels) {
                    // That of the next panel, far enough ahead.
                    s.prefetch(dy.as_ptr().wrapping_add(2 * width - 1));
                    let dy = &dy[..width];
                    for v in 0..V {
                        s.store(s.load(&dy[v * S::LANES..]), &mut pixel[v * S::LANES..]);
                    }
                }
            }
        }
    }
}

/// Sums over pixels of an input times laid out output gradients, for so many neighbouring terms.
struct Products<'a> {
    x: &'a [f32],
    deltas: &'a [f32],
    /// Of the first sum.
    terms: Terms,
    count: usize,
    /// The first channels, whose products are not added.
    old: usize,
    /// How far apart the sums lie in the gradients of the weights.
    row: usize,
}

impl Products<'_> {
    /// Adds the sums, `T` terms at a time.
    #[inline(always)]
    fn add<S: Simd, const T: usize, const V: usize>(&self, s: S, dw: &mut [f32]) {
        // Tiles overlap at the end; what a tile before has added is left alone.
        for (new, start) in (0..).step_by(T).zip(starts(self.count, T)) {
            let mut sums = [[s.splat(0.0); V]; T];
            let terms = Terms { w: self.terms.w + start, ..self.terms };
            tile::gather::<S, T, V, true>(s, &mut sums, self.deltas, self.x, &terms);
            for (t, sums) in sums.iter().enumerate() {
                if t < new - start {
                    continue;
                }
                let dw = &mut dw[(start + t) * self.row..][..V * S::LANES];
                for (&sum, dw) in sums.iter().zip(dw.chunks_exact_mut(S::LANES)) {
                    let new = if self.old == 0 { sum } else { s.keep(u32::MAX << self.old, sum) };
                    s.store(s.add(s.load(dw), new), dw);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, dispatch};

    #[test]
    fn cuts_cover_all_outputs_with_tiles_that_there_are() {
        fn of<S: Simd>(_: S, count: usize, is_wide: bool) -> Vec<Range<usize>> {
            cuts::<S>(count, is_wide).collect()
        }
        let parts = |count, is_wide| dispatch!(Level::scalar(), s => of(s, count, is_wide));
        for count in 1..100 {
            let parts = parts(count, true);
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, count));
            if let [whole, rest] = &parts[..] {
                assert!(whole.len().is_multiple_of(6) && rest.len() == 4 && rest.start <= whole.end, "{parts:?}");
            }
        }
        assert_eq!(parts(28, true), [0..24, 24..28]);
        for (count, is_wide) in [(28, false), (30, true), (8, true), (25, true), (64, true)] {
            assert_eq!(parts(count, is_wide).len(), 1, "{count}");
        }
    }
}
