//! All that a training needs to go on from where it stood, bit for bit, but the samples, of which it knows the number and
//! a checksum.
//!
//! [`Trainer::checkpoint`](crate::train::Trainer::checkpoint) takes one, [`Trainer::resume`](crate::train::Trainer::resume)
//! goes on from it, and `io::checkpoint` keeps it in a file.

use std::fmt;

use crate::error::{Error, Result};
use crate::history::{Epoch, History};
use crate::model::Model;
use crate::optim::Sgd;
use crate::plan::{Algorithm, Engine, Score};
use crate::rng::Seed;

/// Where a training stands, and what it was made of.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The model as trained so far.
    pub model: Model,
    /// The optimiser's velocity, [`Sgd::velocity_len`] values.
    pub velocity: Vec<f32>,
    /// How far the training has come.
    pub position: Position,
    /// What the bits depend on besides.
    pub recipe: Recipe,
    /// The epochs completed, or the last of them.
    pub history: History,
}

/// How far a training has come. What is left of the epoch begun follows from it, since an epoch's order depends on the
/// seed and the epoch's number alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Position {
    /// Epochs completed.
    pub epochs: usize,
    /// Steps done in the epoch after those.
    pub steps: usize,
    /// Score of those steps.
    pub score: Score,
}

impl Position {
    /// The most epochs of a training, all fits together.
    pub const MAX_EPOCHS: usize = i32::MAX as usize;
}

/// The choices of a training that its bits depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The optimiser.
    pub sgd: Sgd,
    /// Samples a step.
    pub batch_size: usize,
    /// Seed of the order of the samples; `None` for the order in which they are stored.
    pub shuffle: Option<Seed>,
    /// How the network is computed; not [`Engine::Auto`], but what that stood for.
    pub engine: Engine,
    /// How its convolutions are computed; [`Algorithm::Auto`] follows from the network and the level.
    pub algorithm: Algorithm,
    /// The name of the level, which the CPU at hand may not have.
    pub level: String,
    /// Number of samples of an epoch.
    pub samples: usize,
    /// Their checksum, [`Dataset::crc32`](crate::data::Dataset::crc32).
    pub samples_crc32: u32,
}

/// A choice that was changed: the bits may differ from those of a training that never stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was chosen.
    pub what: &'static str,
    /// The choice of the checkpoint.
    pub before: String,
    /// The choice now.
    pub now: String,
}

impl Checkpoint {
    /// Checks what the parts must have in common.
    ///
    /// # Errors
    /// If a choice of the recipe is out of range, the velocity is not as long as the optimiser needs, there are more epochs
    /// than [`Position::MAX_EPOCHS`], or the numbers of position, recipe and history contradict each other.
    pub fn validate(&self) -> Result<()> {
        let Checkpoint { model, velocity, position: Position { epochs, steps, score }, recipe, history } = self;
        recipe.sgd.validate()?;
        let expected = recipe.sgd.velocity_len(model.params().len());
        if velocity.len() != expected {
            return Err(Error::Mismatch { what: "length of the velocity", expected, got: velocity.len() });
        }
        if recipe.batch_size == 0 {
            return Err(Error::Zero { what: "batch size" });
        }
        if recipe.engine == Engine::Auto {
            return Err(Error::Setting { name: "engine", problem: "auto does not say which".into() });
        }
        if recipe.level.is_empty() || recipe.level.len() > 16 || !recipe.level.chars().all(char::is_alphanumeric) {
            return Err(Error::Setting { name: "level", problem: format!("{:?} is no name of one", recipe.level) });
        }
        if *epochs > Position::MAX_EPOCHS {
            return Err(too_many_epochs(*epochs));
        }
        let begun = *steps > 0;
        let agree = score.samples >= *steps && score.correct <= score.samples && score.loss_sum.is_finite();
        if !agree || (!begun && *score != Score::default()) {
            return Err(Error::Setting { name: "position", problem: format!("{steps} steps do not give {score:?}") });
        }
        if score.samples > recipe.samples {
            let problem = format!("{} of {} samples are done", score.samples, recipe.samples);
            return Err(Error::Setting { name: "position", problem });
        }
        validate_history(&history.epochs, *epochs)
    }
}

/// Holds what is known of some epochs to so many that were completed.
fn validate_history(known: &[Epoch], completed: usize) -> Result<()> {
    let wrong = |problem: String| Err(Error::Setting { name: "history", problem });
    if known.len() > completed {
        return wrong(format!("has {} epochs of {completed}", known.len()));
    }
    let first = completed - known.len() + 1;
    let fits = |(number, epoch): &(usize, &Epoch)| {
        let mut shares = [Some(epoch.accuracy), epoch.val_accuracy].into_iter().flatten();
        epoch.epoch == *number && shares.all(|share| (0.0..=1.0).contains(&share))
    };
    match (first..).zip(known).find(|epoch| !fits(epoch)) {
        Some((number, epoch)) => wrong(format!("{epoch:?} cannot be epoch {number}")),
        None => Ok(()),
    }
}

/// What refuses so many epochs.
pub(crate) fn too_many_epochs(epochs: usize) -> Error {
    Error::Setting { name: "epochs", problem: format!("at most {}, got {epochs}", Position::MAX_EPOCHS) }
}

impl Recipe {
    /// Every choice with its name.
    pub(crate) fn rows(&self) -> [(&'static str, String); 10] {
        let Recipe { sgd, batch_size, shuffle, engine, algorithm, level, samples, samples_crc32 } = self;
        let Sgd { learning_rate, momentum, nesterov } = sgd;
        [
            ("learning_rate", learning_rate.to_string()),
            ("momentum", momentum.to_string()),
            ("nesterov", nesterov.to_string()),
            ("batch_size", batch_size.to_string()),
            ("shuffle", shuffle.map_or("none".into(), |seed| seed.0.to_string())),
            ("engine", engine.to_string()),
            ("algorithm", algorithm.to_string()),
            ("level", level.clone()),
            ("samples", samples.to_string()),
            ("samples_crc32", format!("{samples_crc32:08x}")),
        ]
    }

    /// The choices that `now` makes otherwise.
    ///
    /// ```
    /// use convlane::checkpoint::Recipe;
    /// use convlane::prelude::*;
    ///
    /// let before = Recipe {
    ///     sgd: Sgd::new(0.1),
    ///     batch_size: 32,
    ///     shuffle: Some(Seed(7)),
    ///     engine: Engine::Lanes,
    ///     algorithm: Algorithm::Auto,
    ///     level: "avx512".to_owned(),
    ///     samples: 60_000,
    ///     samples_crc32: 0x1234_abcd,
    /// };
    /// let now = Recipe { level: "scalar".to_owned(), ..before.clone() };
    /// let differences = before.differences(&now);
    /// assert_eq!(differences.len(), 1);
    /// assert_eq!(
    ///     differences[0].to_string(),
    ///     "level is scalar, in the checkpoint avx512: the bits may differ from those of a training that never stopped"
    /// );
    /// ```
    pub fn differences(&self, now: &Recipe) -> Vec<Difference> {
        let pairs = self.rows().into_iter().zip(now.rows()).filter(|(before, now)| before != now);
        pairs.map(|((what, before), (_, now))| Difference { what, before, now }).collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { what, before, now } = self;
        let effect = "the bits may differ from those of a training that never stopped";
        write!(f, "{} is {now}, in the checkpoint {before}: {effect}", what.replace('_', " "))
    }
}
