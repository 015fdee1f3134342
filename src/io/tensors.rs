//! The tensors of a model among those of a file.

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::format::Entry;

/// Values in the model's order as the file's tensors hold them, one after the other.
pub(super) fn bytes(entries: &[Entry], values: &[f32]) -> Vec<u8> {
    entries.iter().flat_map(Entry::places).flat_map(|place| values[place].to_le_bytes()).collect()
}

/// Views of what [`bytes`] gives, their names behind `prefix`.
pub(super) fn views<'a>(
    entries: &[Entry],
    prefix: &str,
    mut bytes: &'a [u8],
) -> Result<Vec<(String, TensorView<'a>)>, SafeTensorError> {
    let view = |entry: &Entry| {
        let own = bytes.split_off(..size_of::<f32>() * entry.span.len()).expect("bytes of every entry");
        TensorView::new(Dtype::F32, entry.shape.clone(), own).map(|view| (format!("{prefix}{}", entry.name), view))
    };
    entries.iter().map(view).collect()
}

/// The reverse of [`views`]; the error says which tensor is missing or of another shape.
pub(super) fn values(entries: &[Entry], prefix: &str, file: &SafeTensors<'_>) -> Result<Vec<f32>, String> {
    let mut values = vec![0.0; entries.last().map_or(0, |entry| entry.span.end)];
    for entry in entries {
        let name = format!("{prefix}{}", entry.name);
        let tensor = file.tensor(&name).map_err(|_| format!("has no tensor {name}"))?;
        if (tensor.dtype(), tensor.shape()) != (Dtype::F32, &entry.shape[..]) {
            let got = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Err(format!("{name} is {got}, expected F32 {:?}", entry.shape));
        }
        let (chunks, _) = tensor.data().as_chunks::<4>();
        for (place, value) in entry.places().zip(chunks) {
            values[place] = f32::from_le_bytes(*value);
        }
    }
    Ok(values)
}
