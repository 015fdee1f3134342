//! Maps of a few vectors to a few, over many places: how tiles go to the values at points and back.
#![allow(unsafe_code)]

use std::ops::Range;

use super::tile::{distance, starts};
use crate::simd::Simd;

/// A linear map of `I` vectors to `O`.
pub(super) trait Transform<const I: usize, const O: usize> {
    /// Whether it adds to what is there.
    const ADDS: bool = false;
    fn apply<S: Simd>(&self, s: S, col: usize, x: &[S::V; I]) -> [S::V; O];
}

/// Where the vectors of a [`transform`] lie, for each row and column: those in `present` are there, the others are zero or
/// not wanted. Steps are in floats.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    pub present: Range<usize>,
    /// Where the first one that is there lies.
    pub at: usize,
    /// How far apart they lie.
    pub step: usize,
    pub row: usize,
    pub col: usize,
}

impl Vectors {
    /// Whether all of them, at most `most` a place, lie within so many floats.
    fn fit(&self, rows: usize, cols: usize, most: usize, lanes: usize, len: usize) -> bool {
        let end = || {
            let place = distance(rows, self.row)?.checked_add(distance(cols, self.col)?)?.checked_add(self.at)?;
            place.checked_add(distance(self.present.len(), self.step)?)?.checked_add(lanes)
        };
        self.present.end <= most && end().is_some_and(|end| end <= len)
    }
}

/// Maps the vectors of `x` to those of `y`, for each of some rows and columns.
#[inline(always)]
pub(super) fn transform<S: Simd, T: Transform<I, O>, const I: usize, const O: usize>(
    s: S,
    map: &T,
    [rows, cols]: [usize; 2],
    (x, from): (&[f32], &Vectors),
    (y, to): (&mut [f32], &Vectors),
) {
    assert!(from.fit(rows, cols, I, S::LANES, x.len()), "{from:?} of {}", x.len());
    assert!(to.fit(rows, cols, O, S::LANES, y.len()), "{to:?} of {}", y.len());
    let all = (from.present.len(), to.present.len()) == (I, O);
    if all {
        transform_checked::<S, T, I, O, true>(s, map, [rows, cols], (x, from), (y, to));
    } else {
        transform_checked::<S, T, I, O, false>(s, map, [rows, cols], (x, from), (y, to));
    }
}

/// [`transform`] after its assertions. `ALL` says that all vectors are there.
#[inline(always)]
fn transform_checked<S: Simd, T: Transform<I, O>, const I: usize, const O: usize, const ALL: bool>(
    s: S,
    map: &T,
    [rows, cols]: [usize; 2],
    (x, from): (&[f32], &Vectors),
    (y, to): (&mut [f32], &Vectors),
) {
    // Copies, for what is read through a reference could change with every write.
    let (from, to) = (from.clone(), to.clone());
    let [first_x, first_y] = [&from, &to].map(|vectors| if ALL { 0 } else { vectors.present.start });
    for row in 0..rows {
        for col in 0..cols {
            let (x_at, y_at) = (from.at + row * from.row + col * from.col, to.at + row * to.row + col * to.col);
            let mut vectors = [s.splat(0.0); I];
            for (i, v) in vectors.iter_mut().enumerate() {
                if ALL || from.present.contains(&i) {
                    let at = x_at + (i - first_x) * from.step;
                    // SAFETY: The vector is that of a row and a column and is there, so that it ends within `x` by the
                    // first assertion of `transform`.
                    *v = s.load(unsafe { x.get_unchecked(at..at + S::LANES) });
                }
            }
            for (o, v) in map.apply(s, col, &vectors).into_iter().enumerate() {
                if ALL || to.present.contains(&o) {
                    let at = y_at + (o - first_y) * to.step;
                    // SAFETY: The vector is that of a row and a column and is there, so that it ends within `y` by the
                    // second assertion of `transform`.
                    let place = unsafe { y.get_unchecked_mut(at..at + S::LANES) };
                    s.store(if T::ADDS { s.add(s.load(place), v) } else { v }, place);
                }
            }
        }
    }
}

