//! Winograd's minimal filtering: polynomials and their values at points.
//!
//! A row of `N - 3` taps over four outputs is a product of polynomials of degree `N - 2`, which is known from its values at the
//! points 0, 1, -1, 2, -2 (with `N = 8` also 1/2, -1/2) and its leading coefficient, the value "at infinity". `G` and `A`
//! give the values of the taps and of four numbers there, and `B` interpolates. Values are in the order 0, each pair `p, -p`,
//! infinity.
//!
//! For a pair, with `R(t)` the product of `t - q^2` over the other pairs `q`, the row of `B^T` has the coefficients of
//! `t (t + p) R(t^2)`, and the row of `G` is divided by its value `2 p^2 R(p^2)`; for 0 and infinity they are those of `T(t^2)`
//! and `t T(t^2)`, `T` being the product over all pairs. An even and an odd half serve both points of a pair.
//!
//! # Source
//! Winograd: Arithmetic Complexity of Computations (1980); Lavin, Gray: Fast Algorithms for Convolutional Neural Networks
//! (2015).

use crate::kernels::maps::Transform;
use crate::simd::Simd;

/// Outputs of a tile.
pub(super) const TILE: usize = 4;

/// The point 1, at which the value of some numbers is their sum.
pub(super) const SUMS: usize = 1;

/// The most pairs of points.
const PAIRS: usize = 3;

/// The positive point of each pair.
const POINTS: [f32; PAIRS] = [1.0, 2.0, 0.5];

/// Coefficients of a polynomial, the lowest first.
type Polynomial = [f32; PAIRS + 1];

/// The transforms with `N` points.
struct Points<const N: usize>;

impl<const N: usize> Points<N> {
    const PAIRS: usize = (N - 2) / 2;
    const TAPS: usize = N + 1 - TILE;
    /// `T`, whose highest coefficient is 1.
    const ALL: Polynomial = product(Self::PAIRS, PAIRS);
    /// `R` of each pair, whose highest coefficient is 1.
    const REST: [Polynomial; PAIRS] = [product(Self::PAIRS, 0), product(Self::PAIRS, 1), product(Self::PAIRS, 2)];
    /// What the rows of `G` are multiplied by.
    const SCALES: [f32; PAIRS] = [Self::scale(0), Self::scale(1), Self::scale(2)];

    const fn scale(pair: usize) -> f32 {
        let (square, rest) = (POINTS[pair] * POINTS[pair], Self::REST[pair]);
        1.0 / (2.0 * square * (rest[0] + square * (rest[1] + square * (rest[2] + square * rest[3]))))
    }
}

/// The product of `t - q^2` over the first `pairs` pairs but one.
const fn product(pairs: usize, except: usize) -> Polynomial {
    let mut product = [1.0, 0.0, 0.0, 0.0];
    let mut pair = 0;
    while pair < pairs {
        if pair != except {
            let square = POINTS[pair] * POINTS[pair];
            let mut k = PAIRS;
            while k > 0 {
                product[k] = product[k - 1] - square * product[k];
                k -= 1;
            }
            product[0] *= -square;
        }
        pair += 1;
    }
    product
}

/// The values that the halves of a polynomial have at a pair: `even + p odd` and `even - p odd`.
#[inline(always)]
fn both<S: Simd>(s: S, p: f32, even: S::V, odd: S::V) -> [S::V; 2] {
    if p == 1.0 {
        // A sum takes another unit of the CPU than a product.
        return [s.add(even, odd), s.sub(even, odd)];
    }
    [s.mul_add(s.splat(p), odd, even), s.mul_add(s.splat(-p), odd, even)]
}

/// The sum and the difference of the values at each pair.
#[inline(always)]
fn halves<S: Simd, const N: usize>(s: S, v: &[S::V; N]) -> [[S::V; 2]; PAIRS] {
    let mut halves = [[v[0]; 2]; PAIRS];
    for (pair, halves) in halves.iter_mut().enumerate().take(Points::<N>::PAIRS) {
        let (plus, minus) = (v[1 + 2 * pair], v[2 + 2 * pair]);
        *halves = [s.add(plus, minus), s.sub(plus, minus)];
    }
    halves
}

/// `B^T`: the values of a tile's inputs.
pub(super) struct Inputs;

impl<const N: usize> Transform<N, N> for Inputs {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, x: &[S::V; N]) -> [S::V; N] {
        let mut values = *x;
        values[0] = combine(s, &Points::<N>::ALL, Points::<N>::PAIRS, x, 0);
        values[N - 1] = combine(s, &Points::<N>::ALL, Points::<N>::PAIRS, x, 1);
        for pair in 0..Points::<N>::PAIRS {
            let rest = &Points::<N>::REST[pair];
            let odd = combine(s, rest, Points::<N>::PAIRS - 1, x, 1);
            let even = combine(s, rest, Points::<N>::PAIRS - 1, x, 2);
            [values[1 + 2 * pair], values[2 + 2 * pair]] = both(s, POINTS[pair], even, odd);
        }
        values
    }
}

/// For each output of a tile the sum of the magnitudes of the inputs under it: zero if all of them are.
pub(super) struct Magnitudes;

impl<const N: usize> Transform<N, TILE> for Magnitudes {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, x: &[S::V; N]) -> [S::V; TILE] {
        let mut sums = [s.splat(0.0); TILE];
        for (i, sum) in sums.iter_mut().enumerate() {
            for &x in &x[i..i + Points::<N>::TAPS] {
                *sum = s.add(*sum, s.copysign(x, s.splat(0.0)));
            }
        }
        sums
    }
}

