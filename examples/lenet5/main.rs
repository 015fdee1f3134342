//! Trains LeNet-5 on MNIST, as the Keras tutorial does, or on other images in files like those of MNIST.

mod data;
mod options;
mod pictures;
mod progress;
mod report;
#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::process::ExitCode;

use convlane::io::safetensors;
use convlane::prelude::*;
use options::Options;
use shared::net::lenet5;
use shared::screen::Screen;

fn main() -> ExitCode {
    shared::cli::run(run)
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    options.outputs().try_for_each(report::check_writable)?;
    let (train, test) = data::load(options)?;
    let mut screen = Screen::new(options.quiet);

    let mut model = lenet5(train.shape(), train.classes()).build(Seed(options.seed))?;
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
    screen.close()?;
    Ok(ExitCode::SUCCESS)
}