/// Writes those in `present` of `vectors` to the start of `y` and on, so many floats apart, or `ADDS` them.
#[inline(always)]
pub(super) fn put_spaced<S: Simd, const N: usize, const ADDS: bool>(
    s: S,
    vectors: &[S::V; N],
    present: Range<usize>,
    y: &mut [f32],
    step: usize,
) {
    let end = distance(present.len(), step).and_then(|last| last.checked_add(S::LANES));
    assert!(end.is_some_and(|end| end <= y.len()), "vectors {present:?} {step} apart of {}", y.len());
    for (i, &v) in vectors.iter().enumerate() {
        if present.contains(&i) {
            let at = (i - present.start) * step;
            // SAFETY: The vector is one of as many as are present, so that it ends within `y` by the assertion.
            let place = unsafe { y.get_unchecked_mut(at..at + S::LANES) };
            s.store(if ADDS { s.add(s.load(place), v) } else { v }, place);
        }
    }
}

/// Writes the vectors that a map makes of each of some things: those of a column, all of which are there.
#[inline(always)]
pub(super) fn give<S: Simd, T, const O: usize>(
    s: S,
    (y, to): (&mut [f32], &Vectors),
    from: impl ExactSizeIterator<Item = T>,
    map: impl Fn(T) -> [S::V; O],
) {
    let cols = from.len();
    assert!(to.present == (0..O) && to.fit(1, cols, O, S::LANES, y.len()), "{to:?} of {}", y.len());
    // Copies, for what is read through a reference could change with every write.
    let &Vectors { mut at, step, col, .. } = to;
    for from in from.take(cols) {
        for (o, v) in map(from).into_iter().enumerate() {
            let at = at + o * step;
            // SAFETY: The vector is that of one of `cols` columns, since no more are taken whatever `len` says, so that it ends
            // within `y` by the assertion above.
            s.store(v, unsafe { y.get_unchecked_mut(at..at + S::LANES) });
        }
        at = at.wrapping_add(col);
    }
}

/// A square of places, each with neighbouring vectors of channels: those in `rows` and `cols` are there, the others are zero
/// or not wanted. Steps are in floats.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    pub rows: Range<usize>,
    pub cols: Range<usize>,
    /// Where the first place that is there lies.
    pub at: usize,
    pub row: usize,
    pub col: usize,
}

impl Patch {
    /// Whether all places, at most `most` a row and a column, lie within so many floats.
    #[inline(always)]
    fn fit(&self, most: usize, channels: usize, len: usize) -> bool {
        let end = || {
            let place = distance(self.rows.len(), self.row)?.checked_add(distance(self.cols.len(), self.col)?)?;
            place.checked_add(self.at)?.checked_add(channels)
        };
        self.rows.end.max(self.cols.end) <= most && end().is_some_and(|end| end <= len)
    }

    /// Where a place lies that is there. `ALL` says that all are.
    #[inline(always)]
    fn place<const ALL: bool>(&self, row: usize, col: usize) -> usize {
        let [first_row, first_col] = if ALL { [0; 2] } else { [self.rows.start, self.cols.start] };
        self.at + (row - first_row) * self.row + (col - first_col) * self.col
    }
}

/// Maps the columns of a square by `down` and the rows of what comes of it by `along`, for each of some channels, at least a
/// vector of them; the last vector is as far back as it must.
#[inline(always)]
pub(super) fn transform_square<S: Simd, D: Transform<I, O>, A: Transform<I, O>, const I: usize, const O: usize>(
    s: S,
    (down, along): (&D, &A),
    channels: usize,
    (x, from): (&[f32], &Patch),
    (y, to): (&mut [f32], &Patch),
) {
    const { assert!(!D::ADDS && !A::ADDS) };
    assert!(channels >= S::LANES && from.fit(I, channels, x.len()), "{from:?} of {channels} in {}", x.len());
    assert!(to.fit(O, channels, y.len()), "{to:?} of {channels} in {}", y.len());
    let are = |patch: &Patch, size| (patch.rows.len(), patch.cols.len()) == (size, size);
    if are(from, I) && are(to, O) {
        square_checked::<S, D, A, I, O, true>(s, (down, along), channels, (x, from), (y, to));
    } else {
        square_checked::<S, D, A, I, O, false>(s, (down, along), channels, (x, from), (y, to));
    }
}