/// `sum polynomial[k] x[first + 2 k]` up to `k = degree`, where the coefficient is 1.
#[inline(always)]
fn combine<S: Simd, const N: usize>(s: S, polynomial: &Polynomial, degree: usize, x: &[S::V; N], first: usize) -> S::V {
    let mut sum = x[first + 2 * degree];
    for k in 0..degree {
        sum = s.mul_add(s.splat(polynomial[k]), x[first + 2 * k], sum);
    }
    sum
}

/// `B`, added: the gradients of a tile's inputs from those of their values.
pub(super) struct AddInputGradients;

impl<const N: usize> Transform<N, N> for AddInputGradients {
    const ADDS: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, values: &[S::V; N]) -> [S::V; N] {
        let mut dx = [s.splat(0.0); N];
        add_multiples(s, &Points::<N>::ALL, Points::<N>::PAIRS, values[0], &mut dx, 0);
        add_multiples(s, &Points::<N>::ALL, Points::<N>::PAIRS, values[N - 1], &mut dx, 1);
        for (pair, [sum, difference]) in halves(s, values).into_iter().enumerate().take(Points::<N>::PAIRS) {
            let (rest, odd) = (&Points::<N>::REST[pair], s.mul(s.splat(POINTS[pair]), difference));
            add_multiples(s, rest, Points::<N>::PAIRS - 1, odd, &mut dx, 1);
            add_multiples(s, rest, Points::<N>::PAIRS - 1, sum, &mut dx, 2);
        }
        dx
    }
}

/// The transpose of [`combine`].
#[inline(always)]
fn add_multiples<S: Simd, const N: usize>(
    s: S,
    polynomial: &Polynomial,
    degree: usize,
    value: S::V,
    dx: &mut [S::V; N],
    first: usize,
) {
    for k in 0..=degree {
        dx[first + 2 * k] = s.mul_add(s.splat(polynomial[k]), value, dx[first + 2 * k]);
    }
}

/// `A^T`: `start` and a tile's outputs from their values.
#[inline(always)]
pub(super) fn outputs<S: Simd, const N: usize>(s: S, start: S::V, values: &[S::V; N]) -> [S::V; TILE] {
    let mut y = [start; TILE];
    y[0] = s.add(y[0], values[0]);
    y[TILE - 1] = s.add(y[TILE - 1], values[N - 1]);
    for (pair, halves) in halves(s, values).into_iter().enumerate().take(Points::<N>::PAIRS) {
        let mut power = 1.0;
        for (i, y) in y.iter_mut().enumerate() {
            *y = s.mul_add(s.splat(power), halves[i % 2], *y);
            power *= POINTS[pair];
        }
    }
    y
}

/// `max(floor, b[channel] + y)` of a tile's outputs `y` from their values.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub b: Option<&'a [f32]>,
    pub floor: f32,
}

impl<const N: usize> Transform<N, TILE> for Outputs<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, channel: usize, values: &[S::V; N]) -> [S::V; TILE] {
        let y = outputs(s, s.splat(self.b.map_or(0.0, |b| b[channel])), values);
        let floor = s.splat(self.floor);
        y.map(
            #[inline(always)]
            |y| s.max(floor, y),
        )
    }
}

/// `A`: the values of a tile's output gradients.
pub(super) struct OutputGradients;

impl<const N: usize> Transform<TILE, N> for OutputGradients {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, dy: &[S::V; TILE]) -> [S::V; N] {
        let mut values = [dy[0]; N];
        values[N - 1] = dy[TILE - 1];
        for pair in 0..Points::<N>::PAIRS {
            let square = s.splat(POINTS[pair] * POINTS[pair]);
            let [even, odd] = [s.mul_add(square, dy[2], dy[0]), s.mul_add(square, dy[3], dy[1])];
            [values[1 + 2 * pair], values[2 + 2 * pair]] = both(s, POINTS[pair], even, odd);
        }
        values
    }
}

/// `G`: the values of a row of taps, of which there are `N - 3`.
pub(super) struct Taps;

impl<const N: usize> Transform<N, N> for Taps {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, w: &[S::V; N]) -> [S::V; N] {
        let taps = Points::<N>::TAPS;
        let mut values = [w[0]; N];
        values[0] = s.mul(w[0], s.splat(1.0 / Points::<N>::ALL[0]));
        values[N - 1] = w[taps - 1];
        for pair in 0..Points::<N>::PAIRS {
            let square = s.splat(POINTS[pair] * POINTS[pair]);
            let (mut even, mut odd) = (w[taps - 1], w[taps - 2]);
            for tap in (0..taps / 2).rev() {
                even = s.mul_add(square, even, w[2 * tap]);
            }
            for tap in (0..taps / 2 - 1).rev() {
                odd = s.mul_add(square, odd, w[2 * tap + 1]);
            }
            let scale = s.splat(Points::<N>::SCALES[pair]);
            [values[1 + 2 * pair], values[2 + 2 * pair]] = both(s, POINTS[pair], s.mul(scale, even), s.mul(scale, odd));
        }
        values
    }
}

/// `G^T`: the gradients of a row of taps from those of its values.
pub(super) struct TapGradients;

impl<const N: usize> Transform<N, N> for TapGradients {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: usize, values: &[S::V; N]) -> [S::V; N] {
        let taps = Points::<N>::TAPS;
        let mut dw = [s.splat(0.0); N];
        dw[0] = s.mul(values[0], s.splat(1.0 / Points::<N>::ALL[0]));
        dw[taps - 1] = values[N - 1];
        for (pair, halves) in halves(s, values).into_iter().enumerate().take(Points::<N>::PAIRS) {
            let mut power = Points::<N>::SCALES[pair];
            for (tap, dw) in dw.iter_mut().enumerate().take(taps) {
                *dw = s.mul_add(s.splat(power), halves[tap % 2], *dw);
                power *= POINTS[pair];
            }
        }
        dw
    }
}
