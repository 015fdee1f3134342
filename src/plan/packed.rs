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
    /// Those of forward passes, then those of gradients.
    jobs: Vec<Job>,
    forward: usize,
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
        let mut packing = Packing { level, jobs: Vec::new(), forward: 0, len: 0 };
        for pass in [Pass::Forward, Pass::BackwardInput] {
            for (index, step) in steps.iter().enumerate() {
                packing.add(index, step, pass)?;
            }
            if pass == Pass::Forward {
                packing.forward = packing.jobs.len();
            }
        }
        Ok(packing)
    }

    fn add(&mut self, index: usize, step: &Step, pass: Pass) -> Result<()> {
        let Op::Conv2d(shape) = step.op else { return Ok(()) };
        let way = match pass {
            Pass::Forward => step.ways.forward,
            Pass::BackwardInput => step.ways.input,
        };
        if matches!(way, Way::Direct | Way::Fast) && !(index == 0 && pass == Pass::BackwardInput) {
            let fast = way == Way::Fast;
            let packed_len = if fast { winograd::packed_len } else { direct::packed_len };
            let end = self.len.checked_add(packed_len(self.level, &shape, pass));
            let end = end.filter(|&end| end <= MAX_LEN).ok_or(Error::TooLarge { what: "packed weights" })?;
            self.jobs.push(Job { step: index, shape, pass, fast, place: self.len..end });
            self.len = end;
        }
        Ok(())
    }

    /// Packs what forward passes need.
    pub fn forward(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        self.run(&self.jobs[..self.forward], steps, params, packed);
    }

    /// Packs what all passes need.
    pub fn all(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        self.run(&self.jobs, steps, params, packed);
    }

    /// The same on the calling thread alone.
    pub fn all_here(&self, steps: &[Step], params: &[f32], packed: &mut [f32]) {
        self.run_here(&self.jobs, steps, params, packed);
    }

    /// Runs `jobs`, whose places follow each other from the start of `packed`, on both sides of a join until there is little left.
    fn run(&self, jobs: &[Job], steps: &[Step], params: &[f32], packed: &mut [f32]) {
        match jobs {
            [first, .., last] if last.place.end - first.place.start >= SPLIT_LEN => {
                let (left, right) = jobs.split_at(jobs.len() / 2);
                let (left_packed, right_packed) = packed.split_at_mut(right[0].place.start - first.place.start);
                rayon::join(
                    || self.run(left, steps, params, left_packed),
                    || self.run(right, steps, params, right_packed),
                );
            }
            [Job { step, shape, pass, fast, place }] if place.len() >= SPLIT_LEN => {
                let pack = if *fast { winograd::par::pack } else { direct::par::pack };
                pack(self.level, shape, *pass, &params[steps[*step].kernel.clone()], &mut packed[..place.len()]);
            }
            _ => self.run_here(jobs, steps, params, packed),
        }
    }

    /// The same one after the other.
    fn run_here(&self, jobs: &[Job], steps: &[Step], params: &[f32], mut packed: &mut [f32]) {
        for Job { step, shape, pass, fast, place } in jobs {
            let pack = if *fast { winograd::pack } else { direct::pack };
            let own = packed.split_off_mut(..place.len()).expect("a place for each job");
            pack(self.level, shape, *pass, &params[steps[*step].kernel.clone()], own);
        }
    }

    /// The weights of a step for a pass; none if it takes them as they are.
    pub fn weights<'a>(&self, step: usize, pass: Pass, packed: &'a [f32]) -> &'a [f32] {
        let job = self.jobs.iter().find(|job| (job.step, job.pass) == (step, pass));
        job.map_or(&[], |job| &packed[job.place.clone()])
    }
}
