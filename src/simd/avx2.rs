//! AVX2 and FMA: eight lanes.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Simd;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn enter<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn enter_apart<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// An expression of AVX2 and FMA intrinsics on registers.
macro_rules! register {
    ($expression:expr) => {
        // SAFETY: only a CPU with AVX2 and FMA gives out a token, and every caller holds one; no memory is touched.
        unsafe { $expression }
    };
}

impl Avx2 {
    /// The rows of a square.
    #[inline(always)]
    fn rows(self, square: &[f32]) -> [__m256; 8] {
        let mut rows = [self.splat(0.0); 8];
        for (row, v) in rows.iter_mut().enumerate() {
            *v = self.load(&square[8 * row..]);
        }
        rows
    }
}

/// The lower pairs of each half of `a` and `b`.
#[inline(always)]
fn unpack_low_pairs(a: __m256, b: __m256) -> __m256 {
    register!(_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))))
}

/// The upper pairs of each half of `a` and `b`.
#[inline(always)]
fn unpack_high_pairs(a: __m256, b: __m256) -> __m256 {
    register!(_mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))))
}

impl Simd for Avx2 {
    type V = __m256;
    type M = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn vectorize<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has AVX2 and FMA.
        unsafe { enter(body) }
    }

    #[inline(always)]
    fn apart<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has AVX2 and FMA.
        unsafe { enter_apart(body) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        register!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m256 {
        let src: &[f32; 8] = src.first_chunk().expect("a whole vector");
        // SAFETY: the token proves AVX2; the array is eight readable floats, and the load needs no alignment.
        unsafe { _mm256_loadu_ps(src.as_ptr()) }
    }

    #[inline(always)]
    fn load_bytes(self, src: &[u8]) -> __m256 {
        let src: &[u8; 8] = src.first_chunk().expect("a whole vector");
        register!(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_set1_epi64x(i64::from_le_bytes(*src)))))
    }

    #[inline(always)]
    fn prefetch<T>(self, place: *const T) {
        // SAFETY: the token proves AVX2, and with it SSE; a prefetch of any address has no effect but on the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }

    #[inline(always)]
    fn store(self, v: __m256, dst: &mut [f32]) {
        let dst: &mut [f32; 8] = dst.first_chunk_mut().expect("a whole vector");
        // SAFETY: the token proves AVX2; the array is eight writable floats, and the store needs no alignment.
        unsafe { _mm256_storeu_ps(dst.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        register!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        register!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn exp2_whole(self, a: __m256) -> __m256 {
        register!({
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        })
    }

    #[inline(always)]
    fn copysign(self, a: __m256, b: __m256) -> __m256 {
        register!({
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        })
    }

    #[inline(always)]
    fn gt(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn le(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_cmp_ps::<_CMP_LE_OQ>(a, b))
    }

    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn is_nan(self, a: __m256) -> __m256 {
        register!(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
    }

    #[inline(always)]
    fn or(self, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_or_ps(a, b))
    }

    #[inline(always)]
    fn signs(self, v: __m256) -> u32 {
        register!(_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(v, _mm256_setzero_ps())) as u32)
    }

    #[inline(always)]
    fn keep(self, bits: u32, v: __m256) -> __m256 {
        register!({
            // Bit `i` becomes the sign of lane `i`.
            let to_sign = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
            let signs = _mm256_sllv_epi32(_mm256_set1_epi32(bits as i32), to_sign);
            _mm256_blendv_ps(_mm256_setzero_ps(), v, _mm256_castsi256_ps(signs))
        })
    }

    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        register!(_mm256_blendv_ps(b, a, mask))
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        register!({
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn reduce_max(self, v: __m256) -> f32 {
        register!({
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f32]) {
        let (mut a, mut b) = (self.rows(square), [self.splat(0.0); 8]);
        register!({
            for i in 0..4 {
                b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
            }
            for i in [0, 4] {
                for j in 0..2 {
                    a[i + 2 * j] = unpack_low_pairs(b[i + j], b[i + j + 2]);
                    a[i + 2 * j + 1] = unpack_high_pairs(b[i + j], b[i + j + 2]);
                }
            }
            for i in 0..4 {
                b[i] = _mm256_permute2f128_ps::<0x20>(a[i], a[i + 4]);
                b[i + 4] = _mm256_permute2f128_ps::<0x31>(a[i], a[i + 4]);
            }
        });
        for (row, v) in b.into_iter().enumerate() {
            self.store(v, &mut square[8 * row..]);
        }
    }

    #[inline(always)]
    fn sum_four(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        let quarters = register!({
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let abcd = _mm256_add_ps(unpack_low_pairs(ab, cd), unpack_high_pairs(ab, cd));
            _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd))
        });
        // SAFETY: the token proves AVX2; the array is four writable floats, and the store needs no alignment.
        unsafe { _mm_storeu_ps(sums.as_mut_ptr(), quarters) };
        sums
    }

    #[inline(always)]
    fn sum_rows(self, square: &[f32]) -> __m256 {
        let mut a = self.rows(square);
        register!({
            for i in 0..4 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                a[i] = _mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
            }
            for i in 0..2 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                a[i] = _mm256_add_ps(unpack_low_pairs(x, y), unpack_high_pairs(x, y));
            }
            let (x, y) = (a[0], a[1]);
            _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(x, y), _mm256_permute2f128_ps::<0x31>(x, y))
        })
    }
}
