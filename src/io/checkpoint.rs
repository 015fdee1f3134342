//! Checkpoints in safetensors files: everything to go on from, in one file that is old or new, never half written.
//!
//! The tensors are the weights, as [`safetensors`](crate::io::safetensors) names them, and with momentum the velocity
//! under the same names behind `velocity.`; the metadata has one entry, `checkpoint`, of lines such as `epochs 2`, among
//! them loss and accuracy of the last 10,000 epochs. The first is a checksum of the whole file: one with a changed byte is
//! refused. So is one of another version of the format, now `convlane-2`: `convlane-1`, which no release wrote, did not
//! know its samples again.
//!
//! ```
//! use convlane::data::Dataset;
//! use convlane::io::checkpoint;
//! use convlane::prelude::*;
//!
//! let samples = Dataset::from_u8(Shape::hwc(1, 2, 1), vec![0, 200, 90, 10, 30, 60, 250, 70], vec![1, 0, 1, 0], 2)?;
//! let model = Sequential::new(samples.shape()).layer(Flatten).layer(Dense::new(2).softmax()).build(Seed(42))?;
//! let path = std::env::temp_dir().join("convlane-checkpoint-example");
//!
//! let mut trainer = Trainer::new(model.clone(), Sgd::new(0.5), TrainConfig::default())?;
//! for epoch in 1..=2 {
//!     trainer.fit(&samples, Fit::until(epoch))?;
//!     checkpoint::save(&trainer.checkpoint()?, &path)?;
//! }
//!
//! // Another day, with a model of the same layers:
//! let checkpoint = checkpoint::load(&model, &path)?;
//! let before = checkpoint.recipe.clone();
//! let mut trainer = Trainer::resume(checkpoint, TrainConfig::default())?;
//! let fit = Fit::until(4).like(&before);
//! for difference in before.differences(&trainer.recipe(&samples, &fit)?) {
//!     eprintln!("warning: {difference}");
//! }
//! assert_eq!(trainer.fit(&samples, fit)?.epochs[0].epoch, 3);
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), convlane::Error>(())
//! ```

mod text;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use flate2::Crc;
use safetensors::SafeTensorError;
use safetensors::tensor::{SafeTensors, serialize};

use super::format::{Entry, Format};
use super::{atomic, bounded, tensors};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::model::Model;
use text::Text;

/// How a file goes on after the length of its header.
const START: &[u8] = br#"{"__metadata__":{"checkpoint":""#;

/// Stands in the place of the checksum while that is computed.
const NO_CHECKSUM: &str = "checksum 00000000";

/// What the names of the velocity's tensors begin with.
const VELOCITY: &str = "velocity.";

/// Writes a checkpoint; a file that was there is replaced at once, see [`atomic::write()`]. The same checkpoint gives the
/// same bytes.
///
/// # Errors
/// If the checkpoint is not valid, or the file cannot be written.
pub fn save(checkpoint: &Checkpoint, path: impl AsRef<Path>) -> Result<()> {
    atomic::write(path.as_ref(), &to_bytes(checkpoint)?)
}

/// What [`save`] writes.
///
/// # Errors
/// If the checkpoint is not valid.
pub fn to_bytes(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    checkpoint.validate()?;
    let wrong = |problem| Error::Setting { name: "checkpoint", problem };
    let entries = Format::keras().entries(&checkpoint.model)?;
    let mut file = unsealed(checkpoint, &entries).map_err(|error| wrong(error.to_string()))?;
    let checksum = checksum(&file);
    match file.get_mut(checksum_place()) {
        Some(place) if place == NO_CHECKSUM.as_bytes() => place.copy_from_slice(checksum.as_bytes()),
        _ => return Err(wrong("would have its checksum in another place than it is looked for".into())),
    }
    Ok(file)
}

/// Reads a checkpoint of a model of the same layers.
///
/// Takes memory for three times the parameters, twice what is read of the file, which is no more than the longest checkpoint
/// of the model has (8 bytes a parameter, 1 KiB a layer and 2.5 MiB), and 16 MiB.
///
/// # Errors
/// If the file cannot be read, is no checkpoint, was changed by a byte, or is that of another model: the message names the
/// first layer that differs.
pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    load_from(model, path, bounded::open(path)?)
}

