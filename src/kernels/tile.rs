//! Register tiles: the inner loops of every product of vectors and numbers. In lanes the vectors are pixels of several images
//! and the numbers weights; in NHWC the vectors are weights of several channels and the numbers pixels.
#![allow(unsafe_code)]

use crate::simd::{MAX_LANES, Simd, copy};

/// One of the loops over the terms of a sum: so many steps, and how far each takes one on, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub count: usize,
    /// In the source.
    pub x: isize,
    /// In the weights.
    pub w: usize,
}

/// One dimension of a box of outputs: how many there are, and how far apart they lie in the source and in the output, in floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dim {
    pub count: usize,
    pub x: usize,
    pub y: usize,
}

/// Where the terms of the sums of a tile lie, from the first one on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Where the first one is.
    pub x: usize,
    pub w: usize,
    /// The loops, the innermost one last.
    pub loops: [Steps; 3],
    /// How far apart the pixels of a tile lie in the source.
    pub pixel: usize,
    /// How far apart the channels of a tile lie in the weights, unless they are neighbours.
    pub channel: usize,
}

impl Terms {
    /// The same where the channels of a tile are neighbours in the weights, if they are.
    #[inline(always)]
    pub(super) fn of_neighbours<const NEXT: bool>(&self) -> Self {
        Terms { channel: if NEXT { 1 } else { self.channel }, ..*self }
    }

    /// Whether a sum has no term.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.loops.iter().any(|steps| steps.count == 0)
    }

    /// Whether all terms of a tile of `c` channels and `p` pixels lie within a source and weights of these lengths.
    #[inline(always)]
    pub(super) fn fit(&self, c: usize, p: usize, lanes: usize, x_len: usize, w_len: usize) -> bool {
        self.ends(c, p, lanes).is_some_and(|(x_end, w_last)| x_end <= x_len && w_last < w_len)
    }

    /// Where the last vector ends in the source, and where the last weight lies; none if there is no term, one lies before
    /// the start of the source, or a number overflows.
    #[inline(always)]
    fn ends(&self, c: usize, p: usize, lanes: usize) -> Option<(usize, usize)> {
        let (mut x_first, mut x_end) = (self.x, self.x.checked_add(distance(p, self.pixel)?)?.checked_add(lanes)?);
        let mut w_last = self.w.checked_add(distance(c, self.channel)?)?;
        for Steps { count, x, w } in self.loops {
            let way = distance(count, x.unsigned_abs())?;
            if x < 0 {
                x_first = x_first.checked_sub(way)?;
            } else {
                x_end = x_end.checked_add(way)?;
            }
            w_last = w_last.checked_add(distance(count, w)?)?;
        }
        Some((x_end, w_last))
    }
}

/// From the first to the last of `count` places that lie `step` apart, if there is one and it does not overflow.
#[inline(always)]
pub(super) fn distance(count: usize, step: usize) -> Option<usize> {
    count.checked_sub(1)?.checked_mul(step)
}

/// Adds to `sums[c][p]` the products `x[p] w[c]` of all terms. `NEXT` says that channels are neighbours in the weights.
#[inline(always)]
pub(super) fn gather<S: Simd, const C: usize, const P: usize, const NEXT: bool>(
    s: S,
    sums: &mut [[S::V; P]; C],
    x: &[f32],
    w: &[f32],
    terms: &Terms,
) {
    let terms = terms.of_neighbours::<NEXT>();
    assert!(terms.fit(C, P, S::LANES, x.len(), w.len()), "{terms:?} of {} and {}", x.len(), w.len());
    // SAFETY: All terms fit by the assertion.
    unsafe { gather_unchecked(s, sums, x, w, &terms) }
}

/// Sums of a tile at each of some points: vectors by channel, pixel and point, with places for [`MAX_POINTS`].
#[repr(align(64))]
pub(super) struct Values([f32; MAX_VALUES]);

/// The most points.
const MAX_POINTS: usize = 8;

/// The most sums of a tile.
pub(super) const MAX_SUMS: usize = 24;

/// All points of the largest tile of the widest vectors.
const MAX_VALUES: usize = MAX_POINTS * MAX_SUMS * MAX_LANES;

impl Values {
    pub const NONE: Self = Values([0.0; MAX_VALUES]);

