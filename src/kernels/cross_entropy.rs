//! Softmax cross-entropy from logits: `loss = sum_i t_i (log sum_j exp(z_j) - z_i)`.

use super::softmax::{row_max, row_sum_exp};
use super::{check_len, map_in_place, zip_in_place};
use crate::simd::{Level, Simd, dispatch, exp};

/// What the network should have said.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// `[n]` numbers of classes.
    Sparse(&'a [u32]),
    /// `[n][classes]` weights of the classes: one-hot, or any distribution.
    OneHot(&'a [f32]),
}

/// The target of one sample.
#[derive(Clone, Copy)]
enum Target<'a> {
    Class(usize),
    Weights(&'a [f32]),
}

impl<'a> Targets<'a> {
    /// Number of targets.
    pub(crate) fn len(self, classes: usize) -> usize {
        match self {
            Targets::Sparse(labels) => labels.len(),
            Targets::OneHot(weights) => weights.len() / classes.max(1),
        }
    }

    /// # Panics
    /// If there are not `n` targets of `classes`.
    pub(super) fn check(self, n: usize, classes: usize) {
        match self {
            Targets::Sparse(labels) => {
                check_len!(labels, n);
                for &label in labels {
                    assert!((label as usize) < classes, "label {label} of {classes} classes");
                }
            }
            Targets::OneHot(weights) => check_len!(weights, n * classes),
        }
    }

    fn get(self, sample: usize, classes: usize) -> Target<'a> {
        match self {
            Targets::Sparse(labels) => Target::Class(labels[sample] as usize),
            Targets::OneHot(weights) => Target::Weights(&weights[sample * classes..][..classes]),
        }
    }

    /// The targets of the samples of a range.
    pub(crate) fn slice(self, samples: std::ops::Range<usize>, classes: usize) -> Self {
        match self {
            Targets::Sparse(labels) => Targets::Sparse(&labels[samples]),
            Targets::OneHot(weights) => Targets::OneHot(&weights[samples.start * classes..samples.end * classes]),
        }
    }
}

/// The loss of every sample, finite for logits that differ by less than `f32::MAX`.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `logits` | `[n][classes]` |
/// | `losses` | `[n]`, overwritten |
///
/// # Panics
/// If the lengths do not fit each other or a label is not below `classes`.
///
/// # Example
/// ```
/// use convlane::{Level, kernels::cross_entropy::{self, Targets}};
///
/// let mut losses = [0.0];
/// cross_entropy::forward(Level::best(), 2, &[0.0, 0.0], Targets::Sparse(&[1]), &mut losses);
/// assert!((losses[0] - 2f32.ln()).abs() < 1e-6);
/// ```
pub fn forward(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, losses: &mut [f32]) {
    check(classes, logits, targets, losses.len());
    dispatch!(level, s => {
        for (sample, (z, loss)) in logits.chunks_exact(classes).zip(losses).enumerate() {
            *loss = row_loss(s, z, targets.get(sample, classes));
        }
    })
}

/// The gradient of `scale * sum(losses)`: `dlogits_i = (softmax(z)_i sum(t) - t_i) scale`.
///
/// # Shapes
/// | | |
/// |---|---|
/// | `logits` | `[n][classes]` |
/// | `dlogits` | `[n][classes]`, overwritten |
///
/// # Panics
/// If the lengths do not fit each other or a label is not below `classes`.
pub fn backward(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, scale: f32, dlogits: &mut [f32]) {
    check_len!(dlogits, logits.len());
    check(classes, logits, targets, logits.len() / classes.max(1));
    dispatch!(level, s => {
        let rows = logits.chunks_exact(classes).zip(dlogits.chunks_exact_mut(classes));
        for (sample, (z, dz)) in rows.enumerate() {
            row_gradient(s, z, targets.get(sample, classes), scale, dz);
        }
    })
}

fn check(classes: usize, logits: &[f32], targets: Targets<'_>, n: usize) {
    assert!(classes > 0, "no classes");
    check_len!(logits, crate::shape::batch_len(n, classes));
    targets.check(n, classes);
}

#[inline(always)]
fn row_loss<S: Simd>(s: S, z: &[f32], target: Target<'_>) -> f32 {
    let max = row_max(s, z);
    let log_sum = row_sum_exp(s, z, max).ln();
    match target {
        Target::Class(class) => log_sum - (z[class] - max),
        Target::Weights(t) => {
            let term = |(&t, &z): (&f32, &f32)| if t == 0.0 { t * log_sum } else { t * (log_sum - (z - max)) };
            t.iter().zip(z).map(term).sum()
        }
    }
}

#[inline(always)]
fn row_gradient<S: Simd>(s: S, z: &[f32], target: Target<'_>, scale: f32, dz: &mut [f32]) {
    let max = row_max(s, z);
    let total = match target {
        Target::Class(_) => 1.0,
        Target::Weights(t) => t.iter().sum(),
    };
    let (max, factor) = (s.splat(max), s.splat(total / row_sum_exp(s, z, max) * scale));
    dz.copy_from_slice(z);
    map_in_place(
        s,
        dz,
        #[inline(always)]
        |z| s.mul(exp(s, s.sub(z, max)), factor),
    );
    match target {
        Target::Class(class) => dz[class] -= scale,
        Target::Weights(t) => {
            let minus_scale = s.splat(-scale);
            zip_in_place(
                s,
                t,
                dz,
                #[inline(always)]
                |t, dz| s.mul_add(t, minus_scale, dz),
            );
        }
    }
}

/// The same, split over the current rayon pool.
pub mod par {
    use super::*;
    use crate::kernels::par::rows_per_piece;
    use rayon::prelude::*;

    /// See [`super::forward`].
    pub fn forward(level: Level, classes: usize, logits: &[f32], targets: Targets<'_>, losses: &mut [f32]) {
        let n = losses.len();
        check(classes, logits, targets, n);
        let piece = rows_per_piece(n);
        logits.par_chunks(piece * classes).zip(losses.par_chunks_mut(piece)).enumerate().for_each(
            |(i, (logits, losses))| {
                let targets = targets.slice(i * piece..i * piece + losses.len(), classes);
                super::forward(level, classes, logits, targets, losses);
            },
        );
    }

    /// See [`super::backward`].
    pub fn backward(
        level: Level,
        classes: usize,
        logits: &[f32],
        targets: Targets<'_>,
        scale: f32,
        dlogits: &mut [f32],
    ) {
        check_len!(dlogits, logits.len());
        let n = logits.len() / classes.max(1);
        check(classes, logits, targets, n);
        let piece = rows_per_piece(n);
        logits.par_chunks(piece * classes).zip(dlogits.par_chunks_mut(piece * classes)).enumerate().for_each(
            |(i, (logits, dlogits))| {
                let targets = targets.slice(i * piece..i * piece + logits.len() / classes, classes);
                super::backward(level, classes, logits, targets, scale, dlogits);
            },
        );
    }
}
