//! Weights packed once a run, for all groups of the batch.

use std::ops::Range;

use super::lower::{Op, Step};
use super::ways::Way;
use crate::error::{Error, Result};
use crate::kernels::nhwc::direct::{self, Pass};
use crate::kernels::nhwc::winograd;
use crate::shape::{Conv2dShape, MAX_LEN};
use crate::simd::Level;

/// Floats of weights below which they are packed by one thread: some microseconds.
const SPLIT_LEN: usize = 32 * 1024;

/// Where the packed weights of every step lie.
#[derive(Debug, Clone)]
pub(super) struct Packing {
    level: Level,
    /// Those of forward passes, then those of gradients; one after the other.
    forward: Vec<Job>,
    backward: Vec<Job>,
    /// Floats in all.
    pub len: usize,
}

/// The weights of a step for a pass.
#[derive(Debug, Clone)]
struct Job {
    step: usize,
    shape: Conv2dShape,
    pass: Pass,
    fast: bool,
    place: Range<usize>,
}

impl Packing {
    pub fn new(level: Level, steps: &[Step]) -> Result<Self> {
        let mut packing = Packing { level, forward: Vec::new(), backward: Vec::new(), len: 0 };
        for pass in [Pass::Forward, Pass::BackwardInput] {
            for (index, step) in steps.iter().enumerate() {
                packing.add(index, step, pass)?;
            }
        }
        Ok(packing)
    }

    fn add(&mut self, index: usize, step: &Step, pass: Pass) -> Result<()> {
        let Op::Conv2d(shape) = step.op else { return Ok(()) };
        let (jobs, way) = match pass {
            Pass::Forward => (&mut self.forward, step.ways.forward),
            Pass::BackwardInput => (&mut self.backward, step.ways.input),
        };
        if matches!(way, Way::Direct | Way::Fast) && !(index == 0 && pass == Pass::BackwardInput) {
            let fast = way == Way::Fast;
            let packed_len = if fast { winograd::packed_len } else { direct::packed_len };
            let end = self.len.checked_add(packed_len(self.level, &shape, pass));
            let end = end.filter(|&end| end <= MAX_LEN).ok_or(Error::TooLarge { what: "packed weights" })?;
            jobs.push(Job { step: index, shape, pass, fast, place: self.len..end });
            self.len = end;
        }
        Ok(())
    }

    /// Packs what forward passes need.
    pub fn forward(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        self.run(&self.forward, steps, params, packed);
    }

    /// Packs what all passes need.
    pub fn all(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        let (forward, backward) = packed.split_at_mut(self.forward.last().map_or(0, |job| job.place.end));
        rayon::join(
            || self.run(&self.forward, steps, params, forward),
            || self.run(&self.backward, steps, params, backward),
        );
    }

    /// The same on the calling thread alone.
    pub fn all_here(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        for Job { step, shape, pass, fast, place } in self.forward.iter().chain(&self.backward) {
            let pack = if *fast { winograd::pack } else { direct::pack };
            pack(self.level, shape, *pass, &params[steps[*step].kernel.clone()], &mut packed[place.clone()]);
        }
    }

    /// Runs `jobs`, whose places follow each other from the start of `packed`, on both sides of a join until one is left.
    fn run(&self, jobs: &[Job], steps: &[Step], params: &[f32], packed: &mut [f32]) {
        match jobs {
            [] => {}
            [Job { step, shape, pass, fast, place }] => {
                let pack = match (fast, place.len() < SPLIT_LEN) {
                    (true, true) => winograd::pack,
                    (true, false) => winograd::par::pack,
                    (false, true) => direct::pack,
                    (false, false) => direct::par::pack,
                };
                pack(self.level, shape, *pass, &params[steps[*step].kernel.clone()], &mut packed[..place.len()]);
            }
            _ => {
                let (left, right) = jobs.split_at(jobs.len() / 2);
                let (left_packed, right_packed) = packed.split_at_mut(right[0].place.start - left[0].place.start);
                rayon::join(
                    || self.run(left, steps, params, left_packed),
                    || self.run(right, steps, params, right_packed),
                );
            }
        }
    }

    /// The weights of a step for a pass; none if it takes them as they are.
    pub fn weights<'a>(&self, step: usize, pass: Pass, packed: &'a [f32]) -> &'a [f32] {
        let jobs = match pass {
            Pass::Forward => &self.forward,
            Pass::BackwardInput => &self.backward,
        };
        jobs.iter().find(|job| job.step == step).map_or(&[], |job| &packed[job.place.clone()])
    }
}
