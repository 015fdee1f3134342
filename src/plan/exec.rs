//! One group of samples through the steps, forward and backward, on one thread.

use super::arena::{Arena, scratch_len};
use super::lower::{Op, Step};
use super::record::Record;
use crate::kernels::activation;
use crate::kernels::nhwc::{avg_pool2d, conv2d, dense, max_pool2d};
use crate::simd::Level;

/// A group of samples in its arena.
pub(super) struct Group<'a> {
    pub level: Level,
    pub arena: &'a Arena,
    pub steps: &'a [Step],
    pub params: &'a [f32],
    /// Samples.
    pub n: usize,
    pub memory: &'a mut [f32],
}

/// The first `len` of a place.
fn first(place: &std::ops::Range<usize>, len: usize) -> std::ops::Range<usize> {
    place.start..place.start + len
}

impl Group<'_> {
    /// The input of a sample.
    pub fn input(&mut self, sample: usize) -> &mut [f32] {
        let len = self.steps[0].x_len;
        &mut self.memory[self.arena.values[0].clone()][sample * len..][..len]
    }

    /// The output of the first `steps` steps and the place for its gradient.
    pub fn output(&mut self, steps: usize) -> (&[f32], &mut [f32]) {
        let len = self.n * self.steps.get(steps).map_or_else(|| self.steps[steps - 1].y_len, |next| next.x_len);
        let [y, dy] = self.places([first(&self.arena.values[steps], len), first(&self.gradient(steps), len)]);
        (y, dy)
    }

    /// Where the gradient of a value lies: the two places take turns.
    fn gradient(&self, value: usize) -> std::ops::Range<usize> {
        self.arena.gradients[value % 2].clone()
    }

    fn places<const N: usize>(&mut self, places: [std::ops::Range<usize>; N]) -> [&mut [f32]; N] {
        self.memory.get_disjoint_mut(places).expect("the places of an arena do not overlap")
    }

    /// Runs the first `steps` steps forward.
    pub fn forward(&mut self, steps: usize) {
        for (index, step) in self.steps[..steps].iter().enumerate() {
            self.forward_step(index, step);
        }
    }

    fn forward_step(&mut self, index: usize, step: &Step) {
        let (level, n, params) = (self.level, self.n, self.params);
        let [x, y, scratch] = self.places([
            first(&self.arena.values[index], n * step.x_len),
            first(&self.arena.values[index + 1], n * step.y_len),
            first(&self.arena.scratch, scratch_len(step)),
        ]);
        let (w, b) = (&params[step.kernel.clone()], step.bias.clone().map(|bias| &params[bias]));
        match &step.op {
            Op::Conv2d(shape) => conv2d::forward(level, shape, n, x, w, b, y, scratch),
            Op::Dense(shape) => dense::forward(level, shape, n, x, w, b, y),
            Op::AvgPool2d(shape) => avg_pool2d::forward(level, shape, n, x, y),
            Op::MaxPool2d(shape) => max_pool2d::forward(level, shape, n, x, y),
            Op::Activation => y.copy_from_slice(x),
        }
        activation::forward(level, step.activation, step.channels(), y);
    }

    /// Runs the first `steps` steps backward from the gradient of their output, into the group's record.
    pub fn backward(&mut self, steps: usize, record: &mut Record<'_>) {
        for (index, step) in self.steps[..steps].iter().enumerate().rev() {
            self.backward_step(index, step, record);
        }
    }

    fn backward_step(&mut self, index: usize, step: &Step, record: &mut Record<'_>) {
        let (level, n, params) = (self.level, self.n, self.params);
        let (dy, dx) = (self.gradient(index + 1), self.gradient(index));
        let [x, y, dy, dx, scratch] = self.places([
            first(&self.arena.values[index], n * step.x_len),
            first(&self.arena.values[index + 1], n * step.y_len),
            first(&dy, n * step.y_len),
            first(&dx, n * step.x_len),
            first(&self.arena.scratch, scratch_len(step)),
        ]);
        activation::backward(level, step.activation, step.channels(), y, dy);
        let w = &params[step.kernel.clone()];
        match &step.op {
            Op::Conv2d(shape) => {
                let (dw, db) = record.partials(index, step);
                conv2d::backward_params(level, shape, n, x, dy, dw, db, scratch);
                if index > 0 {
                    conv2d::backward_input(level, shape, n, dy, w, dx, scratch);
                }
            }
            Op::Dense(shape) => {
                record.save(index, shape, x, dy);
                if index > 0 {
                    dense::backward_input(level, shape, n, dy, w, dx);
                }
            }
            Op::AvgPool2d(shape) => avg_pool2d::backward(level, shape, n, dy, dx),
            Op::MaxPool2d(shape) => max_pool2d::backward(level, shape, n, x, y, dy, dx),
            Op::Activation => dx.copy_from_slice(dy),
        }
    }
}