    /// At all points, one of the sums: those of a channel are neighbours.
    #[inline(always)]
    pub fn get<S: Simd, const N: usize>(&self, s: S, sum: usize) -> [S::V; N] {
        let mut values = [s.splat(0.0); N];
        let at = sum * MAX_POINTS * S::LANES;
        for (value, place) in values.iter_mut().zip(self.0[at..][..N * S::LANES].chunks_exact(S::LANES)) {
            *value = s.load(place);
        }
        values
    }
}

/// The sums [`gather`] makes, at each of some points; they lie so far apart in the source and the weights.
#[inline(always)]
pub(super) fn gather_at_points<S: Simd, const C: usize, const P: usize, const NEXT: bool>(
    s: S,
    values: &mut Values,
    points: usize,
    (x, x_point): (&[f32], usize),
    (w, w_point): (&[f32], usize),
    terms: &Terms,
) {
    const { assert!(C * P <= MAX_SUMS) };
    assert!(points <= MAX_POINTS, "{points} points");
    let terms = terms.of_neighbours::<NEXT>();
    // What is left for the terms of the first point.
    let [x_len, w_len] = [(x.len(), x_point), (w.len(), w_point)]
        .map(|(len, step)| distance(points, step).and_then(|way| len.checked_sub(way)).unwrap_or(0));
    assert!(terms.fit(C, P, S::LANES, x_len, w_len), "{terms:?} of {points} points of {} and {}", x.len(), w.len());
    for point in 0..points {
        let terms = Terms { x: terms.x + point * x_point, w: terms.w + point * w_point, ..terms };
        let mut sums = [[s.splat(0.0); P]; C];
        // SAFETY: By the assertion, the terms of the first point do not begin before `x`, those of the last one end within `x` and
        // `w`, and those of the others lie between.
        unsafe { gather_unchecked(s, &mut sums, x, w, &terms) };
        for (c, sums) in sums.iter().enumerate() {
            for (p, &sum) in sums.iter().enumerate() {
                s.store(sum, &mut values.0[((c * P + p) * MAX_POINTS + point) * S::LANES..][..S::LANES]);
            }
        }
    }
}

/// [`gather`] without its assertion.
///
/// # Safety
/// All terms of a tile of `C` channels and `P` pixels must lie within `x` and `w`, `channel` being how far apart the channels lie.
#[inline(always)]
unsafe fn gather_unchecked<S: Simd, const C: usize, const P: usize>(
    s: S,
    sums: &mut [[S::V; P]; C],
    x: &[f32],
    w: &[f32],
    terms: &Terms,
) {
    let [rows, runs, inner] = terms.loops;
    // What is added after the last step of a loop leads to no place that is visited, and may wrap. Were both places numbers, the
    // compiler would make them a vector, and run out of registers.
    let (mut x_row, mut w_row) = (x.as_ptr().wrapping_add(terms.x), w.as_ptr().wrapping_add(terms.w));
    for _ in 0..rows.count {
        let (mut x_run, mut w_run) = (x_row, w_row);
        for _ in 0..runs.count {
            let (mut x_at, mut w_at) = (x_run, w_run);
            for _ in 0..inner.count {
                let mut pixels = [s.splat(0.0); P];
                for (p, v) in pixels.iter_mut().enumerate() {
                    let x_at = x_at.wrapping_add(p * terms.pixel);
                    // SAFETY: `x_at` is that of a term, which fits, and `p < P`, so that the vector lies within `x`.
                    *v = s.load(unsafe { std::slice::from_raw_parts(x_at, S::LANES) });
                }
                for (c, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `w_at` is that of a term, which fits, and `c < C`, so that the weight lies within `w`.
                    let weight = s.splat(unsafe { *w_at.wrapping_add(c * terms.channel) });
                    for (sum, &pixel) in sums.iter_mut().zip(&pixels) {
                        *sum = s.mul_add(weight, pixel, *sum);
                    }
                }
                (x_at, w_at) = (x_at.wrapping_offset(inner.x), w_at.wrapping_add(inner.w));
            }
            (x_run, w_run) = (x_run.wrapping_offset(runs.x), w_run.wrapping_add(runs.w));
        }
        (x_row, w_row) = (x_row.wrapping_offset(rows.x), w_row.wrapping_add(rows.w));
    }
}

/// Floats from an output to the next from which on the CPU does not foresee them.
const FAR: usize = 128;

/// Numbers of an output that follow each other from which on they are asked for ahead, and the most that are: the CPU foresees more.
const AHEAD: [usize; 2] = [128, 256];

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

