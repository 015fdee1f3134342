//! The flags.

use std::path::{Path, PathBuf};

use clap::Parser;
#[cfg(feature = "download")]
use convlane::data::download::Source;
use convlane::plot::Format;
use convlane::prelude::*;

#[cfg(feature = "download")]
use crate::fetch::source;
use crate::names::{algorithm, engine, level};
use crate::shared::cli::at_least_one;

/// Trains LeNet-5 on MNIST and prints loss and accuracy.
#[derive(Parser)]
pub struct Options {
    /// Directory of four files named as MNIST's, plain or gz [default: the bundled MNIST]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Fetches mnist or fashion-mnist, unless it was fetched before [default: mnist]
    #[cfg(feature = "download")]
    #[arg(long, value_name = "NAME", value_parser = source, num_args = 0..=1, default_missing_value = "mnist",
          conflicts_with = "data")]
    pub download: Option<Source>,
    /// Classes to tell apart [default: as many as the labels need]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub classes: Option<usize>,
    /// Passes over the training images, those before a checkpoint included
    #[arg(long, default_value_t = 5)]
    pub epochs: usize,
    /// Images a training step [default: 256, or the checkpoint's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub batch_size: Option<usize>,
    /// Step length of the gradient descent [default: 0.05, or the checkpoint's]
    #[arg(long, value_name = "X", value_parser = step_length)]
    pub learning_rate: Option<f64>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Seed of the first weights and of the order of the images [default: 42, or the checkpoint's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Whether the images are visited in another order each epoch [default: true, or the checkpoint's]
    #[arg(long, value_name = "true|false")]
    pub shuffle: Option<bool>,
    /// How the network is computed: auto, nhwc or lanes [default: auto, or the checkpoint's]
    #[arg(long, value_parser = engine)]
    pub engine: Option<Engine>,
    /// How convolutions in lanes are computed: auto, direct or fast [default: auto, or the checkpoint's]
    #[arg(long, value_parser = algorithm)]
    pub algorithm: Option<Algorithm>,
    /// Vector instructions: scalar, avx2 or avx512 [default: the widest of this CPU, or the checkpoint's]
    #[arg(long, value_parser = level)]
    pub level: Option<Level>,
    /// Writes loss and accuracy of every epoch
    #[arg(long, value_name = "FILE.json")]
    pub history: Option<PathBuf>,
    /// Starts from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub weights: Option<PathBuf>,
    /// Writes all that is needed to go on, after every epoch and at Ctrl-C
    #[arg(long, value_name = "FILE.safetensors")]
    pub checkpoint: Option<PathBuf>,
    /// Goes on from a checkpoint, up to --epochs in all
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "weights")]
    pub resume: Option<PathBuf>,
    /// Writes the trained weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub save: Option<PathBuf>,
    /// Draws loss and accuracy of every epoch
    #[arg(long, value_name = "FILE.svg|png", value_parser = picture)]
    pub plot: Option<PathBuf>,
    /// Prints how often test images of a class were taken for another
    #[arg(long)]
    pub confusion: bool,
    /// Draws what --confusion prints
    #[arg(long, value_name = "FILE.svg|png", value_parser = picture)]
    pub confusion_plot: Option<PathBuf>,
    /// Draws the test images that were mistaken with most confidence
    #[arg(long, value_name = "FILE.svg|png", value_parser = picture)]
    pub mistakes: Option<PathBuf>,
    /// Draws the filters of the first convolution
    #[arg(long, value_name = "FILE.svg|png", value_parser = picture)]
    pub filters: Option<PathBuf>,
    /// Prints the results alone
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// The files that are written.
    pub fn outputs(&self) -> impl Iterator<Item = &Path> {
        let Options { history, checkpoint, save, plot, confusion_plot, mistakes, filters, .. } = self;
        [history, checkpoint, save, plot, confusion_plot, mistakes, filters].into_iter().flatten().map(PathBuf::as_path)
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        threads if threads > Threads::MAX => Err(format!("at most {}, got {threads}", Threads::MAX)),
        threads => Ok(threads),
    }
}

fn step_length(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate >= 0.0 && (rate as f32).is_finite() => Ok(rate),
        Ok(rate) => Err(format!("must be finite and at least 0, got {rate}")),
        Err(error) => Err(error.to_string()),
    }
}

fn picture(path: &str) -> Result<PathBuf, String> {
    match Format::of(path) {
        Ok(_) => Ok(path.into()),
        Err(_) => Err("expected a name that ends in .svg or .png".into()),
    }
}
