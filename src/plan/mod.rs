//! A network lowered once into steps with fixed shapes and places: what will run.
//!
//! A plan needs no [`Trainer`](crate::train::Trainer): it runs forward, backward from a loss or from a gradient of the
//! caller's, and hands out gradients as a slice. Everything runs on the current rayon pool, and gives the same bits on
//! any number of threads.
//!
//! ```
//! use convlane::kernels::cast::Pixels;
//! use convlane::prelude::*;
//!
//! let layers = [Flatten.into(), Dense::new(1).no_bias().into()];
//! let plan = Plan::new(Shape::hwc(1, 2, 1), &layers, 4, &PlanOptions::default())?;
//! let mut worker = plan.worker();
//!
//! let (params, x) = ([3.0, 5.0], Samples::all(Pixels::F32(&[1.0, 2.0])));
//! let mut y = [0.0];
//! plan.forward(&params, x, &mut y, &mut worker)?;
//! assert_eq!(y, [13.0]);
//!
//! plan.backward(&params, x, &[10.0], &mut worker)?;
//! assert_eq!(worker.grads(), [10.0, 20.0]);
//! # Ok::<(), convlane::Error>(())
//! ```

mod arena;
mod choose;
mod exec;
mod lower;
mod memory;
mod packed;
mod profile;
mod record;
mod run;
mod score;
mod split;
mod ways;

use std::fmt;
use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::kernels::cross_entropy::Targets;
use crate::layer::{Activation, Layer};
use crate::optim::Sgd;
use crate::shape::{Shape, product};
use crate::simd::Level;
use arena::{Arena, samples_of_group};
use exec::Group;
use lower::{Op, Step, lower, take_in_poolings};
use memory::Memory;
use packed::Packing;
use profile::Clock;
pub use profile::{Part, Profile};
use record::Layout;
use run::{Batch, Update};
pub use run::{Samples, Worker};
pub use score::Score;
use ways::Way;

/// How a network is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Engine {
    /// Whichever is expected to be fastest; depends on the network, the batch size and the level alone.
    #[default]
    Auto,
    /// Images as they come; convolutions with fewer products, from registers, or as im2col and matrix products, whichever
    /// is expected to be fastest.
    Nhwc,
    /// An image in each SIMD lane, in blocks that run through the whole network.
    Lanes,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Engine::Auto => "auto",
            Engine::Nhwc => "nhwc",
            Engine::Lanes => "lanes",
        })
    }
}

/// How convolutions are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// Whichever is expected to be fastest for each; depends on its shape, its place and the level alone.
    #[default]
    Auto,
    /// Every product of the formula.
    Direct,
    /// With fewer products and somewhat larger errors, wherever there is a way: see `winograd` of
    /// [`lanes`](crate::kernels::lanes::winograd) and [`nhwc`](crate::kernels::nhwc::winograd).
    Fast,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Algorithm::Auto => "auto",
            Algorithm::Direct => "direct",
            Algorithm::Fast => "fast",
        })
    }
}

/// The choices behind a plan.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// How the network is computed.
    pub engine: Engine,
    /// How its convolutions are computed.
    pub algorithm: Algorithm,
    /// The instructions that kernels use.
    pub level: Level,
    /// Whether an activation, and in lanes a pooling, is computed by the step before it; the results are the same.
    pub fuse: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions { engine: Engine::Auto, algorithm: Algorithm::Auto, level: Level::best(), fuse: true }
    }
}

/// A network lowered for batches of up to a given size.
#[derive(Debug, Clone)]
pub struct Plan {
    engine: Engine,
    level: Level,
    batch: usize,
    output: Shape,
    steps: Vec<Step>,
    arena: Arena,
    packing: Packing,
    record: Layout,
}

impl Plan {
    /// Lowers `layers` on samples of shape `input`, for batches of up to `batch`.
    ///
    /// # Errors
    /// If a layer does not take what the one before it gives, nothing is left to compute, or the memory would overflow.
    pub fn new(input: Shape, layers: &[Layer], batch: usize, options: &PlanOptions) -> Result<Self> {
        let (mut steps, output) = lower(input, layers, options.fuse)?;
        if steps.is_empty() {
            return Err(Error::Zero { what: "number of layers that compute" });
        }
        let engine = options.engine.choose(options.algorithm, &steps, batch, options.level);
        let group = samples_of_group(&steps, batch);
        for (index, step) in steps.iter_mut().enumerate() {
            if let Op::Conv2d(shape) = &step.op {
                step.ways = options.algorithm.ways(engine, shape, index == 0, group, options.level);
            }
        }
        match engine {
            Engine::Lanes => take_in_poolings(&mut steps),
            _ => split::mark(&mut steps, batch),
        }
        let arena = Arena::new(engine, options.level, &steps, batch)?;
        let packing = Packing::new(options.level, if engine == Engine::Lanes { &[] } else { &steps })?;
        let record = Layout::new(&steps, (engine == Engine::Lanes).then_some(options.level));
        product("batch", &[batch])?;
        product("records of the batch", &[batch.saturating_add(arena.group), record.sample_len.max(record.group_len)])?;
        Ok(Plan { engine, level: options.level, batch, output, steps, arena, packing, record })
    }

