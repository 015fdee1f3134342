//! Says which digits pictures show, by the weights that the example `lenet5` saved.

mod centre;
mod picture;
#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use convlane::io::safetensors;
use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use shared::cli::{self, at_least_one};
use shared::net::lenet5;
use shared::screen::Screen;

/// Says which digits pictures show: a line a picture with its class and the confidence in it.
///
/// Pictures are PNG or JPEG of any size, in colour or grey, dark on light or light on dark. Those that cannot be used are a
/// line on standard error each, and make the exit code 1.
#[derive(Parser)]
struct Options {
    /// Weights that `lenet5 --save` has written
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Classes that the weights tell apart
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = at_least_one)]
    classes: usize,
    /// Pictures, and folders of them
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
}

fn main() -> ExitCode {
    cli::run(run)
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut model = lenet5(Shape::hwc(centre::FIELD, centre::FIELD, 1), options.classes).build(Seed(0))?;
    safetensors::load(&mut model, &options.weights)?;
    let mut predictor = Predictor::new(model)?;
    let (mut screen, mut code) = (Screen::new(false), ExitCode::SUCCESS);
    for path in options.pictures.iter().flat_map(|path| picture::files(path)) {
        match path.and_then(|path| Ok((classify(&mut predictor, &path)?, path))) {
            Ok(((class, confidence), path)) => {
                screen.say(format_args!("{}: {class} ({:.1} %)", path.display(), 100.0 * confidence));
            }
            Err(error) => {
                cli::complain(format!("error: {error}"));
                code = ExitCode::FAILURE;
            }
        }
        if screen.is_closed() {
            break;
        }
    }
    screen.close()?;
    Ok(code)
}

fn classify(predictor: &mut Predictor, path: &Path) -> Result<(usize, f32), String> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let ink = picture::read_ink(path).map_err(named)?;
    let digit = centre::as_mnist(&ink).map_err(|problem| named(problem.into()))?;
    let pixels = Pixels::U8 { values: digit.as_raw(), scale: 1.0 / 255.0 };
    predictor.classify(pixels).map_err(|error| error.to_string())
}
