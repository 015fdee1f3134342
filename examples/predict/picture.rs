//! Pictures from files.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, ImageResult, Limits, Luma, Rgb, RgbImage};

/// The longest side of a picture, and the most memory to decode one: small files can announce pictures of any size.
const MAX_SIDE: u32 = 16_384;
const MAX_BYTES: u64 = 256 << 20;

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
    let picture = on_white(decode(path)?);
    let background = background(&picture);
    let distance = |pixel: &Rgb<u8>| {
        let distances = pixel.0.iter().zip(background).map(|(&channel, background)| channel.abs_diff(background));
        Luma([distances.max().unwrap_or(0)])
    };
    let (width, height) = picture.dimensions();
    Ok(GrayImage::from_fn(width, height, |x, y| distance(picture.get_pixel(x, y))))
}

/// What the bytes of a file say, whatever its name is, the way up that it was taken.
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let file = File::open(path).map(BufReader::new);
    let reader = file.and_then(|file| ImageReader::new(file).with_guessed_format());
    let reader = reader.map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("is neither PNG nor JPEG".into());
    }
    upright(reader).map_err(|error| error.to_string().lines().next().unwrap_or("is broken").to_owned())
}

fn upright(mut reader: ImageReader<BufReader<File>>) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// What shows through a picture is white.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([red, green, blue].map(|channel| ((channel * alpha + 255 * (255 - alpha)) / 255) as u8))
    })
}

/// The median of each channel over the border.
fn background(picture: &RgbImage) -> [u8; 3] {
    let (width, height) = picture.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let border: Vec<_> = rows.chain((0..height).flat_map(|y| [(0, y), (width - 1, y)])).collect();
    [0, 1, 2].map(|channel| {
        let mut values: Vec<u8> = border.iter().map(|&(x, y)| picture.get_pixel(x, y)[channel]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    })
}
