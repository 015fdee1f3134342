//! A sheet of images that were taken for another class than theirs.

use std::path::Path;

use plotters::prelude::*;

use super::paint::{self, Canvas, Drawn, LARGE, SMALL, raster, sides, write};
use super::{Picture, WIDTH};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernels::cast::Pixels;
use crate::metrics::Mistake;
use crate::shape::Shape;

/// Draws the first 20 of `mistakes` in `samples`, each with its class, the class it was taken for and the output of that
/// class.
///
/// # Errors
/// If the samples are no images or have no such sample, the ending of `path` is none of [`Format`](super::Format), or it
/// cannot be written.
pub fn mistakes(samples: &Dataset, mistakes: &[Mistake], path: impl AsRef<Path>) -> Result<()> {
    let shape = samples.shape();
    let Shape::Image { h, w, c } = shape else {
        return Err(Error::Rank { expected: "images", got: shape.to_string() });
    };
    if let Some(mistake) = mistakes.iter().find(|mistake| mistake.sample >= samples.len()) {
        return Err(Error::Mismatch { what: "sample below", expected: samples.len(), got: mistake.sample });
    }
    Sheet { samples, mistakes, h, w, c }.save(path.as_ref())
}

struct Sheet<'a> {
    samples: &'a Dataset,
    mistakes: &'a [Mistake],
    h: usize,
    w: usize,
    c: usize,
}

const COLUMNS: usize = 5;
const MOST: usize = 20;

/// Pixels around an image's place.
const CELL: (i32, i32) = (WIDTH as i32 / COLUMNS as i32, 166);

/// Pixels of an image's longer side.
const SIDE: usize = 112;

/// Where the first row begins.
const TOP: i32 = 45;

impl Picture for Sheet<'_> {
    fn height(&self) -> u32 {
        let rows = self.mistakes.len().min(MOST).div_ceil(COLUMNS) as i32;
        (TOP + rows * CELL.1) as u32
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let (shown, all) = (self.mistakes.len().min(MOST), self.mistakes.len());
        let title = format!("{shown} surest of {all} mistakes among {} images", self.samples.len());
        write(canvas, &title, (WIDTH as i32 / 2, TOP / 2), &paint::centred(LARGE, BLACK))?;
        for (at, mistake) in self.mistakes.iter().take(MOST).enumerate() {
            let corner = ((at % COLUMNS) as i32 * CELL.0, TOP + (at / COLUMNS) as i32 * CELL.1);
            self.draw_image(canvas, mistake.sample, (corner.0 + (CELL.0 - SIDE as i32) / 2, corner.1))?;
            let Mistake { truth, predicted, confidence, .. } = mistake;
            let captions = [format!("true {truth}"), format!("predicted {predicted}, {:.1} %", 100.0 * confidence)];
            for (line, caption) in (0..).zip(captions) {
                let at = (corner.0 + CELL.0 / 2, corner.1 + SIDE as i32 + 12 + 18 * line);
                write(canvas, &caption, at, &paint::centred(SMALL, BLACK))?;
            }
        }
        Ok(())
    }
}

impl Sheet<'_> {
    fn draw_image<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, sample: usize, (left, top): (i32, i32)) -> Drawn<DB> {
        let image = [self.h, self.w];
        raster(canvas, (left, top), sides(image, SIDE), image, |row, column| self.colour(sample, row, column))
    }

    /// Three channels are red, green and blue; of any other number, the first is grey.
    fn colour(&self, sample: usize, row: usize, column: usize) -> RGBColor {
        let start = ((sample * self.h + row) * self.w + column) * self.c;
        let channel = |channel: usize| match self.samples.pixels().slice(start + channel..start + channel + 1) {
            Pixels::U8 { values, .. } => values[0],
            Pixels::F32(values) => (255.0 * values[0]).round() as u8,
        };
        match self.c {
            3 => RGBColor(channel(0), channel(1), channel(2)),
            _ => RGBColor(channel(0), channel(0), channel(0)),
        }
    }
}
