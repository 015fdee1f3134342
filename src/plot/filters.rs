//! The filters of a model's first convolution.

use std::path::Path;

use plotters::prelude::*;

use super::paint::{self, BLUE, Canvas, Drawn, LARGE, SMALL, VERMILION, fill, mix, raster, sides, write};
use super::{Picture, WIDTH};
use crate::error::{Error, Result};
use crate::layer::{Layer, ParamKind};
use crate::model::Model;

/// Draws the weights of the first convolution: a square an output channel, one for each input channel if there are
/// several, at most 64.
///
/// # Errors
/// If the model has no convolution, the ending of `path` is none of [`Format`](super::Format), or it cannot be written.
pub fn filters(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    let convolution = model.layers().iter().find(|layer| matches!(layer.layer, Layer::Conv2d(_)));
    let kernel = convolution.and_then(|layer| {
        let kernel = layer.params.iter().find(|param| param.kind == ParamKind::Kernel)?;
        Some((&layer.name, kernel))
    });
    let Some((name, kernel)) = kernel else { return Err(Error::Zero { what: "number of convolutions" }) };
    let [kh, kw, inputs, outputs] = kernel.shape[..] else { unreachable!("a convolution's kernel has four axes") };
    Tiles { name, kh, kw, inputs, outputs, weights: &model.params()[kernel.span.clone()] }.save(path.as_ref())
}

struct Tiles<'a> {
    name: &'a str,
    kh: usize,
    kw: usize,
    inputs: usize,
    outputs: usize,
    /// `[kh][kw][inputs][outputs]`.
    weights: &'a [f32],
}

const COLUMNS: usize = 6;
const MOST: usize = 64;

/// Pixels around a filter's place.
const CELL: (i32, i32) = (WIDTH as i32 / COLUMNS as i32, 145);

/// Pixels of a filter's longer side.
const SIDE: usize = 110;

/// Where the first row begins.
const TOP: i32 = 50;

/// Height of the scale with its numbers.
const SCALE: i32 = 60;

impl Picture for Tiles<'_> {
    fn height(&self) -> u32 {
        (TOP + self.shown().div_ceil(COLUMNS) as i32 * CELL.1 + SCALE) as u32
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let (shown, all) = (self.shown(), self.inputs * self.outputs);
        let count = if shown < all { format!("{shown} of {all}") } else { all.to_string() };
        let title = format!("{count} filters of {}, {}x{} weights each", self.name, self.kh, self.kw);
        write(canvas, &title, (WIDTH as i32 / 2, TOP / 2), &paint::centred(LARGE, BLACK))?;
        let largest = self.weights.iter().fold(f32::MIN_POSITIVE, |most, weight| most.max(weight.abs()));
        for tile in 0..shown {
            self.draw_tile(canvas, tile, largest)?;
        }
        draw_scale(canvas, self.height() as i32 - SCALE + 10, largest)
    }
}

impl Tiles<'_> {
    fn shown(&self) -> usize {
        (self.inputs * self.outputs).min(MOST)
    }

    fn draw_tile<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, tile: usize, largest: f32) -> Drawn<DB> {
        let (output, input) = (tile / self.inputs, tile % self.inputs);
        let taps = [self.kh, self.kw];
        // As large as all taps can be alike, or as there is room for.
        let most = SIDE - SIDE % self.kh.max(self.kw).min(SIDE);
        let [height, width] = sides(taps, most).map(|pixels| pixels as i32);
        let middle = (tile % COLUMNS) as i32 * CELL.0 + CELL.0 / 2;
        let (left, top) = (middle - width / 2, TOP + (tile / COLUMNS) as i32 * CELL.1);
        raster(canvas, (left, top), [height as usize, width as usize], taps, |row, column| {
            let weight = self.weights[((row * self.kw + column) * self.inputs + input) * self.outputs + output];
            colour(f64::from(weight / largest))
        })?;
        canvas.draw(&Rectangle::new([(left, top), (left + width, top + height)], paint::GREY))?;
        let caption = match self.inputs {
            1 => format!("filter {output}"),
            _ => format!("filter {output}, input {input}"),
        };
        write(canvas, &caption, (middle, top + height + 14), &paint::centred(SMALL, BLACK))
    }
}

/// Vermilion below zero, blue above.
fn colour(weight: f64) -> RGBColor {
    mix(WHITE, if weight < 0.0 { VERMILION } else { BLUE }, weight.abs())
}

fn draw_scale<DB: DrawingBackend>(canvas: &Canvas<DB>, top: i32, largest: f32) -> Drawn<DB> {
    const HALF: i32 = 200;
    let middle = WIDTH as i32 / 2;
    for x in -HALF..HALF {
        fill(canvas, (middle + x, top), (middle + x + 1, top + 16), colour(f64::from(x) / f64::from(HALF)))?;
    }
    for (x, text) in [(-HALF, format!("{:.2}", -largest)), (0, "weight 0".to_owned()), (HALF, format!("{largest:.2}"))]
    {
        write(canvas, &text, (middle + x, top + 30), &paint::centred(SMALL, BLACK))?;
    }
    Ok(())
}