/// Writes `max(floor, bias + sum x w)` for every output of a box, `P` neighbours of its last dimension at a time: sums of `V` vectors
/// of `x` times numbers of `w`, in which the pixels of a tile are its channels. Of each output, `channels` numbers are written.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub(super) fn gather_box<S: Simd, const P: usize, const V: usize>(
    s: S,
    bias: [S::V; V],
    floor: S::V,
    x: &[f32],
    w: &[f32],
    terms: &Terms,
    dims: &[Dim; 3],
    channels: usize,
    y: &mut [f32],
) {
    const { assert!(V <= 2) };
    let end = |len, step: fn(&Dim) -> usize| {
        dims.iter().try_fold(len, |end: usize, dim| end.checked_add(distance(dim.count, step(dim))?))
    };
    let w_end =
        terms.ends(1, V, S::LANES).and_then(|(x_end, w_last)| (x_end <= x.len()).then(|| end(w_last, |dim| dim.x))?);
    assert!(
        terms.is_none() || w_end.is_some_and(|end| end < w.len()),
        "{terms:?} and {dims:?} of {} and {}",
        x.len(),
        w.len()
    );
    assert!(
        dims[2].count >= P && channels <= V * S::LANES && end(channels, |dim| dim.y).is_some_and(|end| end <= y.len()),
        "a box beyond the output"
    );
    s.apart(
        #[inline(always)]
        || {
            let [outer, middle, inner] = *dims;
            let ahead = match terms.loops {
                [Steps { count: 1, .. }, Steps { count: 1, .. }, Steps { count, .. }] if count >= AHEAD[0] => {
                    count.min(AHEAD[1])
                }
                _ => 0,
            };
            for i in 0..outer.count {
                for j in 0..middle.count {
                    for k in starts(inner.count, P) {
                        let w_at = i * outer.x + j * middle.x + k * inner.x;
                        let y_at = i * outer.y + j * middle.y + k * inner.y;
                        // What the next tile takes would be waited for.
                        for p in P..2 * P {
                            if inner.y >= FAR {
                                s.prefetch(
                                    y.as_ptr().wrapping_add(y_at + channels - 1).wrapping_add(p.wrapping_mul(inner.y)),
                                );
                            }
                            for line in (0..ahead).step_by(LINE) {
                                s.prefetch(
                                    w.as_ptr()
                                        .wrapping_add(terms.w + w_at + line)
                                        .wrapping_add(p.wrapping_mul(inner.x)),
                                );
                            }
                        }
                        let mut sums = [bias; P];
                        let terms = Terms { w: terms.w + w_at, channel: inner.x, ..*terms };
                        // SAFETY: By the assertion there is no term, or those of the last output of the box end within `x` and `w`; those of
                        // all others, `P` neighbours of which are the channels of this tile, lie between them and the first,
                        // since there are at least `P` of them.
                        unsafe { gather_unchecked(s, &mut sums, x, w, &terms) };
                        if channels == V * S::LANES {
                            for (p, sums) in sums.iter().enumerate() {
                                let at = y_at + p * inner.y;
                                // SAFETY: By the assertion, the last output ends within `y`.
                                store_all(s, floor, sums, unsafe { y.get_unchecked_mut(at..at + V * S::LANES) });
                            }
                        } else {
                            // All of them, so that no sum is looked up in memory.
                            let mut padded = [[0.0; 2 * MAX_LANES]; P];
                            for (sums, padded) in sums.iter().zip(&mut padded) {
                                store_all(s, floor, sums, padded);
                            }
                            for (p, padded) in padded.iter().enumerate() {
                                copy(&padded[..channels], &mut y[y_at + p * inner.y..][..channels]);
                            }
                        }
                    }
                }
            }
        },
    );
}

/// Writes `max(floor, v)` for vectors that follow each other.
#[inline(always)]
fn store_all<S: Simd, const V: usize>(s: S, floor: S::V, vectors: &[S::V; V], y: &mut [f32]) {
    for (&v, y) in vectors.iter().zip(y.chunks_exact_mut(S::LANES)) {
        s.store(s.max(floor, v), y);
    }
}

/// Writes `max(floor, sums[c][p])` to `y`, in which channels and pixels lie so far apart.
#[inline(always)]
pub(super) fn store<S: Simd, const C: usize, const P: usize>(
    s: S,
    sums: &[[S::V; P]; C],
    floor: S::V,
    y: &mut [f32],
    steps: [usize; 2],
) {
    for_each_place(
        s,
        sums,
        y,
        steps,
        #[inline(always)]
        |sum, place| s.store(s.max(floor, sum), place),
    );
}

