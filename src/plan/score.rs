//! Loss and accuracy of some samples.

use std::iter::Sum;
use std::ops::Add;

use crate::kernels::cross_entropy::Targets;
use crate::metrics::top_class;

/// The summed loss and the hits of some samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// The losses of all samples added up.
    pub loss_sum: f64,
    /// Samples whose largest output is that of their class.
    pub correct: usize,
    /// Samples in all.
    pub samples: usize,
}

impl Score {
    /// The mean loss; NaN without samples.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.samples as f64
    }

    /// The share of hits, 0 to 1; NaN without samples.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }

    /// Adds up losses and counts the logits that are largest where they should be.
    pub(super) fn new(losses: &[f32], logits: &[f32], targets: Targets<'_>) -> Self {
        let classes = (logits.len() / losses.len().max(1)).max(1);
        let hit = |&(sample, logits): &(usize, &[f32])| match targets {
            Targets::Sparse(labels) => top_class(logits) == labels[sample] as usize,
            Targets::OneHot(weights) => top_class(logits) == top_class(&weights[sample * classes..][..classes]),
        };
        Score {
            loss_sum: losses.iter().map(|&loss| f64::from(loss)).sum(),
            correct: logits.chunks_exact(classes).enumerate().filter(hit).count(),
            samples: losses.len(),
        }
    }
}

impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Score {
            loss_sum: self.loss_sum + other.loss_sum,
            correct: self.correct + other.correct,
            samples: self.samples + other.samples,
        }
    }
}

impl Sum for Score {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Score::default(), Add::add)
    }
}
