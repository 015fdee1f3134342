//! convlane
pub mod callbacks;
pub mod data;
pub mod error;
pub mod history;
pub mod io;
pub mod kernels;
pub mod layer;
pub mod model;
pub mod optim;
pub mod plan;
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
    pub use crate::model::{Model, Sequential};
    pub use crate::optim::Sgd;
    pub use crate::plan::{Engine, Plan, PlanOptions, Samples, Score, Worker};
    pub use crate::rng::Seed;
    pub use crate::shape::{Padding, Shape};
    pub use crate::simd::Level;
    pub use crate::train::{Fit, Threads, TrainConfig, Trainer};
}
