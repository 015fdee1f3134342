//! Trains LeNet-5 on MNIST, as the Keras tutorial does, or on other images in files like those of MNIST.

mod choices;
mod data;
#[cfg(feature = "download")]
mod fetch;
mod interrupt;
#[path = "../shared/names.rs"]
mod names;
mod options;
mod pictures;
mod progress;
mod report;
#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::process::ExitCode;

use choices::Choices;
use convlane::io::{atomic, checkpoint, safetensors};
use convlane::prelude::*;
use options::Options;
use shared::cli::complain;
use shared::net::lenet5;
use shared::screen::Screen;

fn main() -> ExitCode {
    shared::cli::run(run)
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    options.outputs().try_for_each(atomic::check)?;
    let (train, test) = data::load(options)?;
    let mut screen = Screen::new(options.quiet);

    let mut model = lenet5(train.shape(), train.classes()).build(Seed(options.seed.unwrap_or(choices::SEED)))?;
    screen.say(model.summary());
    if let Some(weights) = &options.weights {
        safetensors::load(&mut model, weights)?;
    }

    let checkpoint = options.resume.as_ref().map(|path| checkpoint::load(&model, path)).transpose()?;
    let choices = Choices::new(options, checkpoint.as_ref());
    let saved = checkpoint.as_ref().map(|checkpoint| checkpoint.recipe.clone());
    let threads = options.threads.map_or(Threads::Current, Threads::Own);
    let config = TrainConfig { threads, plan: choices.plan.clone() };
    let rate = choices.learning_rate as f32;
    let mut trainer = match checkpoint {
        Some(mut checkpoint) => {
            checkpoint.recipe.sgd.learning_rate = rate;
            Trainer::resume(checkpoint, config)?
        }
        None => Trainer::new(model, Sgd::new(rate), config)?,
    };
    if let Some(saved) = saved {
        let now = trainer.recipe(&train, &choices.fit(options.epochs))?;
        saved.differences(&now).iter().for_each(|difference| complain(format!("warning: {difference}")));
    }
    let plan = trainer.plan(choices.batch_size.min(train.len()))?;
    screen.say(&plan);

    interrupt::listen()?;
    progress::fit(&mut trainer, options, &choices, &train, &test, &mut screen)?;
    if let Some(path) = &options.history {
        report::save(path, &report::report(&trainer, &plan, options, &choices))?;
    }
    let position = trainer.position();
    if interrupt::came() && position.epochs < options.epochs {
        complain(format!("interrupted after step {} of epoch {}", position.steps, position.epochs + 1));
        return Ok(interrupt::EXIT.into());
    }

    let score = trainer.evaluate(&test)?;
    screen.print(format_args!("test loss {:.4}  test accuracy {:.4}", score.loss(), score.accuracy()));

    if let Some(path) = &options.save {
        safetensors::save(trainer.model(), path)?;
    }
    pictures::draw(&mut trainer, options, &test, &mut screen)?;
    screen.close()?;
    Ok(ExitCode::SUCCESS)
}
