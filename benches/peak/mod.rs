//! The most `f32` multiply-adds a second that this CPU does, by a loop of nothing else.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

/// Independent sums: more than two units with a latency of 5 can have under way, few enough for 16 registers.
const CHAINS: usize = 12;

/// Multiply-adds of one measurement a thread: some hundredths of a second.
const MULTIPLY_ADDS: usize = 3_000_000_000;

/// Multiply-adds a second of so many threads together.
pub fn measure(threads: usize) -> f64 {
    let clock = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(multiply_add);
        }
    });
    (threads * MULTIPLY_ADDS) as f64 / clock.elapsed().as_secs_f64()
}

fn multiply_add() {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512 F.
            return unsafe { avx512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has AVX2 and FMA.
            return unsafe { avx2() };
        }
    }
    plain();
}

#[cfg(target_arch = "x86_64")]
macro_rules! fma_loop {
    ($name:ident, $features:literal, $lanes:literal, $splat:ident, $fma:ident) => {
        #[target_feature(enable = $features)]
        fn $name() {
            use std::arch::x86_64::{$fma, $splat};
            let half = $splat(black_box(0.5));
            let mut sums = [half; CHAINS];
            for _ in 0..MULTIPLY_ADDS / CHAINS / $lanes {
                for sum in &mut sums {
                    *sum = $fma(*sum, half, half);
                }
            }
            black_box(sums);
        }
    };
}

#[cfg(target_arch = "x86_64")]
fma_loop!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
fma_loop!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);

fn plain() {
    let half = black_box(0.5f32);
    let mut sums = [half; 4 * CHAINS];
    for _ in 0..MULTIPLY_ADDS / sums.len() {
        for sum in &mut sums {
            *sum = *sum * half + half;
        }
    }
    black_box(sums);
}
