//! What examples have in common.

pub mod cli;
pub mod net;
pub mod screen;
