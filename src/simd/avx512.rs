//! AVX-512 F, BW, DQ and VL: sixteen lanes.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Simd;

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and with them AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        detected.then_some(Avx512(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn enter<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline(never)]
fn enter_apart<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// An expression of AVX-512 intrinsics on registers.
macro_rules! register {
    ($expression:expr) => {
        // SAFETY: only a CPU with AVX-512 gives out a token, and every caller holds one; no memory is touched.
        unsafe { $expression }
    };
}

/// The lowest `len` lanes, `len` at most 16.
#[inline(always)]
fn first(len: usize) -> __mmask16 {
    ((1u32 << len.min(16)) - 1) as __mmask16
}

impl Avx512 {
    /// The rows of a square.
    #[inline(always)]
    fn rows(self, square: &[f32]) -> [__m512; 16] {
        let mut rows = [self.splat(0.0); 16];
        for (row, v) in rows.iter_mut().enumerate() {
            *v = self.load(&square[16 * row..]);
        }
        rows
    }
}

/// The lower pairs of each quarter of `a` and `b`.
#[inline(always)]
fn unpack_low_pairs(a: __m512, b: __m512) -> __m512 {
    register!(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))))
}

/// The upper pairs of each quarter of `a` and `b`.
#[inline(always)]
fn unpack_high_pairs(a: __m512, b: __m512) -> __m512 {
    register!(_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))))
}

impl Simd for Avx512 {
    type V = __m512;
    type M = __mmask16;
    const LANES: usize = 16;

    #[inline(always)]
    fn vectorize<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has AVX-512.
        unsafe { enter(body) }
    }

    #[inline(always)]
    fn apart<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has AVX-512.
        unsafe { enter_apart(body) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        register!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m512 {
        let src: &[f32; 16] = src.first_chunk().expect("a whole vector");
        // SAFETY: the token proves AVX-512; the array is sixteen readable floats, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(src.as_ptr()) }
    }

    #[inline(always)]
    fn load_bytes(self, src: &[u8]) -> __m512 {
        let src: &[u8; 16] = src.first_chunk().expect("a whole vector");
        // SAFETY: the token proves AVX-512; the array is sixteen readable bytes, and the load needs no alignment.
        let bytes = unsafe { _mm_loadu_si128(src.as_ptr().cast()) };
        register!(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
    }

    #[inline(always)]
    fn prefetch<T>(self, place: *const T) {
        // SAFETY: the token proves AVX-512, and with it SSE; a prefetch of any address has no effect but on the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }

    #[inline(always)]
    fn store(self, v: __m512, dst: &mut [f32]) {
        let dst: &mut [f32; 16] = dst.first_chunk_mut().expect("a whole vector");
        // SAFETY: the token proves AVX-512; the array is sixteen writable floats, and the store needs no alignment.
        unsafe { _mm512_storeu_ps(dst.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn load_padded(self, src: &[f32], fill: f32) -> __m512 {
        // SAFETY: the token proves AVX-512; masked-off lanes are not read, and the others lie inside `src`.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(src.len()), src.as_ptr()) }
    }

    #[inline(always)]
    fn store_cut(self, v: __m512, dst: &mut [f32]) {
        // SAFETY: the token proves AVX-512; masked-off lanes are not written, and the others lie inside `dst`.
        unsafe { _mm512_mask_storeu_ps(dst.as_mut_ptr(), first(dst.len()), v) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        register!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        register!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn exp2_whole(self, a: __m512) -> __m512 {
        register!({
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        })
    }

    #[inline(always)]
    fn copysign(self, a: __m512, b: __m512) -> __m512 {
        register!({
            let sign = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b))
        })
    }

    #[inline(always)]
    fn gt(self, a: __m512, b: __m512) -> __mmask16 {
        register!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn le(self, a: __m512, b: __m512) -> __mmask16 {
        register!(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b))
    }

    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        register!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn is_nan(self, a: __m512) -> __mmask16 {
        register!(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a))
    }

    #[inline(always)]
    fn or(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }

    #[inline(always)]
    fn signs(self, v: __m512) -> u32 {
        register!(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(v, _mm512_setzero_ps())).into()
    }

    #[inline(always)]
    fn keep(self, bits: u32, v: __m512) -> __m512 {
        register!(_mm512_maskz_mov_ps(bits as __mmask16, v))
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        register!(_mm512_mask_blend_ps(mask, b, a))
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        register!(_mm512_reduce_add_ps(v))
    }

    #[inline(always)]
    fn reduce_max(self, v: __m512) -> f32 {
        register!(_mm512_reduce_max_ps(v))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f32]) {
        let (mut a, mut b) = (self.rows(square), [self.splat(0.0); 16]);
        register!({
            for i in 0..8 {
                b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
            }
            for i in [0, 4, 8, 12] {
                for j in 0..2 {
                    a[i + 2 * j] = unpack_low_pairs(b[i + j], b[i + j + 2]);
                    a[i + 2 * j + 1] = unpack_high_pairs(b[i + j], b[i + j + 2]);
                }
            }
            for i in [0, 1, 2, 3, 8, 9, 10, 11] {
                b[i] = _mm512_shuffle_f32x4::<0x88>(a[i], a[i + 4]);
                b[i + 4] = _mm512_shuffle_f32x4::<0xdd>(a[i], a[i + 4]);
            }
            for i in 0..8 {
                a[i] = _mm512_shuffle_f32x4::<0x88>(b[i], b[i + 8]);
                a[i + 8] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[i + 8]);
            }
        });
        for (row, v) in a.into_iter().enumerate() {
            self.store(v, &mut square[16 * row..]);
        }
    }

    #[inline(always)]
    fn sum_four(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        let quarters = register!({
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let abcd = _mm512_add_ps(unpack_low_pairs(ab, cd), unpack_high_pairs(ab, cd));
            let half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
            _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half))
        });
        // SAFETY: the token proves AVX-512; the array is four writable floats, and the store needs no alignment.
        unsafe { _mm_storeu_ps(sums.as_mut_ptr(), quarters) };
        sums
    }

    #[inline(always)]
    fn sum_rows(self, square: &[f32]) -> __m512 {
        let mut a = self.rows(square);
        register!({
            for i in 0..8 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                a[i] = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
            }
            for i in 0..4 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                a[i] = _mm512_add_ps(unpack_low_pairs(x, y), unpack_high_pairs(x, y));
            }
            for i in 0..2 {
                let (x, y) = (a[2 * i], a[2 * i + 1]);
                a[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(x, y), _mm512_shuffle_f32x4::<0xdd>(x, y));
            }
            let (x, y) = (a[0], a[1]);
            _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(x, y), _mm512_shuffle_f32x4::<0xdd>(x, y))
        })
    }
}