/// Adds `sums[c][p]` to `y`, in which channels and pixels lie so far apart.
#[inline(always)]
pub(super) fn add<S: Simd, const C: usize, const P: usize>(
    s: S,
    sums: &[[S::V; P]; C],
    y: &mut [f32],
    steps: [usize; 2],
) {
    for_each_place(
        s,
        sums,
        y,
        steps,
        #[inline(always)]
        |sum, place| s.store(s.add(s.load(place), sum), place),
    );
}

#[inline(always)]
fn for_each_place<S: Simd, const C: usize, const P: usize>(
    _: S,
    sums: &[[S::V; P]; C],
    y: &mut [f32],
    [channel, pixel]: [usize; 2],
    write: impl Fn(S::V, &mut [f32]),
) {
    let last = || distance(P, pixel)?.checked_add(distance(C, channel)?)?.checked_add(S::LANES);
    assert!(last().is_some_and(|end| end <= y.len()), "a tile beyond the output");
    for (c, sums) in sums.iter().enumerate() {
        for (p, &sum) in sums.iter().enumerate() {
            let at = p * pixel + c * channel;
            // SAFETY: `p < P` and `c < C`, so that the vector ends within `y` by the assertion above.
            write(sum, unsafe { y.get_unchecked_mut(at..at + S::LANES) });
        }
    }
}

/// Vectors, as many as they have lanes.
pub(super) type Square = [f32; MAX_LANES * MAX_LANES];

/// No vectors yet.
pub(super) const SQUARE: Square = [0.0; MAX_LANES * MAX_LANES];

/// The size out of `sizes` for tiles that cover `n` with the least work; tiles overlap at the end, so none may exceed `n`,
/// and 1 must be among them.
#[inline(always)]
pub(super) fn best_size<const N: usize>(n: usize, sizes: [usize; N]) -> usize {
    let better = |best: usize, size: usize| {
        if size <= n && (best > n || cost(n, size) < cost(n, best)) { size } else { best }
    };
    let mut best = sizes[0];
    for size in sizes {
        best = better(best, size);
    }
    best
}

/// The work of tiles of `size` that cover `n`: each costs its size and, in loads and the like, about one more.
#[inline(always)]
pub(super) fn cost(n: usize, size: usize) -> usize {
    n.div_ceil(size) * (size + 1)
}

/// Where tiles of `size` start that cover `n`, the last one as far back as it must.
#[inline(always)]
pub(super) fn starts(n: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(size)).map(move |tile| (tile * size).min(n - size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything() {
        for n in 1..100 {
            let size = best_size(n, [6, 4, 1]);
            let covered: Vec<usize> = starts(n, size).flat_map(|start| start..start + size).collect();
            assert!((0..n).all(|i| covered.contains(&i)) && covered.iter().all(|&i| i < n), "{n}: {size}");
        }
        assert_eq!([6, 16, 10, 3].map(|n| best_size(n, [6, 4, 1])), [6, 4, 6, 1]);
    }

    #[test]
    fn terms_fit_to_the_last_and_not_beyond() {
        let once = Steps { count: 1, x: 0, w: 0 };
        let terms = |steps, pixel, channel| Terms { x: 8, w: 1, loops: [once, steps, once], pixel, channel };
        let fits = |terms: Terms, x_len, w_len| terms.fit(2, 3, 4, x_len, w_len);
        let back = terms(Steps { count: 3, x: -4, w: 5 }, 10, 7);
        assert!(fits(back, 32, 19) && !fits(back, 31, 19) && !fits(back, 32, 18));
        assert!(!fits(terms(Steps { count: 4, x: -4, w: 0 }, 0, 0), 100, 100), "before the start");
        assert!(!fits(terms(Steps { count: 0, x: 0, w: 0 }, 0, 0), 100, 100), "no term");
        let (half, quarter) = (1 << (usize::BITS - 1), 1 << (usize::BITS - 2));
        for wrapping in [
            terms(Steps { count: 5, x: quarter as isize, w: 0 }, 0, 0),
            terms(Steps { count: 5, x: -(quarter as isize), w: 0 }, 0, 0),
            terms(Steps { count: 5, x: 0, w: quarter }, 0, 0),
            terms(once, half, 0),
            terms(once, 0, usize::MAX),
        ] {
            assert!(!fits(wrapping, 100, 100), "{wrapping:?}");
        }
    }
}
