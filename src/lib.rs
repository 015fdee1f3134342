//! convlane
pub mod error;
pub mod kernels;
pub mod layer;
pub mod optim;
pub mod reference;
pub mod rng;
pub mod shape;
pub mod simd;
pub use error::{Error, Result};
pub use simd::Level;
