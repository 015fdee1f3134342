//! One group of samples through the steps, forward and backward, on one thread, but for steps that threads share.

mod lanes;
mod nhwc;

use std::ops::Range;

use super::Engine;
use super::arena::{Arena, MAX_GROUP};
use super::lower::Step;
use super::packed::Packing;
use super::profile::{Clock, Part};
use super::record::Record;
use super::run::Batch;
use super::score::Score;
use crate::kernels::cast::Pixels;
use crate::kernels::cross_entropy::{self, Targets};
use crate::kernels::nhwc::direct::Pass;
use crate::kernels::{self, lanes::pack};
use crate::simd::Level;

/// A group of samples in its arena.
pub(super) struct Group<'a> {
    pub engine: Engine,
    pub level: Level,
    pub arena: &'a Arena,
    pub steps: &'a [Step],
    pub weights: Weights<'a>,
    /// Samples.
    pub n: usize,
    pub memory: &'a mut [f32],
}

/// The parameters, and weights as some kernels take them.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub params: &'a [f32],
    pub packing: &'a Packing,
    pub packed: &'a [f32],
}

/// What a step works on in its forward pass.
struct Forward<'a> {
    level: Level,
    /// Samples, or blocks of them.
    n: usize,
    step: &'a Step,
    x: &'a [f32],
    w: &'a [f32],
    packed: &'a [f32],
    b: Option<&'a [f32]>,
    y: &'a mut [f32],
    signs: &'a mut [f32],
    scratch: &'a mut [f32],
}

/// What a step works on in its backward pass.
struct Backward<'a> {
    level: Level,
    /// Samples, or blocks of them.
    n: usize,
    index: usize,
    steps: &'a [Step],
    /// Changed to its gradient by a pooling that goes through; then `dx` is empty.
    x: &'a mut [f32],
    w: &'a [f32],
    packed: &'a [f32],
    /// Empty where its gradient has taken its place.
    y: &'a [f32],
    /// Changed to the gradient before the step's activation.
    dy: &'a mut [f32],
    dx: &'a mut [f32],
    signs: &'a [f32],
    scratch: &'a mut [f32],
}

