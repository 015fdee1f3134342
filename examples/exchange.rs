//! Takes weights of LeNet-5 from the layout of one framework to another's, and shows what the net makes of MNIST.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Parser, ValueEnum};
use convlane::io::atomic;
use convlane::io::safetensors::{self, Format};
use convlane::prelude::*;
use networks::networks;

#[allow(dead_code)]
#[path = "shared/cli.rs"]
mod cli;
#[path = "../benches/networks/mod.rs"]
#[allow(dead_code)]
mod networks;

/// Converts weights of LeNet-5, and writes the logits that they give the MNIST test images.
#[derive(Parser)]
#[command(group = ArgGroup::new("output").required(true).multiple(true).args(["save", "logits"]))]
struct Options {
    /// The weights
    #[arg(value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Names and layout of the weights
    #[arg(long, default_value = "keras")]
    from: Layout,
    /// Names and layout of what --save writes
    #[arg(long, default_value = "keras", requires = "save")]
    to: Layout,
    /// Writes the weights
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
    /// Writes the logits, image by image, as little-endian f32
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    Keras,
    Pytorch,
}

impl From<Layout> for Format {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Keras => Format::keras(),
            Layout::Pytorch => Format::pytorch(),
        }
    }
}

fn main() -> ExitCode {
    cli::run(|options| run(options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut model = without_softmax()?;
    safetensors::load_as(&mut model, &options.weights, &options.from.into())?;
    if let Some(path) = &options.save {
        safetensors::save_as(&model, path, &options.to.into())?;
    }
    if let Some(path) = &options.logits {
        let (_, test) = mnist::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mnist"))?;
        let logits = Trainer::new(model, Sgd::new(0.0), TrainConfig::default())?.predict(test.pixels())?;
        let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        atomic::write(path, &bytes)?;
    }
    Ok(())
}

/// LeNet-5, of which the last layer gives logits.
fn without_softmax() -> convlane::Result<Model> {
    let [mut lenet5, ..] = networks();
    if let Some(Layer::Dense(last)) = lenet5.layers.last_mut() {
        last.activation = Activation::Linear;
    }
    let layers = Sequential::new(lenet5.input);
    lenet5.layers.into_iter().fold(layers, Sequential::layer).build(Seed(0))
}
