//! A batch over the threads of the current rayon pool, in two phases.
//!
//! *Phase A*: every group of samples, on whatever thread is free, runs forward, loss and backward, and writes what it
//! leaves into a place of its own. *Phase B*: every stretch of the parameters is summed and updated by one thread, in
//! the order of the batch. Results depend on the batch, never on the threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Plan;
use super::exec::{Group, Weights};
use super::memory::Memory;
use super::profile::{Clock, Part};
use super::record::{Layout, Record, Sum};
use super::score::Score;
use crate::error::{Error, Result};
use crate::kernels::cast::Pixels;
use crate::kernels::update;
use crate::optim::Sgd;
use crate::shape::zeros;
use crate::simd::Level;

/// The memory that runs of a [`Plan`] need; take one with [`Plan::worker`] and keep it.
#[derive(Debug)]
pub struct Worker {
    /// An arena for each thread of the pool it was made in, or for the only group. Groups lock the one of their thread; should
    /// the pool have grown since, threads share.
    pub(super) arenas: Vec<Mutex<Memory>>,
    /// Weights as kernels take them.
    pub(super) packed: Memory,
    /// What the groups and the samples of a batch leave.
    groups: Memory,
    samples: Memory,
    pub(super) scores: Vec<Score>,
    grads: Vec<f32>,
}

impl Worker {
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let groups = plan.groups(plan.batch);
        let threads = if groups > 1 { rayon::current_num_threads() } else { 1 };
        let mut arenas = Vec::with_capacity(threads);
        for _ in 0..threads {
            arenas.push(Mutex::new(Memory::new(plan.arena.len)?));
        }
        Ok(Worker {
            arenas,
            packed: Memory::new(plan.packing.len)?,
            groups: Memory::new(groups * plan.record.group_len)?,
            samples: Memory::new(plan.padded(plan.batch) * plan.record.sample_len)?,
            scores: zeros("scores of a worker", groups)?,
            grads: zeros("gradients of a worker", plan.params_len())?,
        })
    }

    /// Checks that this is memory for `plan`.
    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        let arena = self.arenas[0].lock().unwrap_or_else(PoisonError::into_inner).len();
        let parts =
            [arena, self.packed.len(), self.groups.len(), self.samples.len(), self.scores.len(), self.grads.len()];
        let [groups, record] = [plan.groups(plan.batch), plan.padded(plan.batch) * plan.record.sample_len];
        let own = [plan.arena.len, plan.packing.len, groups * plan.record.group_len, record, groups, plan.params_len()];
        match parts.into_iter().zip(own).find(|(part, own)| part != own) {
            None => Ok(()),
            Some((got, expected)) => Err(Error::Mismatch { what: "memory of a worker of this plan", expected, got }),
        }
    }

    /// The parameter gradients of the last run that went backward, in the order of the model's flat parameters.
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }
}

/// Samples of a batch: all there are, or those of some indices.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    pixels: Pixels<'a>,
    indices: Option<&'a [u32]>,
}

impl<'a> Samples<'a> {
    /// All samples of `pixels`.
    pub fn all(pixels: Pixels<'a>) -> Self {
        Samples { pixels, indices: None }
    }

    /// The samples of `pixels` at `indices`.
    pub fn at(pixels: Pixels<'a>, indices: &'a [u32]) -> Self {
        Samples { pixels, indices: Some(indices) }
    }

    /// Checks that these are at most `most` samples of `len` elements.
    pub(super) fn check(self, len: usize, most: usize) -> Result<Batch<'a>> {
        let stored = self.pixels.len() / len;
        if !self.pixels.len().is_multiple_of(len) {
            return Err(Error::Mismatch {
                what: "pixels of whole samples",
                expected: stored * len,
                got: self.pixels.len(),
            });
        }
        let n = self.indices.map_or(stored, <[u32]>::len);
        if n > most {
            return Err(Error::Mismatch { what: "samples of a batch at most", expected: most, got: n });
        }
        if let Some(&index) = self.indices.unwrap_or_default().iter().find(|&&index| index as usize >= stored) {
            return Err(Error::Mismatch { what: "index of a sample below", expected: stored, got: index as usize });
        }
        Ok(Batch { samples: self, n })
    }
}

/// Checked samples.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    samples: Samples<'a>,
    pub n: usize,
}