impl Group<'_> {
    /// Fills the input.
    pub fn load(&mut self, x: Batch<'_>, samples: Range<usize>) {
        let (engine, level, len) = (self.engine, self.level, self.steps[0].x_len);
        let [input] = self.places([self.used(&self.arena.values[0])]);
        match engine {
            Engine::Lanes => {
                pack_blocks(level, x.pixels(), samples.len(), |sample| x.index(samples.start + sample), input)
            }
            _ => samples.zip(input.chunks_exact_mut(len)).for_each(|(sample, input)| {
                x.pixels().load(level, x.index(sample), input);
            }),
        }
    }

    /// The output of the first `steps` steps, sample by sample.
    pub fn output(&mut self, steps: usize) -> &[f32] {
        let (engine, level, n) = (self.engine, self.level, self.n);
        let [y, output] = self.places([self.ends(steps).0, self.arena.output.clone()]);
        match engine {
            Engine::Lanes => {
                let len = y.len() / n.next_multiple_of(level.lanes());
                let output = &mut output[..n * len];
                for (samples, y) in blocks_of(n, level).zip(y.chunks_exact(len * level.lanes())) {
                    pack::unpack(level, samples.len(), y, &mut output[samples.start * len..samples.end * len]);
                }
                output
            }
            _ => y,
        }
    }

    /// Sets the gradient of the output of the first `steps` steps, given sample by sample.
    pub fn set_gradient(&mut self, steps: usize, dy: &[f32]) {
        let (engine, level, n) = (self.engine, self.level, self.n);
        let (_, place) = self.ends(steps);
        let [out] = self.places([place]);
        match engine {
            Engine::Lanes => pack_blocks(level, Pixels::F32(dy), n, |sample| sample, out),
            _ => out.copy_from_slice(dy),
        }
    }

    /// Sets the gradient of the output of the first `steps` steps to that of `scale` times the sum of the losses.
    pub fn loss_gradient(&mut self, steps: usize, classes: usize, targets: Targets<'_>, scale: f32) {
        let (engine, level, n) = (self.engine, self.level, self.n);
        let (y, dy) = self.ends(steps);
        let [logits, dlogits] = self.places([y, dy]);
        match engine {
            Engine::Lanes => {
                let block = classes * level.lanes();
                let blocks = logits.chunks_exact(block).zip(dlogits.chunks_exact_mut(block));
                for ((logits, dlogits), samples) in blocks.zip(blocks_of(n, level)) {
                    let targets = targets.slice(samples, classes);
                    kernels::lanes::cross_entropy::backward(level, classes, logits, targets, scale, dlogits);
                }
            }
            _ => cross_entropy::backward(level, classes, logits, targets, scale, dlogits),
        }
    }

    /// Losses and hits of the output of the first `steps` steps.
    pub fn score(&mut self, steps: usize, classes: usize, targets: Targets<'_>) -> Score {
        let (engine, level, n, mut losses) = (self.engine, self.level, self.n, [0.0; MAX_GROUP]);
        let losses = &mut losses[..n];
        if engine == Engine::Lanes {
            let [logits] = self.places([self.ends(steps).0]);
            for (logits, samples) in logits.chunks_exact(classes * level.lanes()).zip(blocks_of(n, level)) {
                let (targets, losses) = (targets.slice(samples.clone(), classes), &mut losses[samples]);
                kernels::lanes::cross_entropy::forward(level, classes, logits, targets, losses);
            }
            return Score::new(losses, self.output(steps), targets);
        }
        let logits = self.output(steps);
        cross_entropy::forward(level, classes, logits, targets, losses);
        Score::new(losses, logits, targets)
    }

    /// Where the output of the first `steps` steps and its gradient lie.
    fn ends(&self, steps: usize) -> (Range<usize>, Range<usize>) {
        let (y, dy) = (self.used(&self.arena.values[steps]), self.gradient(steps).start);
        (y.clone(), dy..dy + y.len())
    }

    /// Runs the first `steps` steps forward.
    pub fn forward(&mut self, steps: usize, clock: &mut Clock<'_>) {
        let (level, engine, n) = (self.level, self.engine, self.units());
        let Weights { params, packing, packed } = self.weights;
        for (index, step) in self.steps[..steps].iter().enumerate() {
            let [x, y] = [index, index + 1].map(|value| self.used(&self.arena.values[value]));
            let signs = self.arena.signs(index, step, n);
            let [x, y, signs, scratch] = self.places([x, y, signs, self.arena.scratch(index)]);
            let (w, b) = (&params[step.kernel.clone()], step.bias.clone().map(|bias| &params[bias]));
            let packed = packing.weights(index, Pass::Forward, packed);
            let pass = Forward { level, n, step, x, w, packed, b, y, signs, scratch };
            match engine {
                Engine::Lanes => lanes::forward(pass),
                _ => nhwc::forward(pass),
            }
            clock.lap(Part::Forward(index));
        }
    }

    /// Runs the first `steps` steps backward from the gradient of their output, into the group's record.
    pub fn backward(&mut self, steps: usize, record: &mut Record<'_>, clock: &mut Clock<'_>) {
        let (level, engine, n, steps) = (self.level, self.engine, self.units(), &self.steps[..steps]);
        let Weights { params, packing, packed } = self.weights;
        for (index, step) in steps.iter().enumerate().rev() {
            let [x, y] = [index, index + 1].map(|value| self.used(&self.arena.values[value]));
            let gradient = |value: usize, len: usize| self.gradient(value).start..self.gradient(value).start + len;
            let (dx, dy) = (gradient(index, x.len()), gradient(index + 1, y.len()));
            let [y, dx] = [(y, &dy), (dx, &x)].map(|(place, other)| if place == *other { 0..0 } else { place });
            let signs = self.arena.signs(index, step, n);
            let [x, y, dx, dy, signs, scratch] = self.places([x, y, dx, dy, signs, self.arena.scratch(index)]);
            let w = &params[step.kernel.clone()];
            let packed = packing.weights(index, Pass::BackwardInput, packed);
            let pass = Backward { level, n, index, steps, x, w, packed, y, dy, dx, signs, scratch };
            match engine {
                Engine::Lanes => lanes::backward(pass, record, clock),
                _ => nhwc::backward(pass, record, clock),
            }
        }
    }

    /// What kernels count: samples, or blocks of lanes.
    fn units(&self) -> usize {
        match self.engine {
            Engine::Lanes => self.n.div_ceil(self.level.lanes()),
            _ => self.n,
        }
    }

    /// The part of a place that the group's samples fill, or the blocks that have any.
    fn used(&self, place: &Range<usize>) -> Range<usize> {
        let samples = match self.engine {
            Engine::Lanes => self.n.next_multiple_of(self.level.lanes()),
            _ => self.n,
        };
        place.start..place.start + place.len() / self.arena.group * samples
    }

    /// Where the gradient of a value lies: in its own place if it goes through a pooling, else two places take turns.
    fn gradient(&self, value: usize) -> Range<usize> {
        let in_place = self.engine == Engine::Lanes && self.steps.get(value).is_some_and(|next| next.through);
        if in_place { self.arena.values[value].clone() } else { self.arena.gradients[value % 2].clone() }
    }

    fn places<const N: usize>(&mut self, places: [Range<usize>; N]) -> [&mut [f32]; N] {
        self.memory.get_disjoint_mut(places).expect("the places of an arena do not overlap")
    }
}

/// The samples of each block of `n`.
fn blocks_of(n: usize, level: Level) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(level.lanes()).map(move |start| start..n.min(start + level.lanes()))
}

/// `n` samples of `pixels` into the blocks of `x`.
fn pack_blocks(level: Level, pixels: Pixels<'_>, n: usize, index: impl Fn(usize) -> usize, x: &mut [f32]) {
    let block = x.len() / n.div_ceil(level.lanes());
    for (samples, x) in blocks_of(n, level).zip(x.chunks_exact_mut(block)) {
        pack::samples(level, pixels, samples.map(&index), x);
    }
}
