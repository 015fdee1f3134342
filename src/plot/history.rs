//! Loss and accuracy over the epochs, side by side.

use std::ops::Range;
use std::path::Path;

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::prelude::*;

use super::Picture;
use super::paint::{self, BLUE, Canvas, Drawn, MEDIUM, SMALL, VERMILION};
use crate::error::{Error, Result};
use crate::history::{Epoch, History};

/// Draws loss and accuracy of a fit, training and validation, over its epochs.
///
/// # Errors
/// If there is no epoch with a finite loss, the ending of `path` is none of [`Format`](super::Format), or it cannot be
/// written.
pub fn history(history: &History, path: impl AsRef<Path>) -> Result<()> {
    let finite = |epoch: &&Epoch| epoch.loss.is_finite() && epoch.accuracy.is_finite();
    let epochs: Vec<Epoch> = history.epochs.iter().filter(finite).copied().collect();
    if epochs.is_empty() {
        return Err(Error::Zero { what: "number of epochs to draw" });
    }
    Curves { epochs }.save(path.as_ref())
}

struct Curves {
    epochs: Vec<Epoch>,
}

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
        let loss = [self.points(|epoch| Some(epoch.loss)), self.points(|epoch| epoch.val_loss)];
        let most = values(&loss).fold(0.0, f64::max);
        let most = if most > 0.0 { 1.05 * most } else { 1.0 };
        self.panel(left, "Loss", "mean cross-entropy (nats)", 0.0..most, SeriesLabelPosition::UpperRight, &loss)?;

        let percent = |share: f64| 100.0 * share;
        let accuracy =
            [self.points(|epoch| Some(percent(epoch.accuracy))), self.points(|epoch| epoch.val_accuracy.map(percent))];
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
    fn points(&self, value: impl Fn(&Epoch) -> Option<f64>) -> Points {
        let point = |epoch: &Epoch| Some((epoch.epoch as i64, value(epoch).filter(|value| value.is_finite())?));
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
        let [first, last] = [0, self.epochs.len() - 1].map(|at| self.epochs[at].epoch as i64);
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
