//! Models and trainings to files and back.

pub mod atomic;
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