impl<'a> Batch<'a> {
    pub fn pixels(&self) -> Pixels<'a> {
        self.samples.pixels
    }

    /// Where in the pixels a sample of the batch is.
    pub fn index(&self, sample: usize) -> usize {
        self.samples.indices.map_or(sample, |indices| indices[sample] as usize)
    }
}

/// The parameters and what changes them, cut along with the gradients in phase B.
pub(super) struct Update<'a> {
    pub sgd: &'a Sgd,
    pub params: &'a mut [f32],
    pub velocity: &'a mut [f32],
}

impl Update<'_> {
    fn slice(&mut self, params: &Range<usize>) -> Update<'_> {
        let velocity = if self.velocity.is_empty() { 0..0 } else { params.clone() };
        Update { sgd: self.sgd, params: &mut self.params[params.clone()], velocity: &mut self.velocity[velocity] }
    }

    fn split_at(&mut self, mid: usize) -> (Update<'_>, Update<'_>) {
        let (left, right) = self.params.split_at_mut(mid);
        let (left_v, right_v) = self.velocity.split_at_mut(mid.min(self.velocity.len()));
        let sgd = self.sgd;
        (Update { sgd, params: left, velocity: left_v }, Update { sgd, params: right, velocity: right_v })
    }
}

impl Plan {
    /// Runs `task` for every group of a batch of `n`, with the samples of the group, its item and the arena of a thread.
    fn for_each_group<T: Send>(
        &self,
        n: usize,
        arenas: &[Mutex<Memory>],
        items: impl IndexedParallelIterator<Item = T>,
        task: impl Fn(Range<usize>, T, &mut [f32]) + Sync,
    ) {
        let group = self.arena.group;
        items.take(self.groups(n)).enumerate().with_max_len(1).for_each(|(index, item)| {
            let thread = rayon::current_thread_index().unwrap_or(0) % arenas.len();
            let mut arena = arenas[thread].lock().unwrap_or_else(PoisonError::into_inner);
            task(index * group..n.min((index + 1) * group), item, &mut arena);
        });
    }

