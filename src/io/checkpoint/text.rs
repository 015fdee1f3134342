//! The metadata of a checkpoint: lines of a name and a value, always in the same order.

use std::str::FromStr;

use crate::checkpoint::{Checkpoint, Position, Recipe};
use crate::history::{Epoch, History};
use crate::model::Model;
use crate::optim::Sgd;
use crate::plan::{Algorithm, Engine, Score};
use crate::rng::Seed;

/// The kind of file that this is, and its version.
const FORMAT: (&str, &str) = ("format", "convlane-2");

/// Of how many epochs the file knows loss and accuracy, the last ones.
const EPOCHS: usize = 10_000;

/// A bound on the bytes of a line; errors show them.
const LONGEST_LINE: usize = 1024;

/// A bound on the bytes that those take: `f64` as text is long where it is far from 1.
pub(super) const LONGEST_HISTORY: usize = 256 * EPOCHS;

/// What the lines say besides the architecture.
pub(super) struct Text {
    pub seed: Seed,
    pub recipe: Recipe,
    pub position: Position,
    pub history: History,
}

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
    let seed = [("seed", checkpoint.model.seed().0.to_string())];
    let rows = head.into_iter().chain(layers).chain(seed).chain(position).chain(checkpoint.recipe.rows());
    let rows = rows.chain(history(&checkpoint.history));
    rows.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("\n")
}

/// The number of epochs, and the results of each.
fn history(history: &History) -> impl Iterator<Item = (&'static str, String)> {
    let epochs = &history.epochs[history.epochs.len().saturating_sub(EPOCHS)..];
    let results = |epoch: &Epoch| {
        let Epoch { loss, accuracy, val_loss, val_accuracy, .. } = *epoch;
        let results = [Some(loss), Some(accuracy), val_loss, val_accuracy];
        results.map(|result| result.map_or("none".into(), |result| format!("{result:e}"))).join(" ")
    };
    let rows = epochs.iter().map(move |epoch| ("epoch", results(epoch)));
    [("history", epochs.len().to_string())].into_iter().chain(rows)
}

/// Input and layers.
fn architecture(model: &Model) -> Vec<(&'static str, String)> {
    let layers = model.layers().iter().map(|layer| ("layer", layer.layer.settings()));
    [("input", model.input().to_string())].into_iter().chain(layers).collect()
}

/// What the lines say of a checkpoint of `model`; the error names the first layer that is not the model's.
pub(super) fn read<'a>(model: &Model, lines: impl Iterator<Item = &'a str>) -> Result<Text, String> {
    let mut lines = Lines(lines);
    let format = lines.text(FORMAT.0)?;
    if format != FORMAT.1 {
        return Err(format!("has format {format}, expected {}", FORMAT.1));
    }
    compare(model, &mut lines)?;
    let seed = Seed(lines.value("seed")?);
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
    let samples = lines.value("samples")?;
    let crc32 = lines.text("samples_crc32")?;
    let samples_crc32 = u32::from_str_radix(crc32, 16).map_err(|_| no_value("samples_crc32", crc32))?;
    let recipe = Recipe { sgd, batch_size, shuffle, engine, algorithm, level, samples, samples_crc32 };
    let history = read_history(epochs, &mut lines)?;
    Ok(Text { seed, recipe, position, history })
}

/// The results of the last of so many epochs.
fn read_history<'a>(completed: usize, lines: &mut Lines<impl Iterator<Item = &'a str>>) -> Result<History, String> {
    let known: usize = lines.value("history")?;
    if known > EPOCHS {
        return Err(format!("has results of {known} epochs, the most is {EPOCHS}"));
    }
    let before = completed.checked_sub(known).ok_or_else(|| format!("has results of {known} epochs of {completed}"))?;
    let epochs = (before..completed).map(|before| {
        let text = lines.text("epoch")?;
        let result = |text: &str| if text == "none" { Ok(None) } else { parse("epoch", text).map(Some) };
        let results: Vec<Option<f64>> = text.split(' ').map(result).collect::<Result<_, _>>()?;
        let [Some(loss), Some(accuracy), val_loss, val_accuracy] = results[..] else {
            return Err(no_value("epoch", text));
        };
        Ok(Epoch { epoch: before + 1, loss, accuracy, val_loss, val_accuracy, seconds: 0.0 })
    });
    Ok(History { epochs: epochs.collect::<Result<_, _>>()? })
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
        if line.len() > LONGEST_LINE {
            return Err(format!("has {} bytes in the place of {name}", line.len()));
        }
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| format!("has {line:?} in the place of {name}"))
    }

    fn value<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        parse(name, self.text(name)?)
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| no_value(name, text))
}

fn no_value(name: &str, text: &str) -> String {
    format!("{name} is {text:?}, which is no such value")
}
