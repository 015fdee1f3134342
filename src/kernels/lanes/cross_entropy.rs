//! Softmax cross-entropy from the logits of one block, one sample a lane: `loss = sum_i t_i (log sum_j exp(z_j) - z_i)`.

use super::activation::max_and_sum_exp;
use crate::kernels::check_len;
use crate::kernels::cross_entropy::Targets;
use crate::simd::{Level, MAX_LANES, Simd, dispatch, exp};

/// The losses of the first lanes, finite for logits that differ by less than `f32::MAX`.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `logits` | `[classes][lane]` |
/// | `losses` | `[n]`, overwritten, `n` at most the lanes |
///
/// # Panics
/// If the lengths do not fit each other or a label is not below `classes`.
pub fn forward(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, losses: &mut [f32]) {
    check(level, classes, logits, targets, losses.len());
    let lanes = level.lanes();
    let (mut max, mut sum) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
    dispatch!(level, s => {
        let (max_v, sum_v) = max_and_sum_exp(s, logits);
        s.store(max_v, &mut max);
        s.store(sum_v, &mut sum);
    });
    for (lane, loss) in losses.iter_mut().enumerate() {
        let (max, log_sum) = (max[lane], sum[lane].ln());
        let term = |class: usize| log_sum - (logits[class * lanes + lane] - max);
        *loss = match targets {
            Targets::Sparse(labels) => term(labels[lane] as usize),
            Targets::OneHot(weights) => {
                let weights = weights[lane * classes..][..classes].iter().enumerate();
                weights.map(|(class, &t)| if t == 0.0 { t * log_sum } else { t * term(class) }).sum()
            }
        };
    }
}

/// The gradient of `scale * sum(losses)`: `dlogits_i = (softmax(z)_i sum(t) - t_i) scale`, and zero in lanes without a
/// target.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `logits` | `[classes][lane]` |
/// | `dlogits` | `[classes][lane]`, overwritten |
///
/// # Panics
/// If the lengths do not fit each other or a label is not below `classes`.
pub fn backward(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, scale: f32, dlogits: &mut [f32]) {
    let n = targets.len(classes);
    check(level, classes, logits, targets, n);
    check_len!(dlogits, logits.len());
    let lanes = level.lanes();
    let mut totals = [0.0; MAX_LANES];
    for (lane, total) in totals[..n].iter_mut().enumerate() {
        *total = match targets {
            Targets::Sparse(_) => scale,
            Targets::OneHot(weights) => weights[lane * classes..][..classes].iter().sum::<f32>() * scale,
        };
    }
    dispatch!(level, s => scaled_softmax(s, logits, &totals, dlogits));
    for lane in 0..n {
        match targets {
            Targets::Sparse(labels) => dlogits[labels[lane] as usize * lanes + lane] -= scale,
            Targets::OneHot(weights) => {
                for (class, &t) in weights[lane * classes..][..classes].iter().enumerate() {
                    dlogits[class * lanes + lane] -= t * scale;
                }
            }
        }
    }
    for row in dlogits.chunks_exact_mut(lanes) {
        row[n..].fill(0.0);
    }
}

fn check(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, n: usize) {
    assert!(classes > 0 && n <= level.lanes(), "{n} samples of {classes} classes in {} lanes", level.lanes());
    check_len!(logits, crate::shape::batch_len(classes, level.lanes()));
    targets.check(n, classes);
}

#[inline(always)]
fn scaled_softmax<S: Simd>(s: S, logits: &[f32], totals: &[f32], dlogits: &mut [f32]) {
    let (max, sum) = max_and_sum_exp(s, logits);
    let factor = s.div(s.load(totals), sum);
    for (z, dz) in logits.chunks_exact(S::LANES).zip(dlogits.chunks_exact_mut(S::LANES)) {
        s.store(s.mul(exp(s, s.sub(s.load(z), max)), factor), dz);
    }
}
