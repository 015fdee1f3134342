//! Sums of products in NHWC: numbers of pixels times vectors of channels.

use super::panels::{Panel, Panels, VECTORS};
use crate::kernels::tile::{self, Steps, Terms, best_size, starts};
use crate::simd::Simd;

/// One dimension of a box of pixels: how many there are, and how far apart they lie in two tensors, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dim {
    pub count: usize,
    pub x: usize,
    pub y: usize,
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
        let [samples, rows, cols] = self.dims;
        let [rows, cols] = Dim::merge([rows, cols]);
        let [samples, rows] = if rows.count == 1 { [rows, samples] } else { [samples, rows] };
        let [rows, cols] = Dim::merge([rows, cols]);
        let dims = match [samples.count, rows.count, cols.count] {
            [a, b, c] if a > b && a > c => [rows, cols, samples],
            [_, b, c] if b > c => [samples, cols, rows],
            _ => [samples, rows, cols],
        };
        let block = Block { dims, ..*self };
        for panel in panels.iter(S::LANES) {
            if panel.width > S::LANES {
                block.panel::<S, VECTORS>(s, x, &panel, affine, y);
            } else {
                block.panel::<S, 1>(s, x, &panel, affine, y);
            }
        }
    }

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
        } else if V == 1 && count >= 12 {
            self.tiles::<S, 12, 1>(s, x, panel, affine, y);
        } else {
            match best_size(count, [6, 5, 4, 2, 1]) {
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
        let (width, channels) = (V * S::LANES, panel.channels.len());
        let mut bias = [s.splat(0.0); V];
        if let Some(b) = affine.b {
            for (v, b) in bias.iter_mut().zip(b[panel.channels.clone()].chunks(S::LANES)) {
                *v = s.load_padded(b, 0.0);
            }
        }
        let floor = s.splat(affine.floor);
        let [outer, middle, inner] = self.dims;
        let mut terms = Terms {
            x: self.term * width,
            w: 0,
            loops: self.loops.map(|steps| Steps { x: steps.x * width as isize, ..steps }),
            pixel: S::LANES,
            channel: inner.x,
        };
        for i in 0..outer.count {
            for j in 0..middle.count {
                for k in starts(inner.count, P) {
                    terms.w = self.x + i * outer.x + j * middle.x + k * inner.x;
                    let mut sums = [bias; P];
                    if terms.loops[0].count * terms.loops[1].count > 0 {
                        tile::gather::<S, P, V, false>(s, &mut sums, panel.weights, x, &terms);
                    }
                    let at = self.y + panel.channels.start + i * outer.y + j * middle.y + k * inner.y;
                    if channels == width {
                        tile::store(s, &sums, floor, &mut y[at..], [inner.y, S::LANES]);
                    } else {
                        store_cut(s, &sums, floor, &mut y[at..], inner.y, channels);
                    }
                }
            }
        }
    }
}

/// The first channels of [`tile::store`].
#[inline(always)]
fn store_cut<S: Simd, const P: usize, const V: usize>(
    s: S,
    sums: &[[S::V; V]; P],
    floor: S::V,
    y: &mut [f32],
    pixel: usize,
    channels: usize,
) {
    for (p, sums) in sums.iter().enumerate() {
        for (&sum, y) in sums.iter().zip(y[p * pixel..][..channels].chunks_mut(S::LANES)) {
            s.store_cut(s.max(floor, sum), y);
        }
    }
}

/// A box of pixels, walked through in an input and an output gradient at once, to be summed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// Samples, rows and columns; `y` is the step in the output gradient.
    pub dims: [Dim; 3],
    /// Where the first pixel lies in the input and in the output gradient.
    pub x: usize,
    pub dy: usize,
}

impl Sweep {
    /// Adds to `dw[t][c]` the sums over the pixels of `x[t] dy[c]`, for `terms` neighbours `t` and `channels` neighbours `c`, at
    /// least a vector of them. Terms lie `row` apart in `dw`.
    #[inline(always)]
    pub fn add<S: Simd>(&self, s: S, [x, dy]: [&[f32]; 2], [terms, channels, row]: [usize; 3], dw: &mut [f32]) {
        if S::LANES == 16 {
            match best_size(terms, [11, 8, 6, 4, 2, 1]) {
                11 => self.tiles::<S, 11>(s, [x, dy], [terms, channels, row], dw),
                8 => self.tiles::<S, 8>(s, [x, dy], [terms, channels, row], dw),
                6 => self.tiles::<S, 6>(s, [x, dy], [terms, channels, row], dw),
                4 => self.tiles::<S, 4>(s, [x, dy], [terms, channels, row], dw),
                2 => self.tiles::<S, 2>(s, [x, dy], [terms, channels, row], dw),
                _ => self.tiles::<S, 1>(s, [x, dy], [terms, channels, row], dw),
            }
        } else {
            match best_size(terms, [6, 5, 4, 2, 1]) {
                6 => self.tiles::<S, 6>(s, [x, dy], [terms, channels, row], dw),
                5 => self.tiles::<S, 5>(s, [x, dy], [terms, channels, row], dw),
                4 => self.tiles::<S, 4>(s, [x, dy], [terms, channels, row], dw),
                2 => self.tiles::<S, 2>(s, [x, dy], [terms, channels, row], dw),
                _ => self.tiles::<S, 1>(s, [x, dy], [terms, channels, row], dw),
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const T: usize>(
        &self,
        s: S,
        tensors: [&[f32]; 2],
        [terms, channels, row]: [usize; 3],
        dw: &mut [f32],
    ) {
        // Tiles overlap at the end; what a tile before has added is left alone.
        for (new, start) in (0..).step_by(T).zip(starts(terms, T)) {
            let mut first = 0;
            while first < channels {
                let left = channels - first;
                if left >= VECTORS * S::LANES {
                    self.tile::<S, T, VECTORS>(s, tensors, [start, first], [new - start, 0], row, dw);
                    first += VECTORS * S::LANES;
                } else {
                    let at = first.min(channels - S::LANES);
                    self.tile::<S, T, 1>(s, tensors, [start, at], [new - start, first - at], row, dw);
                    first += S::LANES.min(left);
                }
            }
        }
    }

    /// A tile of `T` terms and `V` vectors of channels from those at `at` on, the first `old` ones of which are not added.
    #[inline(always)]
    fn tile<S: Simd, const T: usize, const V: usize>(
        &self,
        s: S,
        [x, dy]: [&[f32]; 2],
        [term, channel]: [usize; 2],
        [old_terms, old_channels]: [usize; 2],
        row: usize,
        dw: &mut [f32],
    ) {
        let mut sums = [[s.splat(0.0); V]; T];
        let terms = Terms {
            x: self.dy + channel,
            w: self.x + term,
            loops: self.dims.map(|dim| Steps { count: dim.count, x: dim.y as isize, w: dim.x }),
            pixel: S::LANES,
            channel: 1,
        };
        tile::gather::<S, T, V, true>(s, &mut sums, dy, x, &terms);
        for (t, sums) in sums.iter().enumerate().skip(old_terms) {
            let dw = &mut dw[(term + t) * row + channel..][..V * S::LANES];
            for (&sum, dw) in sums.iter().zip(dw.chunks_exact_mut(S::LANES)) {
                if old_channels == 0 {
                    s.store(s.add(s.load(dw), sum), dw);
                } else {
                    let mut new = [0.0; crate::simd::MAX_LANES];
                    s.store(sum, &mut new);
                    dw.iter_mut().zip(new).skip(old_channels).for_each(|(dw, new)| *dw += new);
                }
            }
        }
    }
}
