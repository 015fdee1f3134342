//! One group of samples through the steps, forward and backward, on one thread.

mod lanes;
mod nhwc;

use std::ops::Range;

use super::Engine;
use super::arena::Arena;
use super::lower::Step;
use super::profile::{Clock, Part};
use super::record::Record;
use super::run::Batch;
use crate::kernels::lanes::pack;
use crate::simd::Level;

/// A group of samples in its arena.
pub(super) struct Group<'a> {
    pub engine: Engine,
    pub level: Level,
    pub arena: &'a Arena,
    pub steps: &'a [Step],
    pub params: &'a [f32],
    /// Samples.
    pub n: usize,
    pub memory: &'a mut [f32],
}

/// What a step works on in its forward pass.
struct Forward<'a> {
    level: Level,
    /// Samples, or blocks of them.
    n: usize,
    step: &'a Step,
    x: &'a [f32],
    w: &'a [f32],
    b: Option<&'a [f32]>,
    y: &'a mut [f32],
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
    /// Empty where its gradient has taken its place.
    y: &'a [f32],
    /// Changed to the gradient before the step's activation.
    dy: &'a mut [f32],
    dx: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Group<'_> {
    /// Fills the input.
    pub fn load(&mut self, x: Batch<'_>, samples: Range<usize>) {
        let (engine, level, len) = (self.engine, self.level, self.steps[0].x_len);
        let [input] = self.places([self.arena.values[0].clone()]);
        match engine {
            Engine::Lanes => pack::samples(level, x.pixels(), samples.map(|sample| x.index(sample)), input),
            _ => samples.zip(input.chunks_exact_mut(len)).for_each(|(sample, input)| {
                x.pixels().load(level, x.index(sample), input);
            }),
        }
    }

    /// The output of the first `steps` steps, sample by sample.
    pub fn output(&mut self, steps: usize) -> &[f32] {
        let (level, n) = (self.level, self.n);
        let y_place = self.arena.values[steps].clone();
        match self.engine {
            Engine::Lanes => {
                let [y, out] = self.places([y_place, self.arena.outputs[0].clone()]);
                let out = &mut out[..y.len() / level.lanes() * n];
                pack::unpack(level, n, y, out);
                out
            }
            _ => {
                let [y] = self.places([self.used(&y_place)]);
                y
            }
        }
    }

    /// Lets `head` write the gradient of the output of the first `steps` steps, from that output, sample by sample.
    pub fn head<T>(&mut self, steps: usize, head: impl FnOnce(&[f32], &mut [f32]) -> T) -> T {
        let (level, n) = (self.level, self.n);
        let (y, dy) = (self.arena.values[steps].clone(), self.gradient(steps));
        match self.engine {
            Engine::Lanes => {
                let [out, d_out] = self.arena.outputs.clone();
                let [y, dy, out, d_out] = self.places([y.clone(), dy.start..dy.start + y.len(), out, d_out]);
                let len = y.len() / level.lanes() * n;
                let (out, d_out) = (&mut out[..len], &mut d_out[..len]);
                pack::unpack(level, n, y, out);
                let result = head(out, d_out);
                pack::gradients(level, n, d_out, dy);
                result
            }
            _ => {
                let y = self.used(&y);
                let [y, dy] = self.places([y.clone(), dy.start..dy.start + y.len()]);
                head(y, dy)
            }
        }
    }

    /// Runs the first `steps` steps forward.
    pub fn forward(&mut self, steps: usize, clock: &mut Clock<'_>) {
        let (level, engine, params, n) = (self.level, self.engine, self.params, self.units());
        for (index, step) in self.steps[..steps].iter().enumerate() {
            let [x, y] = [index, index + 1].map(|value| self.used(&self.arena.values[value]));
            let [x, y, scratch] = self.places([x, y, self.arena.scratch(step)]);
            let (w, b) = (&params[step.kernel.clone()], step.bias.clone().map(|bias| &params[bias]));
            let pass = Forward { level, n, step, x, w, b, y, scratch };
            match engine {
                Engine::Lanes => lanes::forward(pass),
                _ => nhwc::forward(pass),
            }
            clock.lap(Part::Forward(index));
        }
    }

    /// Runs the first `steps` steps backward from the gradient of their output, into the group's record.
    pub fn backward(&mut self, steps: usize, record: &mut Record<'_>, clock: &mut Clock<'_>) {
        let (level, engine, params, n, steps) =
            (self.level, self.engine, self.params, self.units(), &self.steps[..steps]);
        for (index, step) in steps.iter().enumerate().rev() {
            let [x, y] = [index, index + 1].map(|value| self.used(&self.arena.values[value]));
            let gradient = |value: usize, len: usize| self.gradient(value).start..self.gradient(value).start + len;
            let (dx, dy) = (gradient(index, x.len()), gradient(index + 1, y.len()));
            let [y, dx] = [(y, &dy), (dx, &x)].map(|(place, other)| if place == *other { 0..0 } else { place });
            let [x, y, dx, dy, scratch] = self.places([x, y, dx, dy, self.arena.scratch(step)]);
            let w = &params[step.kernel.clone()];
            let pass = Backward { level, n, index, steps, x, w, y, dy, dx, scratch };
            match engine {
                Engine::Lanes => lanes::backward(pass, record, clock),
                _ => nhwc::backward(pass, record, clock),
            }
        }
    }

    /// What kernels count: samples, or one block of lanes.
    fn units(&self) -> usize {
        match self.engine {
            Engine::Lanes => 1,
            _ => self.n,
        }
    }

    /// The part of a place that the group's samples fill; lanes are always full.
    fn used(&self, place: &Range<usize>) -> Range<usize> {
        match self.engine {
            Engine::Lanes => place.clone(),
            _ => place.start..place.start + place.len() / self.arena.group * self.n,
        }
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
