//! A confusion matrix as a map of heat.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::Picture;
use super::paint::{self, Canvas, Drawn, LARGE, MEDIUM, SMALL, fill, mix, write};
use crate::error::Result;
use crate::metrics::ConfusionMatrix;

/// Draws counts by true class, from top to bottom, and predicted class, from left to right; the darker, the larger the
/// share of the true class.
///
/// # Errors
/// If the ending of `path` is none of [`Format`](super::Format), or it cannot be written.
pub fn confusion(matrix: &ConfusionMatrix, path: impl AsRef<Path>) -> Result<()> {
    Heat { matrix }.save(path.as_ref())
}

struct Heat<'a> {
    matrix: &'a ConfusionMatrix,
}

/// Where the matrix begins.
const LEFT: i32 = 90;
const TOP: i32 = 90;

/// Pixels of its sides, at most.
const SIDE: i32 = 600;

/// Where the scale begins, and its width.
const SCALE: i32 = LEFT + SIDE + 20;
const SCALE_WIDTH: i32 = 20;

/// The darkest blue.
const DARK: RGBColor = RGBColor(8, 48, 107);

impl Picture for Heat<'_> {
    fn height(&self) -> u32 {
        (TOP + SIDE + 20) as u32
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let title = format!("{:.2} % of {} samples right", 100.0 * self.matrix.accuracy(), self.matrix.samples());
        write(canvas, &title, (LEFT + SIDE / 2, 20), &paint::centred(LARGE, BLACK))?;
        self.draw_labels(canvas)?;
        let numbered = self.has_room_for_numbers();
        for truth in 0..self.matrix.classes() {
            self.draw_row(canvas, truth, numbered)?;
        }
        let frame = Rectangle::new([(LEFT, TOP), (LEFT + SIDE, TOP + SIDE)], paint::GREY);
        canvas.draw(&frame)?;
        draw_scale(canvas)
    }
}

impl Heat<'_> {
    /// Where a class begins, from the edge of the matrix.
    fn at(&self, class: usize) -> i32 {
        (class * SIDE as usize / self.matrix.classes()) as i32
    }

    fn middle(&self, class: usize) -> i32 {
        (self.at(class) + self.at(class + 1)) / 2
    }

    fn cell(&self) -> i32 {
        SIDE / self.matrix.classes() as i32
    }

    /// Whether the longest number fits its cell: else there are none, since those missing would pass for zeros.
    fn has_room_for_numbers(&self) -> bool {
        let largest = (0..self.matrix.classes()).flat_map(|truth| self.matrix.row(truth)).max();
        largest.is_none_or(|count| count.to_string().len() as i32 * SMALL as i32 * 2 / 3 <= self.cell())
    }

    fn draw_labels<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let medium = paint::centred(MEDIUM, BLACK);
        write(canvas, "predicted class", (LEFT + SIDE / 2, TOP - 40), &medium)?;
        write(canvas, "true class", (LEFT - 60, TOP + SIDE / 2), &medium.transform(FontTransform::Rotate270))?;
        let every = (2 * SMALL).div_ceil(self.cell().max(1) as u32) as usize;
        for class in (0..self.matrix.classes()).step_by(every) {
            let name = class.to_string();
            write(canvas, &name, (LEFT + self.middle(class), TOP - 14), &paint::centred(SMALL, BLACK))?;
            write(canvas, &name, (LEFT - 8, TOP + self.middle(class)), &paint::anchored(SMALL, HPos::Right))?;
        }
        Ok(())
    }

    fn draw_row<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, truth: usize, numbered: bool) -> Drawn<DB> {
        let row = self.matrix.row(truth);
        let samples = row.iter().sum::<usize>().max(1) as f64;
        let (top, bottom) = (TOP + self.at(truth), TOP + self.at(truth + 1));
        for (class, &count) in row.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let share = count as f64 / samples;
            fill(canvas, (LEFT + self.at(class), top), (LEFT + self.at(class + 1), bottom), colour(share))?;
            if numbered {
                // Each where it has more contrast than the other.
                let ink = if share > 0.43 { WHITE } else { BLACK };
                let at = (LEFT + self.middle(class), TOP + self.middle(truth));
                write(canvas, &count.to_string(), at, &paint::centred(SMALL, ink))?;
            }
        }
        Ok(())
    }
}

/// Square roots, so that a few mistakes among many samples are seen.
fn colour(share: f64) -> RGBColor {
    mix(WHITE, DARK, share.sqrt())
}

fn draw_scale<DB: DrawingBackend>(canvas: &Canvas<DB>) -> Drawn<DB> {
    let y = |share: f64| TOP + SIDE - (share.sqrt() * f64::from(SIDE)).round() as i32;
    for row in 0..SIDE {
        let share = (f64::from(row) / f64::from(SIDE)).powi(2);
        fill(canvas, (SCALE, TOP + SIDE - row - 1), (SCALE + SCALE_WIDTH, TOP + SIDE - row), colour(share))?;
    }
    let right = SCALE + SCALE_WIDTH;
    for share in [0.0, 0.01, 0.05, 0.2, 0.5, 1.0] {
        canvas.draw(&PathElement::new([(right, y(share)), (right + 5, y(share))], BLACK))?;
        let text = format!("{:.0} %", 100.0 * share);
        write(canvas, &text, (right + 10, y(share)), &paint::anchored(SMALL, HPos::Left))?;
    }
    let small = paint::centred(SMALL, BLACK);
    write(canvas, "of the class", (SCALE + 30, TOP - 18), &small)
}
