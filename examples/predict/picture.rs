//! Pictures from files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use image::{DynamicImage, GenericImageView, GrayImage, ImageDecoder, ImageReader, ImageResult, Limits, Luma};

/// The largest picture: small files can announce pictures of any size.
pub const LARGEST: Largest = Largest { side: 16_384, bytes: 256 << 20 };

/// A bound on pictures.
#[derive(Debug, Clone, Copy)]
pub struct Largest {
    /// Pixels of the longer side.
    pub side: u32,
    /// Bytes of all pixels, as the file has them. Reading takes four times as much besides the file.
    pub bytes: u64,
}

/// The file itself, or the PNG and JPEG files of a folder by name.
pub fn files(path: &Path) -> Vec<Result<PathBuf, String>> {
    if !path.is_dir() {
        return vec![Ok(path.into())];
    }
    let is_picture = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| ["png", "jpg", "jpeg"].iter().any(|&known| ending == known))
    };
    let entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>());
    match entries {
        Err(error) => vec![Err(format!("{}: {error}", path.display()))],
        Ok(mut paths) => {
            paths.retain(is_picture);
            paths.sort();
            if paths.is_empty() {
                return vec![Err(format!("{}: holds no .png, .jpg or .jpeg", path.display()))];
            }
            paths.into_iter().map(Ok).collect()
        }
    }
}

/// How far each pixel of a picture is from its background, 0 to 255.
pub fn read_ink(path: &Path) -> Result<GrayImage, String> {
    ink_from(BufReader::new(File::open(path).map_err(|error| error.to_string())?), LARGEST)
}

/// The same of the bytes of a file.
pub fn ink_from(file: impl BufRead + Seek, largest: Largest) -> Result<GrayImage, String> {
    let picture = decode(file, largest)?;
    let background = background(&picture);
    let distance = |pixel: [u8; 3]| {
        let distances = pixel.iter().zip(background).map(|(&channel, background)| channel.abs_diff(background));
        Luma([distances.max().unwrap_or(0)])
    };
    let (width, height) = picture.dimensions();
    Ok(GrayImage::from_fn(width, height, |x, y| distance(on_white(&picture, x, y))))
}

/// What the bytes of a file say, whatever its name is, the way up that it was taken.
fn decode(file: impl BufRead + Seek, largest: Largest) -> Result<DynamicImage, String> {
    let reader = ImageReader::new(file).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("is neither PNG nor JPEG".into());
    }
    upright(reader, largest).map_err(|error| error.to_string().lines().next().unwrap_or("is broken").to_owned())
}

fn upright(mut reader: ImageReader<impl BufRead + Seek>, largest: Largest) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(largest.side);
    limits.max_image_height = Some(largest.side);
    limits.max_alloc = Some(largest.bytes);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Red, green and blue of a pixel. What shows through a picture is white.
fn on_white(picture: &DynamicImage, x: u32, y: u32) -> [u8; 3] {
    let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
    [red, green, blue].map(|channel| ((channel * alpha + 255 * (255 - alpha)) / 255) as u8)
}

/// The median of each channel over the border.
fn background(picture: &DynamicImage) -> [u8; 3] {
    let (width, height) = picture.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let border: Vec<_> = rows.chain((0..height).flat_map(|y| [(0, y), (width - 1, y)])).collect();
    [0, 1, 2].map(|channel| {
        let mut values: Vec<u8> = border.iter().map(|&(x, y)| on_white(picture, x, y)[channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    })
}
