//! What all pictures are made of: colours, text and rectangles at pixels.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font as register;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use plotters::style::{RGBColor, WHITE};

pub type Canvas<DB> = DrawingArea<DB, Shift>;

pub type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Blue and vermilion of the palette of Okabe and Ito, "Color Universal Design", 2008.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub const GREY: RGBColor = RGBColor(120, 120, 120);

/// The heights of text in pixels.
pub const SMALL: u32 = 16;
pub const MEDIUM: u32 = 18;
pub const LARGE: u32 = 22;

const FONT: &str = "sans-serif";

/// Gives plotters its only font, which is part of the program.
pub fn register_font() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let registered = register(FONT, FontStyle::Normal, dejavu::sans::regular());
        assert!(registered.is_ok(), "the font that the crate dejavu ships is a font");
    });
}

/// Text of a height.
pub fn plain(height: u32) -> TextStyle<'static> {
    (FONT, height).into_font().into()
}

/// Text with its middle wherever it is put.
pub fn centred(height: u32, colour: RGBColor) -> TextStyle<'static> {
    TextStyle { color: colour.to_backend_color(), ..anchored(height, HPos::Center) }
}

/// Text with its left or right end, or its middle, wherever it is put.
pub fn anchored(height: u32, at: HPos) -> TextStyle<'static> {
    plain(height).pos(Pos::new(at, VPos::Center))
}

pub fn write<DB: DrawingBackend>(canvas: &Canvas<DB>, text: &str, at: (i32, i32), style: &TextStyle<'_>) -> Drawn<DB> {
    canvas.draw(&Text::new(text, at, style.clone()))
}

/// Fills from one corner up to another, which is left out.
pub fn fill<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    (left, top): (i32, i32),
    (right, bottom): (i32, i32),
    colour: RGBColor,
) -> Drawn<DB> {
    canvas.draw(&Rectangle::new([(left, top), (right, bottom)], colour.filled()))
}

/// Fills a rectangle of `[height, width]` with a picture of `[rows, columns]`, of which those are left out for which there
/// are no pixels.
pub fn raster<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    (left, top): (i32, i32),
    [height, width]: [usize; 2],
    [rows, columns]: [usize; 2],
    colour: impl Fn(usize, usize) -> RGBColor,
) -> Drawn<DB> {
    let [shown_rows, shown_columns] = [rows.min(height), columns.min(width)];
    let scaled = |index: usize, size: usize, count: usize| (index as u128 * size as u128 / count as u128) as usize;
    let [x, y] = [(left, width, shown_columns), (top, height, shown_rows)]
        .map(|(start, size, count)| move |index: usize| start + scaled(index, size, count) as i32);
    for row in 0..shown_rows {
        let colours: Vec<_> = (0..shown_columns)
            .map(|column| colour(scaled(row, rows, shown_rows), scaled(column, columns, shown_columns)))
            .collect();
        let mut column = 0;
        for run in colours.chunk_by(|a, b| a == b) {
            let end = column + run.len();
            fill(canvas, (x(column), y(row)), (x(end), y(row + 1)), run[0])?;
            column = end;
        }
    }
    Ok(())
}

/// The pixels of sides of which the longer has `most`, and the other as many as its share.
pub fn sides(sides: [usize; 2], most: usize) -> [usize; 2] {
    let longer = sides[0].max(sides[1]) as u128;
    sides.map(|side| (side as u128 * most as u128).div_ceil(longer) as usize)
}

/// The colour at `share`, 0 to 1, of the way between two.
pub fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let channel = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    RGBColor(channel(from.0, to.0), channel(from.1, to.1), channel(from.2, to.2))
}
