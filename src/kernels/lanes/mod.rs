//! Kernels on `[n][h][w][c][lane]`: every lane of a vector is another image.
//!
//! A block holds as many images as the level has lanes, and `n` counts blocks. Every pixel of a channel is one vector
//! and every weight one number, so that any number of channels, taps and pixels fills all lanes.

pub mod activation;
pub mod avg_pool2d;
pub mod conv2d;
pub mod cross_entropy;
pub mod dense;
mod gather;
pub mod max_pool2d;
pub mod pack;
mod pool2d;
mod weights;
pub mod winograd;
