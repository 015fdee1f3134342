//! Trains LeNet-5 on MNIST, as the Keras tutorial does, or on other images in files like those of MNIST.

mod data;
mod net;
mod options;
mod pictures;
mod progress;
mod report;
mod screen;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use convlane::io::safetensors;
use convlane::prelude::*;
use options::Options;
use screen::Screen;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            return fail(lines.collect::<Vec<_>>().join(" "), 2);
        }
        Err(help) => help.exit(),
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("error: {error}"), 1),
    }
}

/// Says what is wrong to whoever still listens.
fn fail(message: String, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.outputs().try_for_each(|path| report::check_writable(path))?;
    let (train, test) = data::load(options)?;
    let mut screen = Screen::new(options.quiet);

    let mut model = net::lenet5(train.shape(), train.classes()).build(Seed(options.seed))?;
    screen.say(model.summary());
    if let Some(weights) = &options.weights {
        safetensors::load(&mut model, weights)?;
    }

    let config = TrainConfig {
        threads: options.threads.map_or(Threads::Current, Threads::Own),
        plan: PlanOptions {
            engine: options.engine.into(),
            level: options.level.unwrap_or_default(),
            ..Default::default()
        },
    };
    let mut trainer = Trainer::new(model, Sgd::new(options.learning_rate as f32), config)?;
    let plan = trainer.plan(options.batch_size.min(train.len()))?;
    screen.say(&plan);

    let history = progress::fit(&mut trainer, options, &train, &test, &mut screen)?;
    let score = trainer.evaluate(&test)?;
    screen.print(format_args!("test loss {:.4}  test accuracy {:.4}", score.loss(), score.accuracy()));

    if let Some(path) = &options.save {
        safetensors::save(trainer.model(), path)?;
    }
    if let Some(path) = &options.history {
        report::save(path, &report::report(&trainer, &plan, options, &history))?;
    }
    pictures::draw(&mut trainer, options, &test, &history, &mut screen)?;
    Ok(screen.close()?)
}
