//! Digits as MNIST has them: in a box of 20x20, with their centre of mass in the middle of 28x28.
//!
//! # Source
//! LeCun, Cortes, Burges, "The MNIST database of handwritten digits", the description of its images.

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma};

/// Pixels of a side of the result.
pub const FIELD: usize = 28;

/// Pixels of the longer side of the digit.
const BOX: u32 = 20;

/// Of the strongest ink, the share below which there is none: what compression leaves around strokes.
const FAINT: f32 = 0.1;

/// The least difference from the background that is ink.
const LEAST: u8 = 16;

/// The ink of a picture as MNIST has it; the error says why there is none.
pub fn as_mnist(ink: &GrayImage) -> Result<GrayImage, &'static str> {
    let strongest = self::strongest(ink);
    if strongest < LEAST {
        return Err("is of one colour, expected a digit");
    }
    let (left, top, width, height) = bounds(ink, (FAINT * f32::from(strongest)) as u8);
    let digit = imageops::crop_imm(ink, left, top, width, height).to_image();
    let scaled = |side: u32| (side * BOX).div_ceil(width.max(height));
    let mut digit = imageops::resize(&digit, scaled(width), scaled(height), FilterType::CatmullRom);
    if self::strongest(&digit) == 0 {
        return Err("has strokes too thin for its size");
    }
    stretch(&mut digit);
    Ok(centred(&digit))
}

fn strongest(ink: &GrayImage) -> u8 {
    ink.as_raw().iter().copied().max().unwrap_or(0)
}

/// Left, top, width and height of the box around all ink above `faint`.
fn bounds(ink: &GrayImage, faint: u8) -> (u32, u32, u32, u32) {
    let inked = ink.enumerate_pixels().filter(|(_, _, value)| value[0] > faint).map(|(x, y, _)| (x, y));
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, y) in inked {
        (left, right) = (left.min(x), right.max(x));
        (top, bottom) = (top.min(y), bottom.max(y));
    }
    (left, top, right - left + 1, bottom - top + 1)
}

/// Makes the strongest ink 255 and faint ink none.
fn stretch(digit: &mut GrayImage) {
    let strongest = f32::from(strongest(digit));
    for value in digit.iter_mut() {
        let share = f32::from(*value) / strongest;
        *value = if share < FAINT { 0 } else { (255.0 * share).round() as u8 };
    }
}

/// Moves the centre of mass to pixel 14 of either side, where that of every image of MNIST is when rounded.
fn centred(digit: &GrayImage) -> GrayImage {
    let mass: f64 = digit.as_raw().iter().map(|&value| f64::from(value)).sum();
    let centre = |place: fn(u32, u32) -> u32| {
        let moments = digit.enumerate_pixels().map(|(x, y, value)| f64::from(place(x, y)) * f64::from(value[0]));
        moments.sum::<f64>() / mass
    };
    let [dx, dy] = [centre(|x, _| x), centre(|_, y| y)].map(|centre| (FIELD as f64 / 2.0 - centre).round() as i64);
    let mut field = GrayImage::from_pixel(FIELD as u32, FIELD as u32, Luma([0]));
    imageops::overlay(&mut field, digit, dx, dy);
    field
}
