//! convlane
pub mod error;
pub mod layer;
pub mod reference;
pub mod rng;
pub mod shape;
pub mod simd;
pub use simd::Level;
