//! A fit that shows how far it has come.

use std::error::Error;
use std::fmt::Write;
use std::ops::ControlFlow;

use convlane::checkpoint::Position;
use convlane::io::checkpoint;
use convlane::prelude::*;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::choices::Choices;
use crate::interrupt;
use crate::options::Options;
use crate::shared::screen::Screen;

/// Trains epoch by epoch, with a checkpoint after each, a progress bar, if standard error is a terminal, and a line an
/// epoch. Ends with the epoch in which the reader of those lines has left, and with the step in which Ctrl-C came.
pub fn fit(
    trainer: &mut Trainer,
    options: &Options,
    choices: &Choices,
    train: &Dataset,
    test: &Dataset,
    screen: &mut Screen,
) -> Result<(), Box<dyn Error>> {
    let (bar, epochs) = (bar(options, trainer.position(), train.len())?, options.epochs);
    loop {
        let observer = |event| show(event, &bar, epochs, train.len(), screen);
        let next = epochs.min(trainer.position().epochs + 1);
        let fitted = trainer.fit(train, choices.fit(next).validation(test).observer(observer));
        fitted.inspect_err(|_| bar.finish_and_clear())?;
        if let Some(path) = &options.checkpoint {
            checkpoint::save(&trainer.checkpoint()?, path)?;
        }
        if trainer.position().epochs >= epochs || interrupt::came() || screen.is_closed() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Shows an event, and says whether to go on.
fn show(event: Event, bar: &ProgressBar, epochs: usize, images: usize, screen: &mut Screen) -> ControlFlow<()> {
    let stop = match event {
        Event::Batch(Progress { epoch, samples, loss, accuracy, .. }) => {
            bar.set_prefix(format!("epoch {epoch}/{epochs}"));
            bar.set_message(format!("loss {loss:.4}  accuracy {accuracy:.4}"));
            bar.set_position(images_in(epoch - 1, images).saturating_add(samples as u64));
            interrupt::came()
        }
        Event::Epoch(epoch) => {
            bar.suspend(|| screen.say(line(&epoch, epochs)));
            screen.is_closed()
        }
        _ => false,
    };
    if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A bar over the images of all epochs.
fn bar(options: &Options, position: Position, images: usize) -> Result<ProgressBar, Box<dyn Error>> {
    if options.quiet {
        return Ok(ProgressBar::hidden());
    }
    let rate = |state: &ProgressState, text: &mut dyn Write| _ = write!(text, "{:.0} images/s", state.per_sec());
    let style = ProgressStyle::with_template("{prefix}  {wide_bar} {percent:>3} %  {rate}  {eta} left  {msg}")?;
    let done = images_in(position.epochs, images).saturating_add(position.score.samples as u64);
    let bar = ProgressBar::new(images_in(options.epochs, images)).with_style(style.with_key("rate", rate));
    // Images before a checkpoint took none of the time from now on.
    bar.update(|state| state.set_pos(done));
    bar.reset_eta();
    Ok(bar)
}

/// All images of so many epochs; too many to count are as many as can be.
fn images_in(epochs: usize, images: usize) -> u64 {
    (epochs as u64).saturating_mul(images as u64)
}

fn line(epoch: &Epoch, epochs: usize) -> String {
    let Epoch { epoch, loss, accuracy, val_loss, val_accuracy, seconds } = *epoch;
    let [val_loss, val_accuracy] = [val_loss, val_accuracy].map(|value| value.unwrap_or(f64::NAN));
    format!(
        "epoch {epoch}/{epochs}  loss {loss:.4}  accuracy {accuracy:.4}  val_loss {val_loss:.4}  \
         val_accuracy {val_accuracy:.4}  {seconds:.2} s"
    )
}
