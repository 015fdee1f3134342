//! Weights in safetensors files, named and shaped as Keras has them.
//!
//! Tensors are called `<layer>.kernel` and `<layer>.bias`, with layers as [`Model::summary`] names them; kernels are
//! `[kh][kw][in][out]` and `[in][out]`. The same weights give the same bytes.

use std::path::Path;

use safetensors::tensor::{SafeTensors, serialize};

use super::{atomic, tensors};
use crate::error::{Error, Result};
use crate::model::Model;

/// Writes the parameters of a model; a file that was there is replaced at once, see [`atomic::write()`].
///
/// # Errors
/// If the file cannot be written.
pub fn save(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = tensors::bytes(model.params());
    let file = tensors::views(model, "", &bytes).and_then(|views| serialize(views, None));
    atomic::write(path, &file.map_err(|e| Error::file(path, e.to_string()))?)
}

/// Reads the parameters of a model of the same layers. On an error the model stays as it was.
///
/// # Errors
/// If the file cannot be read, is no safetensors file, or its tensors are not those of the model.
pub fn load(model: &mut Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { file: path.into(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::file(path, format!("no safetensors file: {e}")))?;
    let params = tensors::values(model, "", &file).map_err(|problem| Error::file(path, problem))?;
    let known = model.tensors().count();
    if file.len() != known {
        return Err(Error::file(path, format!("has {} tensors, the model {known}", file.len())));
    }
    model.params_mut().copy_from_slice(&params);
    Ok(())
}
