//! Loss and accuracy over the epochs, side by side.

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::prelude::*;

use super::Picture;
use super::paint::{self, BLUE, Canvas, Drawn, MEDIUM, SMALL, VERMILION};
use crate::checkpoint::Position;
use crate::error::{Error, Result};
use crate::history::{Epoch, History};

/// Draws loss and accuracy of a fit, training and validation, over its epochs. Left out are epochs past
/// [`Position::MAX_EPOCHS`], losses that are not 0 to 1e30, and accuracies that are not 0 to 1.
///
/// # Errors
/// If there is no epoch to draw, the ending of `path` is none of [`Format`](super::Format), or it cannot be
/// written.
pub fn history(history: &History, path: impl AsRef<Path>) -> Result<()> {
    let drawn = |epoch: &&Epoch| {
        LOSSES.contains(&epoch.loss) && SHARES.contains(&epoch.accuracy) && epoch.epoch <= Position::MAX_EPOCHS
    };
    let epochs: Vec<Epoch> = history.epochs.iter().filter(drawn).copied().collect();
    if epochs.is_empty() {
        return Err(Error::Zero { what: "number of epochs to draw" });
    }
    Curves { epochs }.save(path.as_ref())
}

struct Curves {
    epochs: Vec<Epoch>,
}

/// What can be drawn; beyond, the arithmetic of axes overflows.
const LOSSES: RangeInclusive<f64> = 0.0..=1e30;
const SHARES: RangeInclusive<f64> = 0.0..=1.0;

/// Points of epoch and value.
type Points = Vec<(i64, f64)>;

/// Up to so many epochs, each point is marked.
const MARKED: usize = 30;

impl Picture for Curves {
    fn height(&self) -> u32 {
        400
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let [left, right] = &canvas.split_evenly((1, 2))[..] else { unreachable!("two panels") };
        let loss = [self.points(LOSSES, |epoch| Some(epoch.loss)), self.points(LOSSES, |epoch| epoch.val_loss)];
        let most = values(&loss).fold(0.0, f64::max);
        let most = if most > 0.0 { 1.05 * most } else { 1.0 };
        self.panel(left, "Loss", "mean cross-entropy (nats)", 0.0..most, SeriesLabelPosition::UpperRight, &loss)?;

        let shares =
            [self.points(SHARES, |epoch| Some(epoch.accuracy)), self.points(SHARES, |epoch| epoch.val_accuracy)];
        let accuracy = shares.map(|points| points.into_iter().map(|(epoch, share)| (epoch, 100.0 * share)).collect());
        let least = values(&accuracy).fold(95.0, f64::min);
        let range = (least / 5.0).floor() * 5.0..100.0;
        self.panel(
            right,
            "Accuracy",
            "samples classified rightly (%)",
            range,
            SeriesLabelPosition::LowerRight,
            &accuracy,
        )
    }
}

impl Curves {
    fn points(&self, drawn: RangeInclusive<f64>, value: impl Fn(&Epoch) -> Option<f64>) -> Points {
        let point = |epoch: &Epoch| Some((epoch.epoch as i64, value(epoch).filter(|value| drawn.contains(value))?));
        self.epochs.iter().filter_map(point).collect()
    }

    fn panel<DB: DrawingBackend>(
        &self,
        area: &Canvas<DB>,
        title: &str,
        unit: &str,
        values: Range<f64>,
        legend: SeriesLabelPosition,
        curves: &[Points; 2],
    ) -> Drawn<DB> {
        let epochs = || self.epochs.iter().map(|epoch| epoch.epoch as i64);
        let (first, last) = (epochs().min().unwrap_or(0), epochs().max().unwrap_or(0));
        let mut chart = ChartBuilder::on(area)
            .caption(title, paint::plain(paint::LARGE))
            .margin(10)
            .margin_right(20)
            .x_label_area_size(45)
            .y_label_area_size(65)
            .build_cartesian_2d(first - 1..last + 1, values)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("epoch")
            .y_desc(unit)
            .label_style(paint::plain(SMALL))
            .axis_desc_style(paint::plain(MEDIUM))
            .draw()?;
        for (points, name, colour) in [(&curves[0], "training", BLUE), (&curves[1], "validation", VERMILION)] {
            if points.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
            if self.epochs.len() <= MARKED {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
            }
        }
        chart
            .configure_series_labels()
            .position(legend)
            .label_font(paint::plain(SMALL))
            .background_style(WHITE.mix(0.8))
            .border_style(paint::GREY)
            .draw()
    }
}

fn values(curves: &[Points; 2]) -> impl Iterator<Item = f64> {
    curves.iter().flatten().map(|&(_, value)| value)
}