/// [`transform_square`] after its assertions. `ALL` says that all places are there.
#[inline(always)]
fn square_checked<S: Simd, D: Transform<I, O>, A: Transform<I, O>, const I: usize, const O: usize, const ALL: bool>(
    s: S,
    (down, along): (&D, &A),
    channels: usize,
    (x, from): (&[f32], &Patch),
    (y, to): (&mut [f32], &Patch),
) {
    // Columns that are not there stay zero.
    let mut half = [[s.splat(0.0); I]; O];
    for channel in starts(channels, S::LANES) {
        for col in 0..I {
            if ALL || from.cols.contains(&col) {
                let mut column = [s.splat(0.0); I];
                for (row, v) in column.iter_mut().enumerate() {
                    if ALL || from.rows.contains(&row) {
                        let at = from.place::<ALL>(row, col) + channel;
                        // SAFETY: The place is there and the vector among its channels, so that it ends within `x` by the
                        // first assertion of `transform_square`.
                        *v = s.load(unsafe { x.get_unchecked(at..at + S::LANES) });
                    }
                }
                for (half, v) in half.iter_mut().zip(down.apply(s, channel, &column)) {
                    half[col] = v;
                }
            }
        }
        for (row, half) in half.iter().enumerate() {
            if ALL || to.rows.contains(&row) {
                for (col, v) in along.apply(s, channel, half).into_iter().enumerate() {
                    if ALL || to.cols.contains(&col) {
                        let at = to.place::<ALL>(row, col) + channel;
                        // SAFETY: The place is there and the vector among its channels, so that it ends within `y` by the
                        // second assertion of `transform_square`.
                        s.store(v, unsafe { y.get_unchecked_mut(at..at + S::LANES) });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_fit_to_the_last_and_not_beyond() {
        let right = Vectors { present: 1..3, at: 5, step: 7, row: 20, col: 3 };
        // The last of two rows and three columns ends at 5 + 20 + 6 + 7 + 4.
        let fits = |vectors: &Vectors, rows, len| vectors.fit(rows, 3, 3, 4, len);
        assert!(fits(&right, 2, 42) && !fits(&right, 2, 41) && !fits(&right, 0, 42));
        let far = usize::MAX / 2 + 1;
        for wrong in [
            Vectors { present: 1..1, ..right.clone() },
            Vectors { present: Range { start: 2, end: 1 }, ..right.clone() },
            Vectors { present: 2..4, ..right.clone() },
            Vectors { at: usize::MAX, ..right.clone() },
            Vectors { step: usize::MAX, ..right.clone() },
            Vectors { row: usize::MAX, ..right.clone() },
            Vectors { col: far, ..right.clone() },
        ] {
            assert!(!fits(&wrong, 2, 1000), "{wrong:?}");
        }
    }

    #[test]
    fn patches_fit_to_the_last_and_not_beyond() {
        let right = Patch { rows: 0..3, cols: 1..3, at: 5, row: 20, col: 7 };
        // The last of three rows and two columns ends at 5 + 40 + 7 + 9.
        let fits = |patch: &Patch, len| patch.fit(3, 9, len);
        assert!(fits(&right, 61) && !fits(&right, 60));
        for wrong in [
            Patch { rows: 1..1, ..right.clone() },
            Patch { cols: Range { start: 2, end: 1 }, ..right.clone() },
            Patch { rows: 1..4, ..right.clone() },
            Patch { cols: 2..4, ..right.clone() },
            Patch { at: usize::MAX, ..right.clone() },
            Patch { row: usize::MAX / 2 + 1, ..right.clone() },
            Patch { col: usize::MAX, ..right.clone() },
        ] {
            assert!(!fits(&wrong, 1000), "{wrong:?}");
        }
    }
}
