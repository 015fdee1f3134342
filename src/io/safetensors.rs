//! Weights in safetensors files, named and shaped as Keras has them.
//!
//! Tensors are called `<layer>.kernel` and `<layer>.bias`, with layers as [`Model::summary`] names them; kernels are
//! `[kh][kw][in][out]` and `[in][out]`. The same weights give the same bytes.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::error::{Error, Result};
use crate::model::Model;

/// Writes the parameters of a model.
///
/// # Errors
/// If the file cannot be written.
pub fn save(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes: Vec<u8> = model.params().iter().flat_map(|value| value.to_le_bytes()).collect();
    let views = model.tensors().map(|(name, param)| {
        let view = TensorView::new(Dtype::F32, param.shape.clone(), &bytes[param.span.start * 4..param.span.end * 4]);
        view.map(|view| (name, view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| Error::file(path, e.to_string()))?;
    let file = serialize(views, None).map_err(|e| Error::file(path, e.to_string()))?;
    std::fs::write(path, file).map_err(|source| Error::Io { file: path.into(), source })
}

/// Reads the parameters of a model of the same layers. On an error the model stays as it was.
///
/// # Errors
/// If the file cannot be read, is no safetensors file, or its tensors are not those of the model.
pub fn load(model: &mut Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { file: path.into(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::file(path, format!("no safetensors file: {e}")))?;
    let mut params = vec![0.0; model.params().len()];
    for (name, param) in model.tensors() {
        let tensor = file.tensor(&name).map_err(|_| Error::file(path, format!("has no tensor {name}")))?;
        if (tensor.dtype(), tensor.shape()) != (Dtype::F32, &param.shape[..]) {
            let got = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Err(Error::file(path, format!("{name} is {got}, expected F32 {:?}", param.shape)));
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        for (place, value) in params[param.span.clone()].iter_mut().zip(values) {
            *place = f32::from_le_bytes(*value);
        }
    }
    let known = model.tensors().count();
    if file.len() != known {
        return Err(Error::file(path, format!("has {} tensors, the model {known}", file.len())));
    }
    model.params_mut().copy_from_slice(&params);
    Ok(())
}