/// Reads a checkpoint like [`load`] from anything, called `name` in errors.
///
/// # Errors
/// As [`load`].
pub fn load_from(model: &Model, name: impl AsRef<Path>, bytes: impl Read) -> Result<Checkpoint> {
    let (name, entries) = (name.as_ref(), Format::keras().entries(model)?);
    let bytes = bounded::read(name, bytes, longest(model))?;
    parse(model, &entries, &bytes).map_err(|problem| Error::file(name, problem))
}

/// The whole file, but for the checksum.
fn unsealed(checkpoint: &Checkpoint, entries: &[Entry]) -> std::result::Result<Vec<u8>, SafeTensorError> {
    let Checkpoint { model, velocity, .. } = checkpoint;
    let weights = tensors::bytes(entries, model.params());
    let mut views = tensors::views(entries, "", &weights)?;
    let moving = if velocity.is_empty() { &[] } else { entries };
    let velocity = tensors::bytes(moving, velocity);
    views.extend(tensors::views(moving, VELOCITY, &velocity)?);
    let text = format!("{NO_CHECKSUM}\n{}", text::write(checkpoint));
    serialize(views, Some(HashMap::from([("checkpoint".to_owned(), text)])))
}

fn parse(model: &Model, entries: &[Entry], bytes: &[u8]) -> std::result::Result<Checkpoint, String> {
    let text = metadata(bytes).ok_or("no checkpoint")?;
    let mut lines = text.split("\\n");
    let sum = lines.next().filter(|sum| sum.len() == NO_CHECKSUM.len()).ok_or("no checkpoint")?;
    // Of a longer file, as another model's may be, the rest was not read.
    let whole = bytes.len() <= longest(model);
    if whole && sum != checksum(bytes) {
        return Err(format!("{sum} does not fit the bytes, which give {}", checksum(bytes)));
    }
    let Text { seed, recipe, position, history } = text::read(model, lines)?;
    if !whole {
        return Err(format!("is longer than the {} bytes of any checkpoint of the model", longest(model)));
    }
    let header = bytes.first_chunk().map_or(0, |&len| u64::from_le_bytes(len));
    let tensors = header.saturating_sub(text.len() as u64);
    if tensors > longest_list(model) as u64 {
        return Err(format!(
            "no checkpoint: {tensors} bytes in the header besides the text, expected {} at most",
            longest_list(model)
        ));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("no checkpoint: {e}"))?;
    let has_velocity = recipe.sgd.velocity_len(1) > 0;
    let moving = if has_velocity { entries } else { &[] };
    let expected = entries.len() + moving.len();
    if file.len() != expected {
        return Err(format!("has {} tensors, expected {expected}", file.len()));
    }
    let mut trained = model.clone();
    trained.params_mut().copy_from_slice(&tensors::values(entries, "", &file)?);
    let velocity = tensors::values(moving, VELOCITY, &file)?;
    let checkpoint = Checkpoint { model: trained.with_seed(seed), velocity, position, recipe, history };
    checkpoint.validate().map_err(|error| error.to_string())?;
    Ok(checkpoint)
}

/// The metadata's one entry, as escaped in the header.
fn metadata(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.get(8..)?.strip_prefix(START)?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn checksum_place() -> std::ops::Range<usize> {
    let start = 8 + START.len();
    start..start + NO_CHECKSUM.len()
}

/// The checksum's line, from all bytes but its own.
fn checksum(file: &[u8]) -> String {
    let place = checksum_place();
    let mut crc = Crc::new();
    for part in [&file[..place.start], NO_CHECKSUM.as_bytes(), &file[place.end..]] {
        crc.update(part);
    }
    format!("checksum {:08x}", crc.sum())
}

/// A bound on the length of the header but for the history, generous.
fn longest_list(model: &Model) -> usize {
    4096 + 1024 * model.layers().len()
}

/// A bound on the length of a model's checkpoints: generous for the header, exact for the rest.
fn longest(model: &Model) -> usize {
    let header = longest_list(model) + text::LONGEST_HISTORY;
    (2 * size_of::<f32>()).saturating_mul(model.params().len()).saturating_add(header)
}
