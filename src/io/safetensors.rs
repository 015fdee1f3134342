//! Weights in safetensors files, as Keras or PyTorch has them.
//!
//! By default, tensors are called `<layer>.kernel` and `<layer>.bias`, with layers as [`Model::summary`] names them; kernels
//! are `[kh][kw][in][out]` and `[in][out]`. [`Format`] has the layout of PyTorch and names of one's own. The same weights
//! give the same bytes.
//!
//! ```
//! use convlane::io::safetensors::{self, Format};
//! use convlane::prelude::*;
//!
//! let layers = Sequential::new(Shape::hwc(8, 8, 1))
//!     .layer(Conv2d::new(3, 3).relu())
//!     .layer(MaxPool2d::new(2))
//!     .layer(Flatten)
//!     .layer(Dense::new(4).softmax());
//! let (model, mut other) = (layers.clone().build(Seed(1))?, layers.build(Seed(2))?);
//! let path = std::env::temp_dir().join("convlane-safetensors-example");
//!
//! // 0.weight [3, 1, 3, 3], 0.bias [3], 4.weight [4, 27], 4.bias [4]
//! safetensors::save_as(&model, &path, &Format::pytorch())?;
//! safetensors::load_as(&mut other, &path, &Format::pytorch())?;
//! assert_eq!(model.params(), other.params());
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), convlane::Error>(())
//! ```

use std::path::Path;

use safetensors::tensor::{SafeTensors, serialize};

pub use super::format::Format;
use super::{atomic, bounded, tensors};
use crate::error::{Error, Result};
use crate::model::Model;

/// Writes the parameters of a model as Keras has them; a file that was there is replaced at once, see [`atomic::write()`].
///
/// # Errors
/// If the file cannot be written.
pub fn save(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    save_as(model, path, &Format::keras())
}

/// As [`save`], in a format of choice.
///
/// # Errors
/// If the file cannot be written, or the format has not a name for every layer with parameters.
pub fn save_as(model: &Model, path: impl AsRef<Path>, format: &Format) -> Result<()> {
    let path = path.as_ref();
    let entries = format.entries(model)?;
    let bytes = tensors::bytes(&entries, model.params());
    let file = tensors::views(&entries, "", &bytes).and_then(|views| serialize(views, None));
    atomic::write(path, &file.map_err(|e| Error::file(path, e.to_string()))?)
}

/// The longest header of a safetensors file.
const LONGEST_HEADER: usize = 100_000_000;

/// Reads the parameters of a model of the same layers, as Keras has them. On an error the model stays as it was.
///
/// Takes no more memory than the header of such a file may have, 100 MB, and the parameters, whatever the file is.
///
/// # Errors
/// If the file cannot be read, is no safetensors file, or its tensors are not those of the model.
pub fn load(model: &mut Model, path: impl AsRef<Path>) -> Result<()> {
    load_as(model, path, &Format::keras())
}

/// As [`load`], in a format of choice.
///
/// # Errors
/// As [`load`], or if the format has not a name for every layer with parameters.
pub fn load_as(model: &mut Model, path: impl AsRef<Path>, format: &Format) -> Result<()> {
    let path = path.as_ref();
    let entries = format.entries(model)?;
    let longest = size_of_val(model.params()).saturating_add(size_of::<u64>() + LONGEST_HEADER);
    let bytes = bounded::read(path, longest)?;
    if bytes.len() > longest {
        return Err(Error::file(path, format!("is longer than {longest} bytes, the most for weights of the model")));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::file(path, format!("no safetensors file: {e}")))?;
    let params = tensors::values(&entries, "", &file).map_err(|problem| Error::file(path, problem))?;
    if file.len() != entries.len() {
        return Err(Error::file(path, format!("has {} tensors, the model {}", file.len(), entries.len())));
    }
    model.params_mut().copy_from_slice(&params);
    Ok(())
}