    /// The memory for runs of this plan on the current rayon pool: [`Plan::working_set`] a thread, and what a batch leaves.
    ///
    /// # Panics
    /// If the system refuses the memory; see [`Plan::try_worker`].
    pub fn worker(&self) -> Worker {
        self.try_worker().expect("memory for a worker")
    }

    /// [`Plan::worker`], for plans of sizes that come from elsewhere.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the system refuses the memory.
    pub fn try_worker(&self) -> Result<Worker> {
        Worker::new(self)
    }

    /// How the network is computed; never [`Engine::Auto`].
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The instructions that kernels use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The largest batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of parameters.
    pub fn params_len(&self) -> usize {
        self.record.sums.last().map_or(0, |sum| sum.params.end)
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Elements of one input sample.
    pub fn x_len(&self) -> usize {
        self.steps[0].x_len
    }

    /// Elements of one output sample.
    pub fn y_len(&self) -> usize {
        self.last().y_len
    }

    /// Bytes that a thread works in: values, gradients and scratch of one group of samples.
    pub fn working_set(&self) -> usize {
        Memory::bytes(self.arena.len)
    }

    /// Bytes that a batch takes beside: packed weights, what its groups leave, and the gradients; `usize::MAX` if there are
    /// more.
    pub fn batch_memory(&self) -> usize {
        let (groups, padded) = (self.groups(self.batch), self.padded(self.batch));
        let left =
            [self.packing.len, groups * self.record.group_len, padded * self.record.sample_len].map(Memory::bytes);
        let (scores, gradients) = (groups.saturating_mul(size_of::<Score>()), self.params_len() * size_of::<f32>());
        left.into_iter().chain([scores, gradients]).fold(0, usize::saturating_add)
    }

    /// The output `y` of every sample, `[n][..]`.
    ///
    /// # Errors
    /// If there are more samples than the plan is for, a slice has not the length it should have, or the worker is that of
    /// another plan.
    pub fn forward(&self, params: &[f32], x: Samples<'_>, y: &mut [f32], worker: &mut Worker) -> Result<()> {
        self.check_with_samples(params, x, worker)?;
        self.pack(params, worker)?;
        self.forward_packed(params, x, y, worker)
    }

    /// Packs the parameters for any number of [`Plan::forward_packed`].
    pub(crate) fn pack(&self, params: &[f32], worker: &mut Worker) -> Result<()> {
        self.check(params, worker)?;
        self.packing.forward(&self.steps, params, &mut worker.packed);
        Ok(())
    }

    /// [`Plan::forward`] with parameters that were packed.
    pub(crate) fn forward_packed(
        &self,
        params: &[f32],
        x: Samples<'_>,
        y: &mut [f32],
        worker: &mut Worker,
    ) -> Result<()> {
        let x = self.check_with_samples(params, x, worker)?;
        check_len("output elements", x.n * self.y_len(), y.len())?;
        let items = y.par_chunks_mut(self.arena.group * self.y_len());
        let steps = self.steps.len();
        let Worker { arenas, packed, .. } = worker;
        self.run_forward(self.weights(params, packed), x, steps, arenas, items, |_, group, y| {
            y.copy_from_slice(group.output(steps));
        });
        Ok(())
    }

    /// The parameter gradients for a gradient `dy` of the output, `[n][..]`, into [`Worker::grads`].
    ///
    /// The forward pass of a group is run again before its backward pass, while it stays in the cache.
    ///
    /// # Errors
    /// See [`Plan::forward`].
    pub fn backward(&self, params: &[f32], x: Samples<'_>, dy: &[f32], worker: &mut Worker) -> Result<()> {
        let x = self.check_with_samples(params, x, worker)?;
        let len = self.y_len();
        check_len("elements of the output gradient", x.n * len, dy.len())?;
        let steps = self.steps.len();
        self.run_backward(params, x, steps, worker, |samples, group| {
            group.set_gradient(steps, &dy[samples.start * len..samples.end * len]);
            Score::default()
        });
        self.sum_gradients(x.n, worker, None);
        Ok(())
    }

    /// Loss and hits under softmax cross-entropy, and the parameter gradients of the mean loss into [`Worker::grads`].
    ///
    /// A softmax at the end of the network is part of the loss; without one, the outputs are taken as logits.
    ///
    /// # Errors
    /// See [`Plan::forward`]; also if the network does not end in a vector, or a label is out of range.
    pub fn forward_backward(
        &self,
        params: &[f32],
        x: Samples<'_>,
        targets: Targets<'_>,
        worker: &mut Worker,
    ) -> Result<Score> {
        let x = self.check_with_targets(params, x, targets, worker)?;
        let score = self.losses(params, x, targets, worker);
        self.sum_gradients(x.n, worker, None);
        Ok(score)
    }

    /// [`Plan::forward_backward`], then one step of `sgd` on `params` and `velocity`.
    ///
    /// Where the loss is not finite, parameters, velocity and gradients stay as they were; the caller sees it in the score.
    ///
    /// # Errors
    /// See [`Plan::forward_backward`]; also if the velocity has not the length [`Sgd::velocity_len`].
    pub fn train_step(
        &self,
        params: &mut [f32],
        velocity: &mut [f32],
        sgd: &Sgd,
        x: Samples<'_>,
        targets: Targets<'_>,
        worker: &mut Worker,
    ) -> Result<Score> {
        let x = self.check_with_targets(params, x, targets, worker)?;
        check_len("velocity", sgd.velocity_len(params.len()), velocity.len())?;
        let score = self.losses(params, x, targets, worker);
        if score.loss_sum.is_finite() {
            self.sum_gradients(x.n, worker, Some(Update { sgd, params, velocity }));
        }
        Ok(score)
    }

    /// Loss and hits under softmax cross-entropy.
    ///
    /// # Errors
    /// See [`Plan::forward_backward`].
    pub fn evaluate(&self, params: &[f32], x: Samples<'_>, targets: Targets<'_>, worker: &mut Worker) -> Result<Score> {
        let x = self.check_with_targets(params, x, targets, worker)?;
        let (steps, classes) = (self.trunk(), self.y_len());
        let Worker { arenas, packed, scores, .. } = worker;
        self.packing.forward(&self.steps, params, packed);
        self.run_forward(
            self.weights(params, packed),
            x,
            steps,
            arenas,
            scores.par_iter_mut(),
            |samples, group, score| {
                *score = group.score(steps, classes, targets.slice(samples, classes));
            },
        );
        Ok(worker.scores[..self.groups(x.n)].iter().copied().sum())
    }

    /// [`Plan::train_step`] on the calling thread alone, but for steps that threads share, with the time of each part added
    /// to `profile`.
    ///
    /// # Errors
    /// See [`Plan::train_step`].
    #[allow(clippy::too_many_arguments)]
    pub fn profile(
        &self,
        params: &mut [f32],
        velocity: &mut [f32],
        sgd: &Sgd,
        x: Samples<'_>,
        targets: Targets<'_>,
        worker: &mut Worker,
        profile: &mut Profile,
    ) -> Result<Score> {
        let x = self.check_with_targets(params, x, targets, worker)?;
        check_len("velocity", sgd.velocity_len(params.len()), velocity.len())?;
        let mut clock = Clock::start(profile);
        let score = self.run_backward_here(params, x, self.trunk(), worker, self.loss(x.n, targets), &mut clock);
        if score.loss_sum.is_finite() {
            self.sum_gradients_here(x.n, worker, Update { sgd, params, velocity });
            clock.lap(Part::Sum);
        }
        Ok(score)
    }

    /// Phase A under softmax cross-entropy.
    fn losses(&self, params: &[f32], x: Batch<'_>, targets: Targets<'_>, worker: &mut Worker) -> Score {
        self.run_backward(params, x, self.trunk(), worker, self.loss(x.n, targets))
    }

    /// What gives the score and the output gradient of some samples of a batch of `n`.
    fn loss<'a>(
        &'a self,
        n: usize,
        targets: Targets<'a>,
    ) -> impl Fn(Range<usize>, &mut Group<'_>) -> Score + Sync + 'a {
        let (steps, classes, scale) = (self.trunk(), self.y_len(), 1.0 / n as f32);
        move |samples, group| {
            let targets = targets.slice(samples, classes);
            group.loss_gradient(steps, classes, targets, scale);
            group.score(steps, classes, targets)
        }
    }

    fn last(&self) -> &Step {
        self.steps.last().expect("a plan has a step")
    }

    /// Steps up to the logits: all but a softmax at the end.
    fn trunk(&self) -> usize {
        self.steps.len() - usize::from(self.last().is_softmax())
    }

    /// Groups of a batch of `n`.
    fn groups(&self, n: usize) -> usize {
        n.div_ceil(self.arena.group)
    }

    /// Samples of which a batch of `n` leaves something: on the lanes engine, whole blocks.
    fn filled(&self, n: usize) -> usize {
        if self.engine == Engine::Lanes { n.next_multiple_of(self.level.lanes()) } else { n }
    }

    /// Samples that the groups of a batch of `n` have room for.
    fn padded(&self, n: usize) -> usize {
        self.groups(n) * self.arena.group
    }

    fn check(&self, params: &[f32], worker: &Worker) -> Result<()> {
        worker.check(self)?;
        check_len("parameters", self.params_len(), params.len())
    }

    fn check_with_samples<'a>(&self, params: &[f32], x: Samples<'a>, worker: &Worker) -> Result<Batch<'a>> {
        self.check(params, worker)?;
        x.check(self.x_len(), self.batch)
    }

    fn check_with_targets<'a>(
        &self,
        params: &[f32],
        x: Samples<'a>,
        targets: Targets<'_>,
        worker: &Worker,
    ) -> Result<Batch<'a>> {
        let x = self.check_with_samples(params, x, worker)?;
        let classes = self.output.features()?;
        match targets {
            Targets::Sparse(labels) => {
                check_len("labels", x.n, labels.len())?;
                if let Some(index) = labels.iter().position(|&label| label as usize >= classes) {
                    return Err(Error::LabelOutOfRange { index, label: labels[index], classes });
                }
            }
            Targets::OneHot(weights) => check_len("one-hot targets", x.n * classes, weights.len())?,
        }
        Ok(x)
    }
}

