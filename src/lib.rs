//! SIMD- and rayon-optimised CPU kernels for training convolutional networks, and all it takes to train a small one.
//!
//! ```no_run
//! use convlane::prelude::*;
//!
//! # fn main() -> Result<(), convlane::Error> {
//! let (train, test) = mnist::load("tests/data/mnist")?;
//! let model = Sequential::new(train.shape())
//!     .layer(Conv2d::new(6, 5).relu())
//!     .layer(AvgPool2d::new(2))
//!     .layer(Conv2d::new(16, 5).relu())
//!     .layer(AvgPool2d::new(2))
//!     .layer(Flatten)
//!     .layer(Dense::new(120).relu())
//!     .layer(Dense::new(84).relu())
//!     .layer(Dense::new(10).softmax())
//!     .build(Seed(42))?;
//! println!("{}", model.summary());
//! let mut trainer = Trainer::new(model, Sgd::new(0.05), TrainConfig::default())?;
//! let history = trainer.fit(&train, Fit::epochs(5).batch_size(256).validation(&test))?;
//! println!("{:?}\ntest accuracy {:.4}", history.epochs, trainer.evaluate(&test)?.accuracy());
//! # Ok(())
//! # }
//! ```
//!
//! # Four ways in
//! - [`train`]: a [`Trainer`](train::Trainer) with `fit`, `evaluate` and `predict`, for whoever has a
//!   [`Dataset`](data::Dataset).
//! - [`predict`]: a [`Predictor`](predict::Predictor) for one sample at a time, once a model is trained.
//! - [`plan`]: a network lowered to steps, with forward and backward runs, gradients and parameters as slices, for
//!   training loops of one's own.
//! - [`kernels`]: convolution, pooling, dense and the rest on plain slices, for other frameworks.
//!
//! # A short tour
//! - Data: [`mnist::load`](data::mnist::load) reads files like those of MNIST, [`Dataset`](data::Dataset) takes images from
//!   anywhere.
//! - A net: [`Sequential`](model::Sequential) of the layers in [`layer`]; [`Model::summary`](model::Model::summary) prints it.
//! - Training: [`Trainer::fit`](train::Trainer::fit) by [`Sgd`](optim::Sgd), watched through [`callbacks`].
//! - Afterwards: [`metrics`] for what went wrong, [`io`] for weights and checkpoints, [`predict`] for one sample at a time.
//! - From Keras or PyTorch: the pages of [`guide`] say the same things in both languages.
//!
//! # Promises
//! In short; the page [`guide::promises`] has them with their numbers and the tests that keep them.
//! - The same seed gives the same bits on any number of threads: every sum is taken in an order fixed by the batch.
//! - A training step allocates nothing on the engine `lanes`, and on `nhwc` what matrixmultiply allocates inside a product.
//! - Training resumed from a [`checkpoint`] gives the bits of training that never stopped.
//! - Every kernel is tested at every [`Level`] against [`mod@reference`], the same mathematics in plain `f64` loops.
//! - Bad shapes, settings and files are an [`Error`] with the numbers; wrong slice lengths given to a kernel are a
//!   documented panic.
//!
//! # Floors
//! Modules import downwards only.
//! ```text
//! train     predict                       Trainer, fit, evaluate, predict | one sample at a time
//! callbacks io        plot                what an observer is told | weights, checkpoints | pictures of a training
//! data      checkpoint                    datasets, IDX, MNIST | where a training stands
//! model     plan                          layers with parameters | layers lowered to steps, and their run on threads
//! kernels                                 pure functions on slices
//! layer     metrics   optim     history   simd      configuration as data | right and wrong | epochs | vectors
//! shape     atomic                        all checked geometry | files replaced at once
//! error     rng                           (reference: used by tests alone)
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
pub mod callbacks;
pub mod checkpoint;
pub mod data;
pub mod error;
pub mod history;
pub mod io;
pub mod kernels;
pub mod layer;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod plan;
#[cfg(feature = "plot")]
#[cfg_attr(docsrs, doc(cfg(feature = "plot")))]
pub mod plot;
pub mod predict;
pub mod reference;
pub mod rng;
pub mod shape;
mod simd;
pub mod train;

pub use error::{Error, Result};
pub use simd::Level;

/// What most programs need.
pub mod prelude {
    pub use crate::callbacks::{Event, Progress};
    pub use crate::data::{Dataset, mnist};
    pub use crate::history::{Epoch, History};
    pub use crate::layer::{Activation, AvgPool2d, Conv2d, Dense, Flatten, Layer, MaxPool2d};
    pub use crate::metrics::ConfusionMatrix;
    pub use crate::model::{Model, Sequential};
    pub use crate::optim::Sgd;
    pub use crate::plan::{Algorithm, Engine, Plan, PlanOptions, Samples, Score, Worker};
    pub use crate::predict::Predictor;
    pub use crate::rng::Seed;
    pub use crate::shape::{Padding, Shape};
    pub use crate::simd::Level;
    pub use crate::train::{Fit, Threads, TrainConfig, Trainer};
}

/// For who comes from another framework: its code and ours side by side. What the crate promises.
#[cfg(any(doc, doctest))]
pub mod guide {
    #[doc = include_str!("guide/keras.md")]
    pub mod keras {}
    #[doc = include_str!("guide/limits.md")]
    pub mod limits {}
    #[doc = include_str!("guide/promises.md")]
    pub mod promises {}
    #[doc = include_str!("guide/pytorch.md")]
    pub mod pytorch {}
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
