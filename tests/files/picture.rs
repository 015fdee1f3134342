//! Pictures, as the example `predict` reads them.

#[path = "../../examples/predict/centre.rs"]
mod centre;
#[path = "../../examples/predict/picture.rs"]
mod reader;

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};

use centre::{FIELD, as_mnist};
pub use reader::Largest;
use reader::ink_from;

use super::{Named, within};

/// The largest picture of those that are made up here.
pub const LARGEST: Largest = Largest { side: 512, bytes: 1 << 16 };

/// Reads `file`, which gives a picture within the bound and a digit as MNIST has it, or an error. Returns whether there was
/// a digit.
pub fn is_read(file: &[u8]) -> bool {
    let Some(digit) = read(file, LARGEST) else { return false };
    assert_eq!(digit.dimensions(), (FIELD as u32, FIELD as u32));
    assert!(digit.as_raw().iter().any(|&value| value > 0), "no ink");
    assert!(digit.as_raw().iter().all(|&value| value == 0 || value >= 25), "faint ink");
    let again = ink_from(Cursor::new(encoded(&digit.clone().into(), ImageFormat::Png)), LARGEST).unwrap();
    assert!(digit == again, "ink on no ink is read as it is");
    true
}

/// The digit of a picture, within four times the memory of the largest.
pub fn read(file: &[u8], largest: Largest) -> Option<GrayImage> {
    within(file.len() + 4 * largest.bytes as usize, || {
        let ink = ink_from(Cursor::new(file), largest).ok()?;
        let (width, height) = ink.dimensions();
        assert!(width.max(height) <= largest.side && u64::from(width) * u64::from(height) <= largest.bytes);
        as_mnist(&ink).ok()
    })
}

/// A one, somewhat to the left.
fn one() -> GrayImage {
    GrayImage::from_fn(14, 12, |x, y| Luma([if (4..6).contains(&x) && (2..10).contains(&y) { 20 } else { 240 }]))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A JPEG that says how it was turned.
fn turned(picture: &GrayImage) -> Vec<u8> {
    // A TIFF directory of one entry: tag 0x112 is a 16-bit number, 6.
    let exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new(&mut file);
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    encoder.encode_image(picture).unwrap();
    file
}

/// PNG files as they should be: of every type of pixel.
pub fn png() -> Vec<Named> {
    let grey = DynamicImage::from(one());
    let through = RgbaImage::from_fn(14, 12, |x, y| Rgba([200, 30, 30, 255 - one().get_pixel(x, y)[0]]));
    [
        ("grey.png", grey.clone()),
        ("grey16.png", grey.to_luma16().into()),
        ("grey-alpha.png", grey.to_luma_alpha8().into()),
        ("colour.png", grey.to_rgb8().into()),
        ("colour16.png", grey.to_rgb16().into()),
        ("transparent.png", through.into()),
    ]
    .map(|(name, picture)| (name, encoded(&picture, ImageFormat::Png)))
    .into()
}

/// JPEG files as they should be.
pub fn jpeg() -> Vec<Named> {
    let grey = DynamicImage::from(one());
    let files = [("grey.jpg", grey.clone()), ("colour.jpg", grey.to_rgb8().into())];
    let files = files.map(|(name, picture)| (name, encoded(&picture, ImageFormat::Jpeg)));
    files.into_iter().chain([("turned.jpg", turned(&one()))]).collect()
}

/// Pictures of nearly 1 MiB.
pub fn large() -> Vec<Named> {
    let one = |width, height| imageops::resize(&one(), width, height, FilterType::Nearest);
    let (grey, colour) = (one(1024, 1024), DynamicImage::from(one(682, 512)).to_rgb8());
    vec![
        ("grey.png", encoded(&grey.clone().into(), ImageFormat::Png)),
        ("transparent16.png", encoded(&DynamicImage::from(one(362, 362)).to_rgba16().into(), ImageFormat::Png)),
        ("colour.jpg", encoded(&colour.into(), ImageFormat::Jpeg)),
        ("turned.jpg", turned(&grey)),
    ]
}

/// A JPEG that says of itself that it comes in several scans.
pub fn progressive(mut file: Vec<u8>) -> Vec<u8> {
    let marker = file.windows(4).position(|bytes| bytes[..3] == [0xff, 0xc0, 0]).expect("a frame in one scan");
    file[marker + 1] = 0xc2;
    file
}
