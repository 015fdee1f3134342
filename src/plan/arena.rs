//! Where everything of a group of samples lies in one buffer.

use std::ops::Range;

use super::Engine;
use super::lower::{Op, Step};
use super::ways::{Way, Ways};
use crate::error::{Error, Result};
use crate::kernels::lanes::winograd;
use crate::kernels::nhwc::{self, conv2d, depthwise, direct::Pass};
use crate::shape::MAX_LEN;
use crate::simd::Level;

/// Places in the arena of a group of samples, in floats. They never overlap.
#[derive(Debug, Clone)]
pub(super) struct Arena {
    /// Samples the places are for.
    pub group: usize,
    /// The input, then the output of every step.
    pub values: Vec<Range<usize>>,
    /// The signs that every step with a pooling done along keeps for its backward pass.
    signs: Vec<Range<usize>>,
    /// Two places for gradients: a step reads one and writes the other.
    pub gradients: [Range<usize>; 2],
    /// On the lanes engine, the output sample by sample.
    pub output: Range<usize>,
    /// Scratch of the kernels.
    scratch: Range<usize>,
    /// Floats of it that each step needs.
    scratch_lens: Vec<usize>,
    /// Floats in all.
    pub len: usize,
}

/// Floats of values and gradients that one group should not exceed, so that it stays near an L2 cache. LeNet-5 took longer
/// with a half and a quarter of it, which narrow the matrix products, even where L2 holds 512 KiB.
const GROUP_LEN: usize = 256 * 1024;

/// The most samples of a group: enough for wide matrix products. On the lanes engine all groups are so large, one block or
/// two: with two blocks of eight lanes, a weight of a dense layer is loaded once for both.
pub(super) const MAX_GROUP: usize = 16;

/// The least groups that samples one after the other are cut into, where there are as many, so that several threads find
/// work.
pub(super) const MIN_GROUPS: usize = 8;

impl Arena {
    /// The arena for batches of up to `batch` samples; depends on the network, the batch and the options alone.
    pub fn new(engine: Engine, level: Level, steps: &[Step], batch: usize) -> Result<Self> {
        let in_lanes = engine == Engine::Lanes;
        let group = match in_lanes {
            true => MAX_GROUP,
            false if steps.iter().any(|step| step.shared) => batch,
            false => samples_of_group(steps, batch),
        };

        let mut len = 0usize;
        let mut place = |size: usize| -> Result<Range<usize>> {
            let end = len.checked_add(size).filter(|&end| end <= MAX_LEN);
            let start = std::mem::replace(&mut len, end.ok_or(Error::TooLarge { what: "arena" })?);
            Ok(start..len)
        };
        let samples = |len: usize| len.checked_mul(group).ok_or(Error::TooLarge { what: "arena" });
        let lens = [steps[0].x_len].into_iter().chain(steps.iter().map(|step| step.y_len));
        let values = lens.map(|len| place(samples(len)?)).collect::<Result<_>>()?;
        let signs = steps.iter().map(|step| place(group / level.lanes() * signs_len(step))).collect::<Result<_>>()?;
        let widest = if in_lanes { widest_outside(steps) } else { widest(steps) };
        let gradients = [place(samples(widest)?)?, place(samples(widest)?)?];
        let output = place(if in_lanes { samples(steps[steps.len() - 1].y_len)? } else { 0 })?;
        let scratch_lens: Vec<usize> = steps.iter().map(|step| scratch_len(engine, level, step, group)).collect();
        let scratch = place(scratch_lens.iter().copied().max().unwrap_or(0))?;
        Ok(Arena { group, values, signs, gradients, output, scratch, scratch_lens, len })
    }

    /// The signs of so many blocks of a step with a pooling done along.
    pub fn signs(&self, index: usize, step: &Step, blocks: usize) -> Range<usize> {
        let start = self.signs[index].start;
        start..start + blocks * signs_len(step)
    }

    /// The scratch of a step's kernels.
    pub fn scratch(&self, index: usize) -> Range<usize> {
        self.scratch.start..self.scratch.start + self.scratch_lens[index]
    }
}

/// The longest value.
fn widest(steps: &[Step]) -> usize {
    steps.iter().map(|step| step.x_len.max(step.y_len)).max().unwrap_or(1)
}

/// The longest value whose gradient does not take its own place.
fn widest_outside(steps: &[Step]) -> usize {
    let inputs = steps.iter().filter(|step| !step.through).map(|step| step.x_len);
    inputs.chain(steps.last().map(|last| last.y_len)).max().unwrap_or(1)
}

/// Samples of a group that are computed one after the other.
pub(super) fn samples_of_group(steps: &[Step], batch: usize) -> usize {
    let widest = widest(steps);
    // Without activations, so that groups are the same fused and not.
    let computed = steps.iter().filter(|step| !matches!(step.op, Op::Activation));
    let lens = computed.map(|step| step.y_len).chain([steps[0].x_len, widest, widest]);
    let values = lens.fold(0, usize::saturating_add);
    (GROUP_LEN / values).min(batch.div_ceil(MIN_GROUPS)).clamp(1, MAX_GROUP)
}

/// Floats of the signs that a block leaves.
fn signs_len(step: &Step) -> usize {
    match step.op {
        Op::Conv2d(shape) if step.pooled => winograd::signs_len(&shape),
        _ => 0,
    }
}

/// Floats of scratch that a step's kernels need.
fn scratch_len(engine: Engine, level: Level, step: &Step, group: usize) -> usize {
    match (engine, step.op) {
        (Engine::Lanes, Op::Conv2d(shape)) if step.ways.contain(Way::Fast) => winograd::scratch_len(level, &shape),
        (Engine::Lanes, _) => 0,
        (_, Op::Conv2d(shape)) if step.ways == Ways::FAST => {
            let passes = [Pass::Forward, Pass::BackwardInput].map(|pass| {
                let threads = if step.shared { MIN_GROUPS } else { 1 };
                nhwc::winograd::scratch_len(level, &shape, pass).saturating_mul(threads)
            });
            passes.into_iter().fold(nhwc::winograd::params_scratch_len(level, &shape), usize::max)
        }
        (_, Op::Conv2d(shape)) if step.ways.contain(Way::Columns) => conv2d::scratch_len(&shape),
        (_, Op::Conv2d(shape)) if step.shared && step.ways.contain(Way::Depthwise) => {
            depthwise::par::checked_scratch_len(&shape, group).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
}