fn check_len(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Mismatch { what, expected, got }) }
}

impl Step {
    /// Operation, activation and the ways it is computed, those of a convolution among some.
    fn kernel_name(&self, engine: Engine, ways: &[Way]) -> String {
        let op = match self.op {
            Op::Conv2d(_) => "conv2d",
            Op::AvgPool2d(_) => "avg_pool2d",
            Op::MaxPool2d(_) => "max_pool2d",
            Op::Dense(_) => "dense",
            Op::Activation => return format!("{:?}", self.activation).to_lowercase(),
        };
        let mut hows: Vec<String> = ways.iter().map(|&way| self.how(engine, way)).collect();
        hows.dedup();
        let how = hows.join(", ");
        let activation = match self.activation {
            Activation::Linear => String::new(),
            activation => format!("+{activation:?}").to_lowercase(),
        };
        let pooling = if self.pooled { "+avg_pool2d" } else { "" };
        format!("{op}{activation}{pooling}/{how}")
    }

    fn how(&self, engine: Engine, way: Way) -> String {
        match (engine, self.op, way) {
            (Engine::Lanes, Op::Conv2d(shape), Way::Fast) => format!("lanes F(4, {})", shape.w().kernel()),
            (Engine::Lanes, ..) if self.through => "lanes, in place".into(),
            (Engine::Lanes, ..) => "lanes".into(),
            (_, Op::Conv2d(_), Way::Columns) => "im2col+gemm".into(),
            (_, Op::Conv2d(_), way) => {
                let way = match way {
                    Way::Depthwise => "depthwise",
                    Way::Fast => "F(4x4, 3x3)",
                    _ => "direct",
                };
                format!("nhwc {way}{}", if self.shared { ", shared" } else { "" })
            }
            (_, Op::Dense(_), _) => "nhwc, gemm".into(),
            _ => "nhwc".into(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (groups, size) = (self.groups(self.batch), self.arena.group);
        let [thread, batch] = [self.working_set(), self.batch_memory()].map(|bytes| bytes.div_ceil(1024));
        write!(f, "engine {}, level {}, batch {} in {groups} groups of {size}", self.engine, self.level, self.batch)?;
        match self.engine {
            Engine::Lanes => writeln!(f, ", in blocks of {} lanes", self.level.lanes())?,
            _ => writeln!(f)?,
        }
        write!(f, "working set {thread} KiB a thread, {batch} KiB a batch; ")?;
        match self.steps.iter().any(|step| step.shared) {
            true => writeln!(f, "threads share large steps")?,
            false => writeln!(f, "more than {groups} threads find no work")?,
        }
        writeln!(
            f,
            "{:7} {:36} {:>12} {:>12} {:>10} {:>14}",
            "layers", "kernel", "input", "output", "params", "multiply-adds"
        )?;
        for step in &self.steps {
            let layers = match step.layers.len() {
                1 => step.layers.start.to_string(),
                _ => format!("{}-{}", step.layers.start, step.layers.end - 1),
            };
            let params = step.kernel.len() + step.bias.as_ref().map_or(0, |bias| bias.len());
            writeln!(
                f,
                "{layers:7} {:36} {:>12} {:>12} {params:>10} {:>14}",
                step.kernel_name(self.engine, &step.ways.in_order()),
                step.input.to_string(),
                step.output.to_string(),
                step.multiply_adds(),
            )?;
        }
        Ok(())
    }
}
