//! A fit that shows how far it has come.

use std::error::Error;
use std::fmt::Write;
use std::ops::ControlFlow;

use convlane::prelude::*;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::options::Options;
use crate::shared::screen::Screen;

/// Trains with a progress bar, if standard error is a terminal, and prints a line an epoch. Ends with the epoch in which
/// the reader of those lines has left.
pub fn fit(
    trainer: &mut Trainer,
    options: &Options,
    train: &Dataset,
    test: &Dataset,
    screen: &mut Screen,
) -> Result<History, Box<dyn Error>> {
    let (bar, epochs) = (bar(options, train.len())?, options.epochs);
    let observer = |event| {
        match event {
            Event::Batch(Progress { epoch, samples, loss, accuracy, .. }) => {
                bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                bar.set_message(format!("loss {loss:.4}  accuracy {accuracy:.4}"));
                bar.set_position(((epoch - 1) * train.len() + samples) as u64);
            }
            Event::Epoch(epoch) => {
                bar.suspend(|| screen.say(line(&epoch, epochs)));
                if screen.is_closed() {
                    return ControlFlow::Break(());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let fit = Fit::epochs(epochs).batch_size(options.batch_size).validation(test).observer(observer);
    let fit = if options.shuffle { fit.shuffle(Seed(options.seed)) } else { fit.in_order() };
    let history = trainer.fit(train, fit);
    bar.finish_and_clear();
    Ok(history?)
}

/// A bar over the images of all epochs.
fn bar(options: &Options, images: usize) -> Result<ProgressBar, Box<dyn Error>> {
    if options.quiet {
        return Ok(ProgressBar::hidden());
    }
    let rate = |state: &ProgressState, text: &mut dyn Write| _ = write!(text, "{:.0} images/s", state.per_sec());
    let style = ProgressStyle::with_template("{prefix}  {wide_bar} {percent:>3} %  {rate}  {eta} left  {msg}")?;
    Ok(ProgressBar::new((options.epochs * images) as u64).with_style(style.with_key("rate", rate)))
}

fn line(epoch: &Epoch, epochs: usize) -> String {
    let Epoch { epoch, loss, accuracy, val_loss, val_accuracy, seconds } = *epoch;
    let [val_loss, val_accuracy] = [val_loss, val_accuracy].map(|value| value.unwrap_or(f64::NAN));
    format!(
        "epoch {epoch}/{epochs}  loss {loss:.4}  accuracy {accuracy:.4}  val_loss {val_loss:.4}  \
         val_accuracy {val_accuracy:.4}  {seconds:.2} s"
    )
}
