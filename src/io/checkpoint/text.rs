//! The metadata of a checkpoint: lines of a name and a value, always in the same order.

use std::str::FromStr;

use crate::checkpoint::{Checkpoint, Position, Recipe};
use crate::model::Model;
use crate::optim::Sgd;
use crate::plan::{Algorithm, Engine, Score};
use crate::rng::Seed;

/// The kind of file that this is, and its version.
const FORMAT: (&str, &str) = ("format", "convlane-1");

/// The lines that [`read`] takes apart.
pub(super) fn write(checkpoint: &Checkpoint) -> String {
    let Position { epochs, steps, score: Score { loss_sum, correct, samples } } = checkpoint.position;
    let position = [
        ("epochs", epochs.to_string()),
        ("steps", steps.to_string()),
        ("loss_sum", loss_sum.to_string()),
        ("correct", correct.to_string()),
        ("samples", samples.to_string()),
    ];
    let layers = architecture(&checkpoint.model);
    let head = [(FORMAT.0, FORMAT.1.to_owned()), ("layers", (layers.len() - 1).to_string())];
    let rows = head.into_iter().chain(layers).chain(position).chain(checkpoint.recipe.rows());
    rows.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("\n")
}

/// Input and layers.
fn architecture(model: &Model) -> Vec<(&'static str, String)> {
    let layers = model.layers().iter().map(|layer| ("layer", layer.layer.settings()));
    [("input", model.input().to_string())].into_iter().chain(layers).collect()
}

/// Recipe and position of a checkpoint of `model`; the error names the first layer that is not the model's.
pub(super) fn read<'a>(model: &Model, lines: impl Iterator<Item = &'a str>) -> Result<(Recipe, Position), String> {
    let mut lines = Lines(lines);
    let format = lines.text(FORMAT.0)?;
    if format != FORMAT.1 {
        return Err(format!("has format {format}, expected {}", FORMAT.1));
    }
    compare(model, &mut lines)?;
    let (epochs, steps) = (lines.value("epochs")?, lines.value("steps")?);
    let (loss_sum, correct, samples) = (lines.value("loss_sum")?, lines.value("correct")?, lines.value("samples")?);
    let [learning_rate, momentum] = [lines.value("learning_rate")?, lines.value("momentum")?];
    let sgd = Sgd { learning_rate, momentum, nesterov: lines.value("nesterov")? };
    let batch_size = lines.value("batch_size")?;
    let shuffle = match lines.text("shuffle")? {
        "none" => None,
        seed => Some(Seed(parse("shuffle", seed)?)),
    };
    let engine = match lines.text("engine")? {
        "nhwc" => Engine::Nhwc,
        "lanes" => Engine::Lanes,
        other => return Err(format!("engine is {other}, expected nhwc or lanes")),
    };
    let algorithm = match lines.text("algorithm")? {
        "auto" => Algorithm::Auto,
        "direct" => Algorithm::Direct,
        "fast" => Algorithm::Fast,
        other => return Err(format!("algorithm is {other}, expected auto, direct or fast")),
    };
    let level = lines.text("level")?.to_owned();
    let position = Position { epochs, steps, score: Score { loss_sum, correct, samples } };
    Ok((Recipe { sgd, batch_size, shuffle, engine, algorithm, level }, position))
}

/// Holds the layers of the file to those of the model.
fn compare<'a>(model: &Model, lines: &mut Lines<impl Iterator<Item = &'a str>>) -> Result<(), String> {
    let theirs: usize = lines.value("layers")?;
    let input = lines.text("input")?;
    if input != model.input().to_string() {
        return Err(format!("has samples of {input}, the model {}", model.input()));
    }
    for (index, layer) in model.layers().iter().enumerate() {
        let ours = layer.layer.settings();
        let their = if index < theirs { lines.text("layer")? } else { "none" };
        if their != ours {
            return Err(format!("layer {index} ({}) is {their}, in the model {ours}", layer.name));
        }
    }
    let count = model.layers().len();
    if theirs > count {
        return Err(format!("layer {count} is {}, in the model none", lines.text("layer")?));
    }
    Ok(())
}

struct Lines<I>(I);

impl<'a, I: Iterator<Item = &'a str>> Lines<I> {
    /// The value of the next line, which must be that of `name`.
    fn text(&mut self, name: &str) -> Result<&'a str, String> {
        let line = self.0.next().unwrap_or("nothing");
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| format!("has {line:?} in the place of {name}"))
    }

    fn value<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        parse(name, self.text(name)?)
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} is {text:?}, which is no such value"))
}
