//! Models and trainings to files and back.

/// Files that hold the old bytes or the new, whatever happens while they are written.
pub mod atomic {
    pub use crate::atomic::{check, write};
}

#[cfg(feature = "safetensors")]
mod bounded;
#[cfg(feature = "safetensors")]
#[cfg_attr(docsrs, doc(cfg(feature = "safetensors")))]
pub mod checkpoint;
#[cfg(feature = "safetensors")]
mod format;
#[cfg(feature = "safetensors")]
#[cfg_attr(docsrs, doc(cfg(feature = "safetensors")))]
pub mod safetensors;
#[cfg(feature = "safetensors")]
mod tensors;
