//! Training loops: fit, evaluate, predict, and going on from a checkpoint.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::callbacks::{Event, Progress};
use crate::checkpoint::{Checkpoint, Position, Recipe, too_many_epochs};
use crate::data::{Dataset, Order};
use crate::error::{Error, Result};
use crate::history::{Epoch, History};
use crate::kernels::cast::Pixels;
use crate::kernels::cross_entropy::Targets;
use crate::layer::Layer;
use crate::model::Model;
use crate::optim::Sgd;
use crate::plan::{Plan, PlanOptions, Samples, Score, Worker};
use crate::rng::Seed;
use crate::shape::zeros;

/// The threads that a trainer computes on. The results are the same on any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// Those of the rayon pool that calls; outside of any, the global pool.
    #[default]
    Current,
    /// A pool of its own with so many.
    Own(usize),
}

impl Threads {
    /// The most threads of a pool of one's own; systems give out before they refuse much larger numbers.
    pub const MAX: usize = 1024;
}

/// The choices behind a [`Trainer`].
#[derive(Debug, Clone, Default)]
pub struct TrainConfig {
    /// The threads it computes on.
    pub threads: Threads,
    /// How the model is computed.
    pub plan: PlanOptions,
}

/// What a call of [`Trainer::fit`] does.
///
/// ```
/// use convlane::prelude::*;
///
/// let fit = Fit::epochs(100).batch_size(256).shuffle(Seed(7));
/// ```
pub struct Fit<'a> {
    length: Length,
    batch_size: usize,
    shuffle: Option<Seed>,
    validation: Option<&'a Dataset>,
    observer: Box<dyn FnMut(Event) -> ControlFlow<()> + Send + 'a>,
}

/// How long a fit goes on.
#[derive(Clone, Copy)]
enum Length {
    /// So many epochs more.
    More(usize),
    /// Until so many epochs are done in all fits.
    Total(usize),
}

impl<'a> Fit<'a> {
    /// So many epochs, in shuffled batches of 32, without validation. An epoch that was broken off is gone on with and
    /// counts as one.
    pub fn epochs(epochs: usize) -> Self {
        Fit::new(Length::More(epochs))
    }

    /// As [`Fit::epochs`], but until so many epochs are done in all fits: none if they are.
    pub fn until(epochs: usize) -> Self {
        Fit::new(Length::Total(epochs))
    }

    fn new(length: Length) -> Self {
        let observer = Box::new(|_| ControlFlow::Continue(()));
        Fit { length, batch_size: 32, shuffle: Some(Seed(0)), validation: None, observer }
    }

    /// Takes batch size and order from those of an earlier fit.
    pub fn like(mut self, recipe: &Recipe) -> Self {
        (self.batch_size, self.shuffle) = (recipe.batch_size, recipe.shuffle);
        self
    }

    /// Samples a step; an epoch's last step takes what is left.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Visits the samples in an order of this seed, another one each epoch.
    pub fn shuffle(mut self, seed: Seed) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Visits the samples as they are stored.
    pub fn in_order(mut self) -> Self {
        self.shuffle = None;
        self
    }

    /// Evaluates these samples after every epoch.
    pub fn validation(mut self, samples: &'a Dataset) -> Self {
        self.validation = Some(samples);
        self
    }

    /// Is told of every step and epoch, and can end the fit with [`ControlFlow::Break`]. It runs on a thread of the
    /// pool.
    pub fn observer(mut self, observer: impl FnMut(Event) -> ControlFlow<()> + Send + 'a) -> Self {
        self.observer = Box::new(observer);
        self
    }
}

