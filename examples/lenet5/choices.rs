//! How to train: what the flags leave open, a checkpoint says.

use convlane::checkpoint::Checkpoint;
use convlane::prelude::*;

use crate::options::Options;

/// The seed unless somebody says otherwise.
pub const SEED: u64 = 42;

/// What the flags say, or else the checkpoint, or else the defaults.
pub struct Choices {
    pub batch_size: usize,
    pub learning_rate: f64,
    pub seed: u64,
    pub shuffle: bool,
    pub plan: PlanOptions,
}

impl Choices {
    pub fn new(options: &Options, checkpoint: Option<&Checkpoint>) -> Self {
        let saved = checkpoint.map(|checkpoint| &checkpoint.recipe);
        let first = checkpoint.map(|checkpoint| checkpoint.model.seed());
        let saved_level = || Level::available().find(|level| saved.is_some_and(|saved| saved.level == level.name()));
        Choices {
            batch_size: options.batch_size.or(saved.map(|saved| saved.batch_size)).unwrap_or(256),
            learning_rate: options.learning_rate.or(saved.map(|saved| saved.sgd.learning_rate.into())).unwrap_or(0.05),
            seed: options.seed.or(saved.and_then(|saved| saved.shuffle).or(first).map(|seed| seed.0)).unwrap_or(SEED),
            shuffle: options.shuffle.or(saved.map(|saved| saved.shuffle.is_some())).unwrap_or(true),
            plan: PlanOptions {
                engine: options.engine.or(saved.map(|saved| saved.engine)).unwrap_or_default(),
                algorithm: options.algorithm.or(saved.map(|saved| saved.algorithm)).unwrap_or_default(),
                level: options.level.or_else(saved_level).unwrap_or_default(),
                ..Default::default()
            },
        }
    }

    /// Training up to so many epochs in all.
    pub fn fit<'a>(&self, epochs: usize) -> Fit<'a> {
        let fit = Fit::until(epochs).batch_size(self.batch_size);
        if self.shuffle { fit.shuffle(Seed(self.seed)) } else { fit.in_order() }
    }
}
