//! The most `f32` multiply-adds a second that this CPU does, by a loop of nothing else.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

/// Multiply-adds a second on so many threads at once, each running for about `seconds`.
pub fn multiply_adds_per_second(threads: usize, seconds: f64) -> f64 {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| one_thread(seconds))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic in a loop of multiply-adds")).sum()
    })
}

fn one_thread(seconds: f64) -> f64 {
    const ROUNDS: usize = 100_000;
    let (start, mut multiply_adds) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        multiply_adds += round(black_box(ROUNDS));
    }
    multiply_adds as f64 / start.elapsed().as_secs_f64()
}

/// Runs so many rounds of independent chains, more than the latency of an FMA needs, and counts the multiply-adds.
fn round(rounds: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512 F.
            return unsafe { avx512(rounds) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has AVX2 and FMA.
            return unsafe { avx2(rounds) };
        }
    }
    plain(rounds)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: usize) -> usize {
    use std::arch::x86_64::*;
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
    let mut chains = [_mm512_set1_ps(1.0); 24];
    for _ in 0..rounds {
        for chain in &mut chains {
            *chain = _mm512_fmadd_ps(*chain, a, b);
        }
    }
    black_box(chains.map(|chain| _mm512_reduce_add_ps(chain)));
    rounds * chains.len() * 16
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: usize) -> usize {
    use std::arch::x86_64::*;
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
    let mut chains = [_mm256_set1_ps(1.0); 12];
    for _ in 0..rounds {
        for chain in &mut chains {
            *chain = _mm256_fmadd_ps(*chain, a, b);
        }
    }
    black_box(chains.map(|chain| _mm256_cvtss_f32(chain)));
    rounds * chains.len() * 8
}

fn plain(rounds: usize) -> usize {
    let (a, b) = (black_box(0.999f32), black_box(1e-3f32));
    let mut chains = [1.0f32; 64];
    for _ in 0..rounds {
        for chain in &mut chains {
            *chain = *chain * a + b;
        }
    }
    black_box(chains);
    rounds * chains.len()
}