/// A model with its optimiser's state and the memory to train it under softmax cross-entropy.
///
/// ```
/// use convlane::data::Dataset;
/// use convlane::prelude::*;
///
/// // Which of two pixels is brighter?
/// let samples = Dataset::from_u8(Shape::hwc(1, 2, 1), vec![0, 200, 90, 10, 30, 60, 250, 70], vec![1, 0, 1, 0], 2)?;
/// let model = Sequential::new(samples.shape()).layer(Flatten).layer(Dense::new(2).softmax()).build(Seed(42))?;
/// let mut trainer = Trainer::new(model, Sgd::new(1.0), TrainConfig::default())?;
/// let history = trainer.fit(&samples, Fit::epochs(50).batch_size(2))?;
/// assert!(history.epochs[49].loss < history.epochs[0].loss);
/// assert_eq!(trainer.evaluate(&samples)?.accuracy(), 1.0);
/// # Ok::<(), convlane::Error>(())
/// ```
pub struct Trainer {
    pool: Option<rayon::ThreadPool>,
    state: State,
}

/// All of a trainer but its pool, so that it can be lent to the pool.
struct State {
    model: Model,
    sgd: Sgd,
    velocity: Vec<f32>,
    /// How far all fits have come: what the next shuffle depends on.
    position: Position,
    /// That of the last step of all fits.
    recipe: Option<Recipe>,
    /// The epochs of all fits.
    history: History,
    options: PlanOptions,
    /// The last plan and its memory.
    session: Option<Session>,
}

struct Session {
    plan: Plan,
    worker: Worker,
    labels: Vec<u32>,
}

/// Samples of a batch where nobody chose a size.
const EVALUATION_BATCH: usize = 256;

impl Trainer {
    /// Takes a model to be trained by `sgd`.
    ///
    /// # Errors
    /// If a setting of `sgd` is out of its range, or the thread pool cannot be built.
    pub fn new(model: Model, sgd: Sgd, config: TrainConfig) -> Result<Self> {
        sgd.validate()?;
        let pool = match config.threads {
            Threads::Current => None,
            Threads::Own(0) => return Err(Error::Zero { what: "number of threads" }),
            Threads::Own(threads) if threads > Threads::MAX => {
                let problem = format!("at most {}, got {threads}", Threads::MAX);
                return Err(Error::Setting { name: "number of threads", problem });
            }
            Threads::Own(threads) => {
                let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
                Some(builder.thread_name(|i| format!("convlane-{i}")).build().map_err(Error::ThreadPool)?)
            }
        };
        let velocity = zeros("velocity", sgd.velocity_len(model.params().len()))?;
        let (position, history, options) = (Position::default(), History::default(), config.plan);
        let state = State { model, sgd, velocity, position, recipe: None, history, options, session: None };
        Ok(Trainer { pool, state })
    }

    /// Goes on where a training stood: with the same samples and the same [`Recipe`], [`Trainer::fit`] gives the bits that
    /// it would have given there, in the middle of an epoch too.
    ///
    /// ```
    /// use convlane::data::Dataset;
    /// use convlane::prelude::*;
    ///
    /// let samples = Dataset::from_u8(Shape::hwc(1, 2, 1), vec![0, 200, 90, 10, 30, 60, 250, 70], vec![1, 0, 1, 0], 2)?;
    /// let trainer = || {
    ///     let model = Sequential::new(samples.shape()).layer(Flatten).layer(Dense::new(2).softmax()).build(Seed(42))?;
    ///     Trainer::new(model, Sgd::new(0.5).momentum(0.9), TrainConfig::default())
    /// };
    /// let (mut whole, mut half) = (trainer()?, trainer()?);
    /// whole.fit(&samples, Fit::epochs(4).batch_size(2))?;
    ///
    /// half.fit(&samples, Fit::epochs(2).batch_size(2))?;
    /// let checkpoint = half.checkpoint()?;
    /// let fit = Fit::until(4).like(&checkpoint.recipe);
    /// let mut resumed = Trainer::resume(checkpoint, TrainConfig::default())?;
    /// resumed.fit(&samples, fit)?;
    /// assert_eq!(resumed.model().params(), whole.model().params());
    /// # Ok::<(), convlane::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Trainer::new`], and as [`Checkpoint::validate`].
    pub fn resume(checkpoint: Checkpoint, config: TrainConfig) -> Result<Self> {
        checkpoint.validate()?;
        let Checkpoint { model, velocity, position, recipe, history } = checkpoint;
        let mut trainer = Trainer::new(model, recipe.sgd, config)?;
        trainer.state = State { velocity, position, recipe: Some(recipe), history, ..trainer.state };
        Ok(trainer)
    }

