//! What the trained network sees, gets right and gets wrong.

use convlane::metrics::{ConfusionMatrix, mistakes};
use convlane::plot;
use convlane::prelude::*;

use crate::options::Options;
use crate::shared::cli::complain;
use crate::shared::screen::Screen;

/// Draws all that was asked for.
pub fn draw(trainer: &mut Trainer, options: &Options, test: &Dataset, screen: &mut Screen) -> convlane::Result<()> {
    if let Some(path) = &options.plot {
        match trainer.history() {
            history if history.epochs.is_empty() => complain("warning: --plot: there was no epoch to draw".into()),
            history => plot::history(history, path)?,
        }
    }
    if let Some(path) = &options.filters {
        plot::filters(trainer.model(), path)?;
    }
    if options.confusion || options.confusion_plot.is_some() || options.mistakes.is_some() {
        draw_answers(&trainer.predict(test.pixels())?, options, test, screen)?;
    }
    Ok(())
}

fn draw_answers(outputs: &[f32], options: &Options, test: &Dataset, screen: &mut Screen) -> convlane::Result<()> {
    let matrix = ConfusionMatrix::new(test.labels(), outputs)?;
    if options.confusion {
        screen.print(&matrix);
    }
    if let Some(path) = &options.confusion_plot {
        plot::confusion(&matrix, path)?;
    }
    if let Some(path) = &options.mistakes {
        plot::mistakes(test, &mistakes(test.labels(), outputs)?, path)?;
    }
    Ok(())
}
