//! What the integration tests share; each of them uses a part.
#![allow(dead_code, unused_imports)]

pub mod full;
pub mod geometry;
pub mod net;
pub mod nets;
pub mod pass;
pub mod pictures;
pub mod random;
pub mod tensor;
pub mod tolerance;
pub mod way;