    /// Where the training stands, after a fit or between two: what [`Trainer::resume`] takes.
    ///
    /// # Errors
    /// If there was no fit yet, so that nobody knows how the samples are to be visited.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let State { model, velocity, position, recipe, history, .. } = &self.state;
        let none = || Error::Setting { name: "checkpoint", problem: "there was no fit yet".into() };
        let recipe = recipe.clone().ok_or_else(none)?;
        let (model, velocity, history) = (model.clone(), velocity.clone(), history.clone());
        Ok(Checkpoint { model, velocity, position: *position, recipe, history })
    }

    /// What the bits of such a fit depend on, to be compared with that of a checkpoint.
    ///
    /// # Errors
    /// As [`Trainer::plan`].
    pub fn recipe(&self, samples: &Dataset, fit: &Fit<'_>) -> Result<Recipe> {
        self.state.recipe(samples, fit)
    }

    /// How far all fits have come.
    pub fn position(&self) -> Position {
        self.state.position
    }

    /// The epochs of all fits, and those that a checkpoint remembers.
    pub fn history(&self) -> &History {
        &self.state.history
    }

    /// The model as it stands.
    pub fn model(&self) -> &Model {
        &self.state.model
    }

    /// The model's parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        self.state.model.params_mut()
    }

    /// Gives the model back.
    pub fn into_model(self) -> Model {
        self.state.model
    }

    /// Number of threads of the pool it computes on.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or_else(rayon::current_num_threads, rayon::ThreadPool::current_num_threads)
    }

    /// The plan that [`Trainer::fit`] runs in batches of `batch`; a fit of fewer samples takes them for its batch.
    ///
    /// # Errors
    /// If the memory would overflow.
    pub fn plan(&self, batch: usize) -> Result<Plan> {
        self.state.plan(batch)
    }

    /// Trains on `samples`. A second fit goes on where the first ended, in the middle of an epoch if that was broken off:
    /// two fits of two epochs equal one of four.
    ///
    /// # Errors
    /// If samples do not fit the model, [`Position::MAX_EPOCHS`] are done and more are asked for, an epoch begun is to be
    /// gone on with in another order or with another number of samples, or the loss becomes NaN or infinite:
    /// [`Error::NonFiniteLoss`], with the parameters as they were before that step.
    pub fn fit(&mut self, samples: &Dataset, fit: Fit<'_>) -> Result<History> {
        self.in_pool(|state| state.fit(samples, fit))
    }

    /// Loss and accuracy over all samples.
    ///
    /// # Errors
    /// If the samples do not fit the model.
    pub fn evaluate(&mut self, samples: &Dataset) -> Result<Score> {
        self.in_pool(|state| state.evaluate(samples, EVALUATION_BATCH))
    }

    /// The model's output for every sample, `[n][outputs]`: probabilities if it ends in a softmax.
    ///
    /// Where [`Engine::Auto`](crate::plan::Engine::Auto) chooses, a few samples alone may run on another engine than many,
    /// and differ in the last bits.
    ///
    /// # Errors
    /// If `x` is not a whole number of samples.
    pub fn predict(&mut self, x: Pixels<'_>) -> Result<Vec<f32>> {
        self.in_pool(|state| state.predict(x))
    }

    fn in_pool<T: Send>(&mut self, run: impl FnOnce(&mut State) -> T + Send) -> T {
        let Trainer { pool, state } = self;
        match pool {
            Some(pool) => pool.install(|| run(state)),
            // A scope moves into the global pool if this thread is in none.
            None => rayon::scope(|_| run(state)),
        }
    }
}

