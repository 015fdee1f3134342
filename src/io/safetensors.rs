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

use std::io::Read;
use std::path::Path;

use safetensors::tensor::{SafeTensors, serialize};

use super::format::Entry;
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
    atomic::write(path.as_ref(), &to_bytes(model, format)?)
}

/// What [`save_as`] writes.
///
/// # Errors
/// If the format has not a name for every layer with parameters.
pub fn to_bytes(model: &Model, format: &Format) -> Result<Vec<u8>> {
    let entries = format.entries(model)?;
    let bytes = tensors::bytes(&entries, model.params());
    let file = tensors::views(&entries, "", &bytes).and_then(|views| serialize(views, None));
    file.map_err(|error| Error::Setting { name: "format", problem: error.to_string() })
}

/// How much longer than weights of the model a file may be that is looked into, to say which tensor differs.
const SLACK: usize = 100_000_000;

/// The longest header of a file of so many tensors: generous for names, and for metadata, which is not looked at.
fn longest_header(tensors: usize) -> usize {
    (16 << 10) + (1 << 10) * tensors
}

/// Reads the parameters of a model of the same layers, as Keras has them. On an error the model stays as it was.
///
/// Takes memory for the parameters, twice what is read of the file, which is no more than 100 MB beyond the parameters, and 64
/// times its header, which may have 16 KiB and 1 KiB a tensor of the model.
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
    load_from(model, path, bounded::open(path)?, format)
}

/// Reads parameters like [`load_as`] from anything, called `name` in errors.
///
/// ```
/// use convlane::io::safetensors::{Format, load_from, to_bytes};
/// use convlane::prelude::*;
///
/// let layers = Sequential::new(Shape::Flat(3)).layer(Dense::new(2));
/// let (model, mut other) = (layers.clone().build(Seed(1))?, layers.build(Seed(2))?);
/// let bytes = to_bytes(&model, &Format::keras())?;
/// load_from(&mut other, "memory", &bytes[..], &Format::keras())?;
/// assert_eq!(model.params(), other.params());
/// # Ok::<(), convlane::Error>(())
/// ```
///
/// # Errors
/// As [`load_as`].
pub fn load_from(model: &mut Model, name: impl AsRef<Path>, bytes: impl Read, format: &Format) -> Result<()> {
    let (name, entries) = (name.as_ref(), format.entries(model)?);
    let longest = size_of_val(model.params()).saturating_add(size_of::<u64>() + SLACK);
    let bytes = bounded::read(name, bytes, longest)?;
    if bytes.len() > longest {
        return Err(Error::file(name, format!("is longer than {longest} bytes, the most for weights of the model")));
    }
    let params = parse(&entries, &bytes).map_err(|problem| Error::file(name, problem))?;
    model.params_mut().copy_from_slice(&params);
    Ok(())
}

/// The parameters that a file holds.
fn parse(entries: &[Entry], bytes: &[u8]) -> std::result::Result<Vec<f32>, String> {
    let (header, longest) =
        (bytes.first_chunk().map_or(0, |&len| u64::from_le_bytes(len)), longest_header(entries.len()));
    if header > longest as u64 {
        return Err(format!("no safetensors file: a header of {header} bytes, the most for the model is {longest}"));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
    let params = tensors::values(entries, "", &file)?;
    if file.len() != entries.len() {
        return Err(format!("has {} tensors, the model {}", file.len(), entries.len()));
    }
    Ok(params)
}