    pub(super) fn weights<'a>(&'a self, params: &'a [f32], packed: &'a [f32]) -> Weights<'a> {
        Weights { params, packing: &self.packing, packed }
    }

    fn group<'a>(
        &'a self,
        weights: Weights<'a>,
        x: Batch<'_>,
        samples: &Range<usize>,
        memory: &'a mut [f32],
    ) -> Group<'a> {
        let Plan { engine, level, ref arena, ref steps, .. } = *self;
        let mut group = Group { engine, level, arena, steps, weights, n: samples.len(), memory };
        group.load(x, samples.clone());
        group
    }

    /// Runs the first `steps` steps forward and hands every group to `head`, with the group's item.
    pub(super) fn run_forward<T: Send>(
        &self,
        weights: Weights<'_>,
        x: Batch<'_>,
        steps: usize,
        arenas: &[Mutex<Memory>],
        items: impl IndexedParallelIterator<Item = T>,
        head: impl Fn(Range<usize>, &mut Group<'_>, T) + Sync,
    ) {
        self.for_each_group(x.n, arenas, items, |samples, item, memory| {
            let mut group = self.group(weights, x, &samples, memory);
            group.forward(steps, &mut Clock::none());
            head(samples, &mut group, item);
        });
    }

    /// Phase A of a backward run: forward, `head` to the gradient of a group's output and a score, backward.
    pub(super) fn run_backward(
        &self,
        params: &[f32],
        x: Batch<'_>,
        steps: usize,
        worker: &mut Worker,
        head: impl Fn(Range<usize>, &mut Group<'_>) -> Score + Sync,
    ) -> Score {
        let layout = &self.record;
        let Worker { arenas, packed, groups, samples, scores, .. } = worker;
        self.packing.all(&self.steps, params, packed);
        let weights = self.weights(params, packed);
        let parts = groups
            .par_chunks_mut(layout.group_len)
            .zip(samples.par_chunks_mut(layout.sample_len * self.arena.group))
            .zip(scores.par_iter_mut());
        self.for_each_group(x.n, arenas, parts, |samples, ((group, part), score), memory| {
            let record = Record { layout, group, samples: part };
            *score = self.backward_group(weights, x, steps, samples, memory, record, &head, &mut Clock::none());
        });
        scores[..self.groups(x.n)].iter().copied().sum()
    }

    /// The same on the calling thread alone.
    pub(super) fn run_backward_here(
        &self,
        params: &[f32],
        x: Batch<'_>,
        steps: usize,
        worker: &mut Worker,
        head: impl Fn(Range<usize>, &mut Group<'_>) -> Score,
        clock: &mut Clock<'_>,
    ) -> Score {
        let (layout, size) = (&self.record, self.arena.group);
        self.packing.all_here(&self.steps, params, &mut worker.packed);
        clock.lap(Part::Pack);
        let weights = self.weights(params, &worker.packed);
        let mut memory = worker.arenas[0].lock().unwrap_or_else(PoisonError::into_inner);
        let groups = worker.groups.chunks_mut(layout.group_len);
        let parts = groups.zip(worker.samples.chunks_mut(layout.sample_len * size)).take(self.groups(x.n));
        parts
            .zip((0..).step_by(size))
            .map(|((group, part), start)| {
                let (samples, record) = (start..x.n.min(start + size), Record { layout, group, samples: part });
                self.backward_group(weights, x, steps, samples, &mut memory, record, &head, clock)
            })
            .sum()
    }

    #[allow(clippy::too_many_arguments)]
    fn backward_group(
        &self,
        weights: Weights<'_>,
        x: Batch<'_>,
        steps: usize,
        samples: Range<usize>,
        memory: &mut [f32],
        mut record: Record<'_>,
        head: &impl Fn(Range<usize>, &mut Group<'_>) -> Score,
        clock: &mut Clock<'_>,
    ) -> Score {
        let mut group = self.group(weights, x, &samples, memory);
        record.group.fill(0.0);
        clock.lap(Part::Load);
        group.forward(steps, clock);
        let score = head(samples, &mut group);
        clock.lap(Part::Loss);
        group.backward(steps, &mut record, clock);
        score
    }

    /// Phase B: sums the gradients of a batch of `n` and, with an update, applies them.
    pub(super) fn sum_gradients(&self, n: usize, worker: &mut Worker, update: Option<Update<'_>>) {
        let (sums, grads) = self.sums(n, worker);
        sums.run(&self.record.sums, grads, update);
    }

    /// The same on the calling thread alone.
    pub(super) fn sum_gradients_here(&self, n: usize, worker: &mut Worker, mut update: Update<'_>) {
        let (sums, grads) = self.sums(n, worker);
        for sum in &self.record.sums {
            sums.run_one(sum, &mut grads[sum.params.clone()], Some(update.slice(&sum.params)));
        }
    }

    fn sums<'a>(&'a self, n: usize, worker: &'a mut Worker) -> (Sums<'a>, &'a mut [f32]) {
        let Worker { groups, samples, grads, .. } = worker;
        let sums = Sums {
            level: self.level,
            layout: &self.record,
            n,
            groups: &groups[..self.groups(n) * self.record.group_len],
            samples: &samples[..self.filled(n) * self.record.sample_len],
        };
        (sums, grads)
    }
}

/// What a batch left, to be summed.
struct Sums<'a> {
    level: Level,
    layout: &'a Layout,
    n: usize,
    groups: &'a [f32],
    samples: &'a [f32],
}

impl Sums<'_> {
    fn run_one(&self, sum: &Sum, grads: &mut [f32], update: Option<Update<'_>>) {
        sum.run(self.level, self.layout, self.n, self.groups, self.samples, grads);
        if let Some(Update { sgd, params, velocity }) = update {
            update::sgd(self.level, sgd, grads, params, velocity);
        }
    }

    /// Runs `sums`, which cover `grads` in order, on both sides of a join until one is left.
    fn run(&self, sums: &[Sum], grads: &mut [f32], mut update: Option<Update<'_>>) {
        match sums {
            [] => {}
            [sum] => self.run_one(sum, grads, update),
            _ => {
                let (left, right) = sums.split_at(sums.len() / 2);
                let mid = right[0].params.start - left[0].params.start;
                let (left_grads, right_grads) = grads.split_at_mut(mid);
                let (left_update, right_update) = update.as_mut().map(|update| update.split_at(mid)).unzip();
                rayon::join(|| self.run(left, left_grads, left_update), || self.run(right, right_grads, right_update));
            }
        }
    }
}
