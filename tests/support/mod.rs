//! What the integration tests share; each of them uses a part.
#![allow(dead_code, unused_imports)]

pub mod cases;
pub mod direct;
pub mod geometry;
pub mod net;
pub mod nets;
pub mod pass;
pub mod pictures;
pub mod random;
pub mod shapes;
pub mod tensor;
pub mod threads;
pub mod tolerance;
pub mod transforms;
pub mod way;
pub mod winograd;
