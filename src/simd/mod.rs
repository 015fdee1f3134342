//! Levels (what the CPU can do) and the vectors of each.
//!
//! A [`Level`] is a proof: one can only be had after the CPU was asked. A kernel body is generic over the private trait
//! `Simd` and enters an instruction set only through `dispatch!`, which compiles it once for each level inside a
//! `#[target_feature]` function. Everything a body calls must be `#[inline(always)]`, closures included, or it would be
//! compiled without those features; so vectors never pass through an iterator's `fold` or `for_each`, which are not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use std::fmt;

/// A set of vector instructions that this CPU has.
///
/// ```
/// use convlane::Level;
///
/// assert!(Level::available().any(|level| level == Level::best()));
/// assert_eq!(Level::scalar().lanes(), 8);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Level(pub(crate) Kind);

/// The token of each level; [`dispatch!`] matches on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Scalar(scalar::Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Level {
    /// Plain Rust, eight lanes wide for the compiler to vectorise as it can.
    pub fn scalar() -> Self {
        Level(Kind::Scalar(scalar::Scalar))
    }

    /// AVX2 and FMA, if the CPU has them.
    pub fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return avx2::Avx2::detect().map(|token| Level(Kind::Avx2(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// AVX-512 F, BW, DQ and VL, if the CPU has them.
    pub fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return avx512::Avx512::detect().map(|token| Level(Kind::Avx512(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Every level of this CPU, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Some(Self::scalar()), Self::avx2(), Self::avx512()].into_iter().flatten()
    }

    /// The widest level of this CPU.
    pub fn best() -> Self {
        Self::avx512().or_else(Self::avx2).unwrap_or_else(Self::scalar)
    }

    /// Numbers in a vector.
    pub fn lanes(self) -> usize {
        fn lanes<S: Simd>(_: S) -> usize {
            S::LANES
        }
        match self.0 {
            Kind::Scalar(token) => lanes(token),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => lanes(token),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => lanes(token),
        }
    }

    /// `scalar`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::best()
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Level({})", self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Vectors of `f32` and the operations kernels need, on one instruction set.
///
/// A token of a type that implements it proves that the CPU has those instructions.
pub(crate) trait Simd: Copy + Send + Sync {
    /// A vector.
    type V: Copy;
    /// One truth value a lane.
    type M: Copy;
    /// Numbers in a vector.
    const LANES: usize;

    /// Runs `body` where the compiler may use the instruction set.
    fn vectorize<R>(self, body: impl FnOnce() -> R) -> R;
    /// The same in a function of its own: what the compiler makes of it does not depend on where it is used.
    fn apart<R>(self, body: impl FnOnce() -> R) -> R;

    fn splat(self, x: f32) -> Self::V;
    /// The first `LANES` numbers of `src`, which has at least as many.
    fn load(self, src: &[f32]) -> Self::V;
    /// The first `LANES` bytes of `src`, which has at least as many, as numbers.
    fn load_bytes(self, src: &[u8]) -> Self::V;
    /// Asks for the cache line of a place, be it there or not, to be in the cache soon; does nothing where it cannot.
    fn prefetch<T>(self, _place: *const T) {}
    /// Writes the first `LANES` numbers of `dst`, which has at least as many.
    fn store(self, v: Self::V, dst: &mut [f32]);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` if either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` if either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The nearest whole number, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^a` for whole `a` in `-126..=127`; anything (but no trap) elsewhere.
    fn exp2_whole(self, a: Self::V) -> Self::V;
    /// The magnitude of `a` with the sign of `b`.
    fn copysign(self, a: Self::V, b: Self::V) -> Self::V;

    /// `a > b`; false where either is NaN.
    fn gt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a <= b`; false where either is NaN.
    fn le(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a == b`; false where either is NaN.
    fn eq(self, a: Self::V, b: Self::V) -> Self::M;
    fn is_nan(self, a: Self::V) -> Self::M;
    fn or(self, a: Self::M, b: Self::M) -> Self::M;
    /// `a` where the mask holds, `b` elsewhere.
    fn select(self, mask: Self::M, a: Self::V, b: Self::V) -> Self::V;

    /// A bit for each lane, the lowest for the first: whether it is not `<= 0`, as a NaN is not.
    fn signs(self, v: Self::V) -> u32;
    /// Zero in the lanes whose bit is not set; further bits are ignored.
    fn keep(self, bits: u32, v: Self::V) -> Self::V;

    /// The sum of all lanes, halves folded together until one is left.
    fn sum(self, v: Self::V) -> f32;
    /// The largest lane of a vector without NaN.
    fn reduce_max(self, v: Self::V) -> f32;

    /// Swaps rows and columns of a square of `LANES` rows.
    fn transpose(self, square: &mut [f32]);
    /// The sum of all lanes of each of four vectors.
    fn sum_four(self, v: [Self::V; 4]) -> [f32; 4];
    /// The sum of each row of a square of `LANES` rows, added up pair by pair.
    fn sum_rows(self, square: &[f32]) -> Self::V;

    /// Up to `LANES` numbers, the missing ones filled up with `fill`.
    #[inline(always)]
    fn load_padded(self, src: &[f32], fill: f32) -> Self::V {
        if src.len() >= Self::LANES {
            return self.load(src);
        }
        let mut padded = [fill; MAX_LANES];
        copy(src, &mut padded[..src.len()]);
        self.load(&padded)
    }

    /// The first lanes of `v`, as many as `dst` holds.
    #[inline(always)]
    fn store_cut(self, v: Self::V, dst: &mut [f32]) {
        if dst.len() >= Self::LANES {
            return self.store(v, dst);
        }
        let mut padded = [0.0; MAX_LANES];
        self.store(v, &mut padded);
        copy(&padded[..dst.len()], dst);
    }
}

/// `dst = src`, by a few moves where the slices are short; `copy_from_slice` is a library call for any length unknown to
/// the compiler, which costs more than the few numbers of a pixel.
#[inline(always)]
pub(crate) fn copy(src: &[f32], dst: &mut [f32]) {
    /// Two moves that may overlap.
    #[inline(always)]
    fn ends<const N: usize>(src: &[f32], dst: &mut [f32]) {
        let (Some(first), Some(last)) = (src.first_chunk::<N>(), src.last_chunk::<N>()) else { return };
        let (first, last) = (*first, *last);
        if let Some(dst) = dst.first_chunk_mut() {
            *dst = first;
        }
        if let Some(dst) = dst.last_chunk_mut() {
            *dst = last;
        }
    }
    match src.len() {
        0 => {}
        1 => dst[0] = src[0],
        2..4 => ends::<2>(src, dst),
        4..8 => ends::<4>(src, dst),
        8..=16 => ends::<8>(src, dst),
        _ => dst.copy_from_slice(src),
    }
}

/// The most lanes of any level.
pub(crate) const MAX_LANES: usize = 16;

/// Evaluates `$body` with `$simd` bound to the token of `$level`, compiled for its instruction set.
macro_rules! dispatch {
    ($level:expr, $simd:ident => $body:expr) => {{
        use $crate::simd::Simd;
        match $level.0 {
            $crate::simd::Kind::Scalar($simd) => $simd.vectorize(
                #[inline(always)]
                || $body,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Kind::Avx2($simd) => $simd.vectorize(
                #[inline(always)]
                || $body,
            ),
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Kind::Avx512($simd) => $simd.vectorize(
                #[inline(always)]
                || $body,
            ),
        }
    }};
}
pub(crate) use dispatch;

/// `exp(x)` within 1.5 ULP; overflows to infinity, underflows through the subnormals to zero, keeps NaN.
///
/// # Source
/// Cody and Waite's reduction `x = n ln 2 + r`, then the degree-6 polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

    let x = s.min(s.splat(89.0), s.max(s.splat(-104.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = s.mul_add(p, r, s.splat(*c));
    }
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    // In two factors, since n runs from -150 to 128.
    let half = s.round(s.mul(n, s.splat(0.5)));
    s.mul(s.mul(p, s.exp2_whole(half)), s.exp2_whole(s.sub(n, half)))
}

/// `tanh(x)` within 1.5 ULP; keeps NaN and the sign of zero.
///
/// # Source
/// Cephes' `tanhf`: an odd polynomial below 0.625, `1 - 2 / (exp(2x) + 1)` above.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    const POLYNOMIAL: [f32; 5] = [-5.704_988_7e-3, 2.063_909e-2, -5.373_972e-2, 1.333_144_3e-1, -3.333_328e-1];

    let magnitude = s.copysign(x, s.splat(1.0));
    let square = s.mul(x, x);
    let mut p = s.splat(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = s.mul_add(p, square, s.splat(*c));
    }
    let small = s.mul_add(s.mul(p, square), x, x);
    let one = s.splat(1.0);
    let large = s.sub(one, s.div(s.splat(2.0), s.add(exp(s, s.add(magnitude, magnitude)), one)));
    s.select(s.gt(magnitude, s.splat(0.625)), s.copysign(large, x), small)
}

/// `1 / (1 + exp(-x))` within 3 ULP, far negative numbers included; keeps NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let e = exp(s, s.copysign(x, s.splat(-1.0)));
    let upper = s.div(one, s.add(one, e));
    s.select(s.gt(s.splat(0.0), x), s.mul(e, upper), upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place of `want`, which is rounded to `f32` first.
    fn ulps(got: f32, want: f64) -> f64 {
        let rounded = want as f32;
        if got == rounded || got.is_nan() && rounded.is_nan() {
            return 0.0;
        }
        let ulp = (rounded.abs().next_up() - rounded.abs()) as f64;
        (got as f64 - want).abs() / ulp
    }

    /// The largest error of `apply` against `exact` at 2^24 numbers: one of every 256 neighbours, infinities and NaN among
    /// them.
    fn worst(apply: fn(Level, &mut [f32]), exact: fn(f64) -> f64) -> f64 {
        let (mut worst, number) = (0.0f64, |i: u32| f32::from_bits(i << 8 | i.wrapping_mul(0x9e37_79b1) >> 24));
        for start in (0..1 << 24).step_by(1 << 10) {
            let x: Vec<f32> = (start..start + (1 << 10)).map(number).collect();
            let want: Vec<f64> = x.iter().map(|&x| exact(x.into())).collect();
            for level in Level::available() {
                let mut y = x.clone();
                apply(level, &mut y);
                for (&x, (&y, &want)) in x.iter().zip(y.iter().zip(&want)) {
                    let error = ulps(y, want);
                    assert!(error < 1e3, "{level}: {x:e} gave {y:e}");
                    worst = worst.max(error);
                }
            }
        }
        worst
    }

    macro_rules! map {
        ($function:ident) => {
            |level, y| {
                dispatch!(level, s => {
                    for chunk in y.chunks_exact_mut(MAX_LANES / 2) {
                        let v = $function(s, s.load_padded(chunk, 0.0));
                        s.store_cut(v, chunk);
                    }
                })
            }
        };
    }

    #[test]
    fn functions_stay_within_their_ulps() {
        let exp_ulps = worst(map!(exp), f64::exp);
        let tanh_ulps = worst(map!(tanh), f64::tanh);
        let sigmoid_ulps = worst(map!(sigmoid), |x| 1.0 / (1.0 + (-x).exp()));
        println!("exp {exp_ulps:.3} ULP, tanh {tanh_ulps:.3} ULP, sigmoid {sigmoid_ulps:.3} ULP");
        assert!(exp_ulps <= 1.5 && tanh_ulps <= 1.5 && sigmoid_ulps <= 3.0, "{exp_ulps} {tanh_ulps} {sigmoid_ulps}");
    }

    #[test]
    fn every_operation_agrees_with_plain_rust() {
        let a: Vec<f32> = vec![
            0.0,
            -0.0,
            1.5,
            -2.5,
            3.0,
            f32::NAN,
            7.0,
            f32::INFINITY,
            -8.5,
            0.5,
            1e-40,
            -1e30,
            2.0,
            4.0,
            f32::NAN,
            -1.0,
        ];
        let b: Vec<f32> = a.iter().rev().map(|x| x * 0.75 + 1.0).collect();
        let same = |x: f32, y: f32| x == y || x.is_nan() && y.is_nan();
        for level in Level::available() {
            let lanes = level.lanes();
            let check = |name: &str, got: &[f32], want: &dyn Fn(f32, f32) -> f32| {
                for i in 0..lanes {
                    assert!(same(got[i], want(a[i], b[i])), "{level} {name} lane {i}: {} {}", a[i], b[i]);
                }
            };
            let mut y = vec![0.0; MAX_LANES];
            dispatch!(level, s => {
                let (va, vb) = (s.load(&a), s.load(&b));
                let mut op = |name: &str, v, want: &dyn Fn(f32, f32) -> f32| {
                    s.store(v, &mut y);
                    check(name, &y, want);
                };
                op("add", s.add(va, vb), &|a, b| a + b);
                op("sub", s.sub(va, vb), &|a, b| a - b);
                op("mul", s.mul(va, vb), &|a, b| a * b);
                op("div", s.div(va, vb), &|a, b| a / b);
                op("mul_add", s.mul_add(va, s.splat(2.0), vb), &|a, b| a * 2.0 + b);
                op("max", s.max(va, vb), &|a, b| if a > b { a } else { b });
                op("min", s.min(va, vb), &|a, b| if a < b { a } else { b });
                op("round", s.round(va), &|a, _| a.round_ties_even());
                op("copysign", s.copysign(va, vb), &|a, b| if a.is_nan() { a } else { a.copysign(b) });
                let (one, zero) = (s.splat(1.0), s.splat(0.0));
                let truth = |holds: bool| f32::from(u8::from(holds));
                op("gt", s.select(s.gt(va, vb), one, zero), &|a, b| truth(a > b));
                op("le", s.select(s.le(va, vb), one, zero), &|a, b| truth(a <= b));
                op("eq", s.select(s.eq(va, zero), one, zero), &|a, _| truth(a == 0.0));
                op("is_nan", s.select(s.is_nan(va), one, zero), &|a, _| truth(a.is_nan()));
                op("or", s.select(s.or(s.gt(va, vb), s.is_nan(va)), one, zero), &|a, b| truth(a > b || a.is_nan()));
                let signs = s.signs(va);
                assert!((0..lanes).all(|i| (signs >> i & 1 == 1) != (a[i] <= 0.0)), "{level} signs: {signs:b}");
                assert_eq!(signs >> lanes, 0, "{level}");
                s.store(s.keep(signs | 1 << lanes, vb), &mut y);
                assert!((0..lanes).all(|i| same(y[i], if a[i] <= 0.0 { 0.0 } else { b[i] })), "{level} keep: {y:?}");
                let whole = [-126.0, -1.0, 0.0, 1.0, 2.0, 10.0, 127.0, 5.0, -3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 11.0, 12.0];
                let v = s.load(&whole);
                s.store(s.exp2_whole(v), &mut y);
                assert_eq!(y[..8], [f32::MIN_POSITIVE, 0.5, 1.0, 2.0, 4.0, 1024.0, f32::from_bits(254 << 23), 32.0], "{level}");
                assert_eq!(s.sum(v), whole[..lanes].iter().sum::<f32>(), "{level}");
                assert_eq!(s.reduce_max(v), 127.0, "{level}");
                let bytes: Vec<u8> = (0..16).map(|i| i * 17).collect();
                s.store(s.load_bytes(&bytes), &mut y);
                assert!((0..lanes).all(|i| y[i] == f32::from(bytes[i])), "{level}");
                let square: Vec<f32> = (0..lanes * lanes).map(|i| (i * i % 89) as f32).collect();
                let mut transposed = square.clone();
                s.transpose(&mut transposed);
                let rows = [0, 1, 2, 3].map(#[inline(always)] |row| s.load(&square[row * lanes..]));
                for (row, sum) in s.sum_four(rows).into_iter().enumerate() {
                    assert_eq!(sum, square[row * lanes..][..lanes].iter().sum::<f32>(), "{level}");
                }
                let mut sums = [0.0; MAX_LANES];
                s.store(s.sum_rows(&square), &mut sums);
                for row in 0..lanes {
                    assert_eq!(sums[row], square[row * lanes..][..lanes].iter().sum::<f32>(), "{level}");
                    for column in 0..lanes {
                        assert_eq!(transposed[row * lanes + column], square[column * lanes + row], "{level}");
                    }
                }
                s.store_cut(s.load_padded(&[1.0, 2.0, 3.0], 9.0), &mut y[..5]);
                assert_eq!(y[..5], [1.0, 2.0, 3.0, 9.0, 9.0], "{level}");
            });
        }
    }
}