/// Refuses to go on with an epoch in another order: some samples would be seen twice, others never.
fn check_order(before: &Recipe, now: &Recipe) -> Result<()> {
    if before.samples != now.samples {
        let problem = format!("the epoch begun has {}, not {}; complete it with those", before.samples, now.samples);
        return Err(Error::Setting { name: "samples", problem });
    }
    if before.shuffle == now.shuffle {
        return Ok(());
    }
    let order = |recipe: &Recipe| recipe.shuffle.map_or("as stored".into(), |seed| format!("of seed {}", seed.0));
    let [before, now] = [before, now].map(order);
    let problem = format!("the epoch begun has the order {before}, not {now}; complete it in that, then change");
    Err(Error::Setting { name: "shuffle", problem })
}

impl State {
    fn plan(&self, batch: usize) -> Result<Plan> {
        let layers: Vec<Layer> = self.model.layers().iter().map(|layer| layer.layer).collect();
        Plan::new(self.model.input(), &layers, batch, &self.options)
    }

    /// Makes sure that there is a plan for batches of exactly up to `batch`.
    fn prepare(&mut self, batch: usize) -> Result<()> {
        if self.session.as_ref().is_none_or(|session| session.plan.batch() != batch) {
            let plan = self.plan(batch)?;
            self.session = Some(Session { worker: plan.try_worker()?, labels: zeros("labels", batch)?, plan });
        }
        Ok(())
    }

    fn recipe(&self, samples: &Dataset, fit: &Fit<'_>) -> Result<Recipe> {
        let plan = self.plan(fit.batch_size.min(samples.len()))?;
        let (engine, level) = (plan.engine(), plan.level().name().to_owned());
        let (batch_size, shuffle, algorithm) = (fit.batch_size, fit.shuffle, self.options.algorithm);
        let (sgd, samples_crc32, samples) = (self.sgd, samples.crc32(), samples.len());
        Ok(Recipe { sgd, batch_size, shuffle, engine, algorithm, level, samples, samples_crc32 })
    }

    fn check(&self, samples: &Dataset) -> Result<()> {
        let (input, output) = (self.model.input(), self.model.output());
        if samples.shape() != input {
            let problem = format!("of {} do not fit a model of {input}", samples.shape());
            return Err(Error::Setting { name: "samples", problem });
        }
        let outputs = output.elements()?;
        if samples.classes() > outputs {
            let problem = format!("{} classes do not fit a model of {outputs} outputs", samples.classes());
            return Err(Error::Setting { name: "samples", problem });
        }
        Ok(())
    }

    fn fit(&mut self, samples: &Dataset, mut fit: Fit<'_>) -> Result<History> {
        self.check(samples)?;
        fit.validation.map_or(Ok(()), |validation| self.check(validation))?;
        let recipe = self.recipe(samples, &fit)?;
        let epochs = self.position.epochs;
        let last = match fit.length {
            Length::More(more) => epochs.saturating_add(more),
            Length::Total(total) => total,
        };
        // The number of an epoch stays far from an overflow, whatever a checkpoint or caller says.
        if last > epochs && epochs >= Position::MAX_EPOCHS {
            return Err(too_many_epochs(last));
        }
        let begun = self.recipe.as_ref().filter(|_| last > epochs && self.position.steps > 0);
        begun.map_or(Ok(()), |begun| check_order(begun, &recipe))?;
        let mut recipe = Some(recipe);
        let batch = fit.batch_size.min(samples.len());
        let mut order = Order::new(samples.len())?;
        let mut history = History::default();
        for epoch in epochs + 1..=last.min(Position::MAX_EPOCHS) {
            if let Some(seed) = fit.shuffle {
                order.shuffle(seed, epoch);
            }
            self.prepare(batch)?;
            let start = Instant::now();
            if self.epoch(epoch, samples, &order, &mut fit, &mut recipe)?.is_break() {
                break;
            }
            let seconds = start.elapsed().as_secs_f64();
            let score = self.position.score;
            let validation = fit.validation.map(|samples| self.evaluate(samples, batch)).transpose()?;
            let record = Epoch {
                epoch,
                loss: score.loss(),
                accuracy: score.accuracy(),
                val_loss: validation.map(|score| score.loss()),
                val_accuracy: validation.map(|score| score.accuracy()),
                seconds,
            };
            self.position = Position { epochs: epoch, ..Position::default() };
            self.history.epochs.push(record);
            history.epochs.push(record);
            if (fit.observer)(Event::Epoch(record)).is_break() {
                break;
            }
        }
        // A fit of no steps changes nothing that there is.
        self.recipe = self.recipe.take().or(recipe);
        Ok(history)
    }

