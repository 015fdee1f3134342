//! What an observer of a fit is told.

use crate::history::Epoch;

/// Something that happened in a fit.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event {
    /// A training step is done.
    Batch(Progress),
    /// An epoch is done, validation included.
    Epoch(Epoch),
}

/// How far an epoch has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, counted from one.
    pub epoch: usize,
    /// Steps done in it.
    pub step: usize,
    /// Steps of a whole epoch.
    pub steps: usize,
    /// Samples done in it.
    pub samples: usize,
    /// Mean loss over those samples.
    pub loss: f64,
    /// Share of those samples that were classified rightly, 0 to 1.
    pub accuracy: f64,
}
