//! One sample at a time through a trained model.

use crate::error::{Error, Result};
use crate::kernels::cast::Pixels;
use crate::layer::Layer;
use crate::metrics::top_class;
use crate::model::Model;
use crate::plan::{Engine, Plan, PlanOptions, Samples, Worker};
use crate::shape::zeros;
use crate::simd::Level;

/// A trained model with the memory to run it on one sample, on the calling thread; large convolutions of a network that consists of
/// them are split over the current rayon pool, as the printed [`Plan`] says.
///
/// Where nothing is split, a prediction allocates nothing, but for what matrixmultiply does at the level scalar on [`Engine::Nhwc`].
///
/// ```
/// use convlane::kernels::cast::Pixels;
/// use convlane::prelude::*;
///
/// let mut model = Sequential::new(Shape::Flat(2)).layer(Dense::new(2).no_bias()).build(Seed(42))?;
/// model.params_mut().copy_from_slice(&[1.0, 0.0, 0.0, 3.0]); // [in][out]
/// let mut predictor = Predictor::new(model)?;
/// let x = Pixels::F32(&[5.0, 2.0]);
/// assert_eq!(predictor.predict(x)?, [5.0, 6.0]);
/// assert_eq!(predictor.classify(x)?, (1, 6.0));
/// # Ok::<(), convlane::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor {
    model: Model,
    plan: Plan,
    worker: Worker,
    outputs: Vec<f32>,
}

impl Predictor {
    /// Takes a model to be run on the engine [`Engine::Nhwc`], at the level AVX2 if there is one, whose vectors few channels fill
    /// better than those of AVX-512.
    ///
    /// For LeNet-5 on a core of a Zen 3, a prediction takes 14 us so, and 51 us on [`Engine::Lanes`], where all lanes but one are
    /// idle (`cargo bench --bench layers`).
    ///
    /// # Errors
    /// As [`Predictor::with_options`].
    pub fn new(model: Model) -> Result<Self> {
        let level = Level::avx2().unwrap_or_default();
        Self::with_options(model, &PlanOptions { engine: Engine::Nhwc, level, ..PlanOptions::default() })
    }

    /// Takes a model to be run in a way of the caller's.
    ///
    /// # Errors
    /// If nothing is to be computed, or the memory would overflow or is refused.
    pub fn with_options(model: Model, options: &PlanOptions) -> Result<Self> {
        let layers: Vec<Layer> = model.layers().iter().map(|layer| layer.layer).collect();
        let plan = Plan::new(model.input(), &layers, 1, options)?;
        let mut worker = plan.try_worker()?;
        plan.pack(model.params(), &mut worker)?;
        Ok(Predictor { worker, outputs: zeros("outputs", plan.y_len())?, plan, model })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model's outputs for one sample: probabilities if it ends in a softmax.
    ///
    /// # Errors
    /// If `x` is not one sample.
    pub fn predict(&mut self, x: Pixels<'_>) -> Result<&[f32]> {
        let Predictor { model, plan, worker, outputs } = self;
        if x.len() != plan.x_len() {
            return Err(Error::Mismatch { what: "values of a sample", expected: plan.x_len(), got: x.len() });
        }
        plan.forward_packed(model.params(), Samples::all(x), outputs, worker)?;
        Ok(outputs)
    }

    /// The class whose output is largest, the first of equals, and that output.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn classify(&mut self, x: Pixels<'_>) -> Result<(usize, f32)> {
        let outputs = self.predict(x)?;
        let class = top_class(outputs);
        Ok((class, outputs[class]))
    }
}
