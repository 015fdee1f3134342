//! The level every CPU has: arrays of eight, which the compiler vectorises with what the target guarantees.

use super::Simd;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Scalar;

const LANES: usize = 8;
type V = [f32; LANES];
type M = [bool; LANES];

#[inline(always)]
fn map2<A: Copy, B: Copy, T>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> T) -> [T; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

/// Folds the upper half onto the lower one until one lane is left.
#[inline(always)]
fn fold(mut v: V, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            v[lane] = f(v[lane], v[lane + half]);
        }
        half /= 2;
    }
    v[0]
}

impl Simd for Scalar {
    type V = V;
    type M = M;
    const LANES: usize = LANES;

    #[inline(always)]
    fn vectorize<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }

    #[inline(never)]
    fn apart<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> V {
        *src.first_chunk().expect("a whole vector")
    }

    #[inline(always)]
    fn load_bytes(self, src: &[u8]) -> V {
        src.first_chunk::<LANES>().expect("a whole vector").map(f32::from)
    }

    #[inline(always)]
    fn store(self, v: V, dst: &mut [f32]) {
        *dst.first_chunk_mut().expect("a whole vector") = v;
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        map2(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        map2(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        map2(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        map2(a, b, |a, b| a / b)
    }

    // Not `f32::mul_add`, which is a library call without FMA.
    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        map2(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        map2(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn round(self, a: V) -> V {
        a.map(f32::round_ties_even)
    }

    #[inline(always)]
    fn exp2_whole(self, a: V) -> V {
        a.map(|a| f32::from_bits(((a as i32).wrapping_add(127) as u32) << 23))
    }

    #[inline(always)]
    fn copysign(self, a: V, b: V) -> V {
        map2(a, b, f32::copysign)
    }

    #[inline(always)]
    fn gt(self, a: V, b: V) -> M {
        map2(a, b, |a, b| a > b)
    }

    #[inline(always)]
    fn le(self, a: V, b: V) -> M {
        map2(a, b, |a, b| a <= b)
    }

    #[inline(always)]
    fn eq(self, a: V, b: V) -> M {
        map2(a, b, |a, b| a == b)
    }

    #[inline(always)]
    fn is_nan(self, a: V) -> M {
        a.map(f32::is_nan)
    }

    #[inline(always)]
    fn or(self, a: M, b: M) -> M {
        map2(a, b, |a, b| a | b)
    }

    #[inline(always)]
    fn signs(self, v: V) -> u32 {
        let mut bits = 0;
        for (lane, v) in v.into_iter().enumerate() {
            bits |= u32::from(v > 0.0 || v.is_nan()) << lane;
        }
        bits
    }

    #[inline(always)]
    fn keep(self, bits: u32, v: V) -> V {
        std::array::from_fn(|lane| if bits >> lane & 1 == 1 { v[lane] } else { 0.0 })
    }

    #[inline(always)]
    fn select(self, mask: M, a: V, b: V) -> V {
        std::array::from_fn(|lane| if mask[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn sum(self, v: V) -> f32 {
        fold(v, |a, b| a + b)
    }

    #[inline(always)]
    fn reduce_max(self, v: V) -> f32 {
        fold(v, f32::max)
    }

    fn transpose(self, square: &mut [f32]) {
        for row in 0..LANES {
            for column in 0..row {
                square.swap(row * LANES + column, column * LANES + row);
            }
        }
    }

    #[inline(always)]
    fn sum_four(self, v: [V; 4]) -> [f32; 4] {
        v.map(|v| self.sum(v))
    }

    #[inline(always)]
    fn sum_rows(self, square: &[f32]) -> V {
        std::array::from_fn(|row| self.sum(self.load(&square[row * LANES..])))
    }
}
