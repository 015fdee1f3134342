//! Optimisers as data: how a gradient changes a parameter.

use crate::error::{Error, Result};

/// Stochastic gradient descent, as Keras's `SGD` has it.
///
/// With gradient `g`, learning rate `lr` and momentum `m`:
///
/// | | update |
/// |---|---|
/// | plain | `w -= lr g` |
/// | momentum | `v = m v - lr g; w += v` |
/// | Nesterov | `v = m v - lr g; w += m v - lr g` |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Step length.
    pub learning_rate: f32,
    /// Share of the velocity kept from step to step; 0 is plain SGD.
    pub momentum: f32,
    /// Whether the gradient is taken as if the velocity had been followed already.
    pub nesterov: bool,
}

impl Sgd {
    /// Plain SGD.
    pub fn new(learning_rate: f32) -> Self {
        Sgd { learning_rate, momentum: 0.0, nesterov: false }
    }

    /// Keeps a velocity.
    pub fn momentum(mut self, momentum: f32) -> Self {
        self.momentum = momentum;
        self
    }

    /// Nesterov's form of momentum.
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// Length of the velocity for so many parameters: none without momentum.
    pub fn velocity_len(&self, params: usize) -> usize {
        if self.momentum == 0.0 { 0 } else { params }
    }

    /// Checks the ranges of the settings.
    ///
    /// # Errors
    /// If the learning rate is negative or not finite, the momentum lies outside `0..1`, or Nesterov has no momentum.
    pub fn validate(&self) -> Result<()> {
        let setting = |name, problem| Err(Error::Setting { name, problem });
        if !(self.learning_rate >= 0.0 && self.learning_rate.is_finite()) {
            return setting("learning rate", format!("must be finite and at least 0, got {}", self.learning_rate));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return setting("momentum", format!("must lie in 0..1, got {}", self.momentum));
        }
        if self.nesterov && self.momentum == 0.0 {
            return setting("nesterov", "needs a momentum above 0".into());
        }
        Ok(())
    }
}
