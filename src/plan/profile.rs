//! Where the time of a training step goes.

use std::time::{Duration, Instant};

use super::lower::{Op, Step};
use super::ways::{Way, Ways};
use super::{Engine, Plan};

/// A part of a training step; numbers are those of the plan's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Weights into the order that kernels read them in.
    Pack,
    /// Samples into the input.
    Load,
    /// The output of a step.
    Forward(usize),
    /// The loss and its gradient.
    Loss,
    /// The gradient of a step's input, where it has no parameters, or that before its activation.
    Backward(usize),
    /// The gradient of a convolution's parameters, or what is kept for that of a dense layer's.
    BackwardParams(usize),
    /// The gradient of the input of a step with parameters; of a fast convolution, it is computed along with those.
    BackwardInput(usize),
    /// Gradients of all parameters summed over the batch, and the update.
    Sum,
}

/// The time that each part of some training steps took, see [`Plan::profile`].
#[derive(Debug, Clone, Default)]
pub struct Profile {
    parts: Vec<(Part, Duration)>,
}

impl Profile {
    /// The parts in the order in which they first ran, with the time they took in all.
    pub fn parts(&self) -> &[(Part, Duration)] {
        &self.parts
    }

    fn add(&mut self, part: Part, time: Duration) {
        match self.parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, sum)) => *sum += time,
            None => self.parts.push((part, time)),
        }
    }
}

/// Notes the time between laps, if somebody wants to know.
pub(super) struct Clock<'a>(Option<(&'a mut Profile, Instant)>);

impl<'a> Clock<'a> {
    pub fn none() -> Self {
        Clock(None)
    }

    pub fn start(profile: &'a mut Profile) -> Self {
        Clock(Some((profile, Instant::now())))
    }

    /// A part ends and the next one begins.
    pub fn lap(&mut self, part: Part) {
        if let Clock(Some((profile, last))) = self {
            let now = Instant::now();
            profile.add(part, now - *last);
            *last = now;
        }
    }
}

impl Plan {
    /// Multiply-adds that a part needs a sample, with direct algorithms.
    pub fn multiply_adds(&self, part: Part) -> usize {
        let of = |step: usize| self.steps.get(step).map_or(0, |step| step.multiply_adds());
        let is_dense = |step: usize| self.steps.get(step).is_some_and(|step| matches!(step.op, Op::Dense(_)));
        match part {
            Part::BackwardInput(0) => 0,
            Part::Forward(step) | Part::BackwardInput(step) => of(step),
            Part::BackwardParams(step) if step > 0 && self.is_joint(step) => 2 * of(step),
            Part::BackwardParams(step) if !is_dense(step) => of(step),
            Part::Sum => (0..self.steps.len()).filter(|&step| is_dense(step)).map(of).sum(),
            _ => 0,
        }
    }

    /// Whether both gradients of a step are computed at once.
    fn is_joint(&self, step: usize) -> bool {
        self.engine == Engine::Lanes && self.steps.get(step).is_some_and(|step| step.ways.contain(Way::Fast))
    }

    /// A name such as `0 conv2d+relu/lanes forward` for a part.
    pub fn part_name(&self, part: Part) -> String {
        let name = |step: usize, pass: &str, way: fn(&Ways) -> Way| {
            let kernel = |step: &Step| step.kernel_name(self.engine, &[way(&step.ways)]);
            format!("{step} {} {pass}", self.steps.get(step).map_or("no step".into(), kernel))
        };
        match part {
            Part::Pack => "pack weights".into(),
            Part::Load => "load".into(),
            Part::Loss => "loss".into(),
            Part::Sum => "sum and update".into(),
            Part::Forward(step) => name(step, "forward", |ways| ways.forward),
            Part::Backward(step) => name(step, "backward", |ways| ways.params),
            Part::BackwardParams(step) => name(step, "backward_params", |ways| ways.params),
            Part::BackwardInput(step) => name(step, "backward_input", |ways| ways.input),
        }
    }
}
