//! The tensors of a model among those of a file.

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::model::Model;

/// Values as a file holds them.
pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Views of as many values as the model has parameters, cut and shaped as these, their names behind `prefix`.
pub(super) fn views<'a>(
    model: &Model,
    prefix: &str,
    bytes: &'a [u8],
) -> Result<Vec<(String, TensorView<'a>)>, SafeTensorError> {
    let view = |(name, param): (String, &crate::layer::Param)| {
        let view = TensorView::new(Dtype::F32, param.shape.clone(), &bytes[param.span.start * 4..param.span.end * 4]);
        view.map(|view| (format!("{prefix}{name}"), view))
    };
    model.tensors().map(view).collect()
}

/// The reverse of [`views`]; the error says which tensor is missing or of another shape.
pub(super) fn values(model: &Model, prefix: &str, file: &SafeTensors<'_>) -> Result<Vec<f32>, String> {
    let mut values = vec![0.0; model.params().len()];
    for (name, param) in model.tensors() {
        let name = format!("{prefix}{name}");
        let tensor = file.tensor(&name).map_err(|_| format!("has no tensor {name}"))?;
        if (tensor.dtype(), tensor.shape()) != (Dtype::F32, &param.shape[..]) {
            let got = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Err(format!("{name} is {got}, expected F32 {:?}", param.shape));
        }
        let (chunks, _) = tensor.data().as_chunks::<4>();
        for (place, value) in values[param.span.clone()].iter_mut().zip(chunks) {
            *place = f32::from_le_bytes(*value);
        }
    }
    Ok(values)
}