    /// What is left of an epoch. Its first step takes the recipe.
    fn epoch(
        &mut self,
        epoch: usize,
        samples: &Dataset,
        order: &Order,
        fit: &mut Fit<'_>,
        recipe: &mut Option<Recipe>,
    ) -> Result<ControlFlow<()>> {
        let Session { plan, worker, labels } = self.session.as_mut().expect("prepared before an epoch");
        let Position { steps: done, score: mut total, .. } = self.position;
        let batches = order.batches_after(total.samples, plan.batch())?;
        let steps = done + batches.len();
        for (step, indices) in (done + 1..).zip(batches) {
            let labels = &mut labels[..indices.len()];
            for (label, &index) in labels.iter_mut().zip(indices) {
                *label = samples.labels()[index as usize];
            }
            let x = Samples::at(samples.pixels(), indices);
            let (params, velocity) = (self.model.params_mut(), &mut self.velocity);
            let score = plan.train_step(params, velocity, &self.sgd, x, Targets::Sparse(labels), worker)?;
            if !score.loss_sum.is_finite() {
                return Err(Error::NonFiniteLoss { epoch, step, loss: score.loss() });
            }
            total = total + score;
            (self.position.steps, self.position.score) = (step, total);
            self.recipe = recipe.take().or_else(|| self.recipe.take());
            let (loss, accuracy) = (total.loss(), total.accuracy());
            let progress = Progress { epoch, step, steps, samples: total.samples, loss, accuracy };
            if (fit.observer)(Event::Batch(progress)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn evaluate(&mut self, samples: &Dataset, batch: usize) -> Result<Score> {
        self.check(samples)?;
        self.prepare(batch)?;
        let Session { plan, worker, .. } = self.session.as_mut().expect("just prepared");
        let (pixels, params, mut total) = (samples.pixels(), self.model.params(), Score::default());
        for (part, labels) in samples.labels().chunks(batch).enumerate() {
            let first = part * batch;
            let x = Samples::all(pixels.slice(first * plan.x_len()..(first + labels.len()) * plan.x_len()));
            total = total + plan.evaluate(params, x, Targets::Sparse(labels), worker)?;
        }
        Ok(total)
    }

    fn predict(&mut self, x: Pixels<'_>) -> Result<Vec<f32>> {
        let samples = x.len() / self.model.input().elements()?;
        let batch = EVALUATION_BATCH.min(samples.max(1));
        self.prepare(batch)?;
        let Session { plan, worker, .. } = self.session.as_mut().expect("just prepared");
        let (x_len, y_len) = (plan.x_len(), plan.y_len());
        if !x.len().is_multiple_of(x_len) {
            let problem = format!("{} values are no whole number of samples of {x_len}", x.len());
            return Err(Error::Setting { name: "pixels", problem });
        }
        let mut outputs = zeros("outputs", samples.saturating_mul(y_len))?;
        for (part, y) in outputs.chunks_mut(batch * y_len).enumerate() {
            let first = part * batch * x_len;
            let x = Samples::all(x.slice(first..first + y.len() / y_len * x_len));
            plan.forward(self.model.params(), x, y, worker)?;
        }
        Ok(outputs)
    }
}
