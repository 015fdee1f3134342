//! A pass with its tensors, ready to be run on the threads of a pool as a plan would.

use std::sync::{Mutex, PoisonError};

use convlane::Level;
use convlane::rng::{Rng, Seed};
use rayon::prelude::*;

use super::lines::{Line, Pass};
use super::ways::Way;

/// What a pass may read.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub y: &'a [f32],
    pub dy: &'a [f32],
}

type Function = dyn Fn(usize, Inputs<'_>, &mut [f32], &mut [f32]) + Send + Sync;

/// A function of the number of samples or blocks, inputs, output and scratch.
pub struct Kernel {
    scratch: usize,
    run: Box<Function>,
    /// Whether every thread has its share of the blocks in one call, not block by block.
    on_long_runs: bool,
}

impl Kernel {
    pub fn new(
        scratch: usize,
        run: impl Fn(usize, Inputs<'_>, &mut [f32], &mut [f32]) + Send + Sync + 'static,
    ) -> Self {
        Kernel { scratch, run: Box::new(run), on_long_runs: false }
    }

    pub fn on_long_runs(self) -> Self {
        Kernel { on_long_runs: true, ..self }
    }
}

/// A kernel on random numbers.
pub struct Task {
    kernel: Kernel,
    tensors: [Vec<f32>; 4],
    output: Vec<f32>,
    /// Samples or blocks, how many go into a call, and how many numbers of `x` and of `y` are in one.
    count: usize,
    piece: usize,
    lens: [usize; 2],
    /// One for every thread.
    scratch: Vec<Mutex<Vec<f32>>>,
    /// Gradients of weights, one for every piece; none if there is only one.
    partials: Vec<f32>,
    is_sum: bool,
}

impl Task {
    /// The pass of a line in a way, if the way has it, for the pool that this is called in.
    pub fn new(line: &Line, pass: Pass, way: &Way, level: Level) -> Option<Task> {
        let [x, y, w] = line.op.lens();
        let unit = if way.in_lanes { level.lanes() } else { 1 };
        let (count, lens) = (line.n.div_ceil(unit), [x * unit, y * unit]);
        let kernel = (way.kernel)(line.op, pass, level, count)?;
        let threads = rayon::current_num_threads();
        let piece = match way.in_lanes {
            true if kernel.on_long_runs => count.div_ceil(threads),
            true => 1,
            false => count,
        };
        let mut rng = Rng::new(Seed(1), 0);
        let mut random = |len: usize| (0..len).map(|_| rng.symmetric(1.0)).collect::<Vec<f32>>();
        let tensors = [count * lens[0], w, count * lens[1], count * lens[1]].map(&mut random);
        let (output, is_sum) = match pass {
            Pass::Forward => (random(count * lens[1]), false),
            Pass::Data => (random(count * lens[0]), false),
            Pass::Weights => (vec![0.0; w], true),
        };
        let pieces = count.div_ceil(piece);
        let partials = vec![0.0; if is_sum && pieces > 1 { pieces * w } else { 0 }];
        let scratch = (0..threads).map(|_| Mutex::new(vec![0.0; kernel.scratch])).collect();
        Some(Task { kernel, tensors, output, count, piece, lens, scratch, partials, is_sum })
    }

    /// Runs the pass in the current pool.
    pub fn run(&mut self) {
        let Task { kernel, tensors, output, count, piece, lens, scratch, partials, is_sum } = self;
        let [x, w, y, dy] = tensors;
        let (count, piece, x_len, y_len) = (*count, *piece, lens[0], lens[1]);
        let call = |index: usize, output: &mut [f32]| {
            let units = index * piece..count.min((index + 1) * piece);
            let (xs, ys) = (units.start * x_len..units.end * x_len, units.start * y_len..units.end * y_len);
            let inputs = Inputs { x: &x[xs], w, y: &y[ys.clone()], dy: &dy[ys] };
            let thread = rayon::current_thread_index().unwrap_or(0) % scratch.len();
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            (kernel.run)(units.len(), inputs, output, &mut scratch);
        };
        if piece == count {
            return call(0, output);
        }
        if !*is_sum {
            let len = output.len() / count * piece;
            return output.par_chunks_mut(len).enumerate().with_max_len(1).for_each(|(index, part)| call(index, part));
        }
        partials.par_chunks_mut(output.len()).enumerate().with_max_len(1).for_each(|(index, partial)| {
            partial.fill(0.0);
            call(index, partial);
        });
        add_up(partials, output);
    }
}

/// Adds partial sums, in their order, to `sum`.
fn add_up(partials: &[f32], sum: &mut [f32]) {
    const CHUNK: usize = 4096;
    let len = sum.len();
    sum.par_chunks_mut(CHUNK).zip((0..len).into_par_iter().step_by(CHUNK)).for_each(|(sum, at)| {
        for partial in partials.chunks_exact(len) {
            sum.iter_mut().zip(&partial[at..]).for_each(|(sum, term)| *sum += term);
        }
    });
}
