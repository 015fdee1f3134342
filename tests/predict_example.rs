//! The example that classifies pictures as a user runs it, with weights that the other has saved.

#[path = "../examples/shared/net.rs"]
mod net;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;

use convlane::data::idx;
use convlane::io::safetensors;
use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use flate2::Crc;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageEncoder, Luma, LumaA, Rgb, RgbImage};
use programs::program;

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist");

/// A place for a file of one test.
fn tmp(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("predict-{name}"))
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = tmp(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

/// Weights after an epoch of MNIST.
static WEIGHTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let file = tmp("weights.safetensors");
    let trained = program("lenet5", &format!("--epochs 1 --quiet --save {}", file.display())).status().unwrap();
    assert!(trained.success());
    file
});

/// The first test images, each with its class.
static DIGITS: LazyLock<Vec<(GrayImage, u8)>> = LazyLock::new(|| {
    let images = idx::read_images(format!("{MNIST}/t10k-images-idx3-ubyte.gz")).unwrap();
    let labels = idx::read_labels(format!("{MNIST}/t10k-labels-idx1-ubyte.gz")).unwrap();
    let digits = images.pixels.chunks(28 * 28).map(|pixels| GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap());
    digits.zip(labels).take(200).collect()
});

fn predict(pictures: &Path) -> Output {
    program("predict", &format!("--weights {}", WEIGHTS.display())).arg(pictures).output().unwrap()
}

/// The share of the digits that is recognised when saved as `change` makes them.
fn recognised(name: &str, ending: &str, change: impl Fn(&GrayImage) -> DynamicImage) -> f64 {
    recognised_from(name, ending, |digit, file| change(digit).save(file).unwrap())
}

/// The share of the digits that is recognised in the files that `save` makes of them, named by their class at the end.
fn recognised_from(name: &str, ending: &str, save: impl Fn(&GrayImage, &Path)) -> f64 {
    let folder = folder(name);
    for (index, (digit, class)) in DIGITS.iter().enumerate() {
        save(digit, &folder.join(format!("{index:03}-{class}.{ending}")));
    }
    let output = predict(&folder);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let right = text.lines().filter(|line| {
        let (file, answer) = line.split_once(&format!(".{ending}: ")).unwrap();
        assert!(answer.ends_with(" %)"), "{line}");
        file.chars().last() == answer.chars().next()
    });
    assert_eq!(text.lines().count(), DIGITS.len());
    right.count() as f64 / DIGITS.len() as f64
}

/// Eight times as large.
fn large(digit: &GrayImage) -> GrayImage {
    imageops::resize(digit, 224, 224, FilterType::CatmullRom)
}

fn inverted(digit: &GrayImage) -> GrayImage {
    let mut picture = large(digit);
    imageops::invert(&mut picture);
    picture
}

/// Ink of one colour on another.
fn coloured(digit: &GrayImage, ink: [u8; 3], paper: [u8; 3]) -> DynamicImage {
    let large = large(digit);
    let mix = |share: u8, from: u8, to: u8| {
        let share = f32::from(share) / 255.0;
        (f32::from(from) * (1.0 - share) + f32::from(to) * share) as u8
    };
    let picture = RgbImage::from_fn(224, 224, |x, y| {
        let share = large.get_pixel(x, y)[0];
        Rgb([0, 1, 2].map(|channel| mix(share, paper[channel], ink[channel])))
    });
    picture.into()
}

/// The share of digits that the weights recognise as MNIST has them.
fn recognised_in_mnist() -> f64 {
    let mut model = net::lenet5(Shape::hwc(28, 28, 1), 10).build(Seed(0)).unwrap();
    safetensors::load(&mut model, &*WEIGHTS).unwrap();
    let mut predictor = Predictor::new(model).unwrap();
    let right = DIGITS.iter().filter(|(digit, class)| {
        let pixels = Pixels::U8 { values: digit.as_raw(), scale: 1.0 / 255.0 };
        predictor.classify(pixels).unwrap().0 == usize::from(*class)
    });
    right.count() as f64 / DIGITS.len() as f64
}

fn off_centre(digit: &GrayImage) -> GrayImage {
    let mut paper = GrayImage::from_pixel(500, 300, Luma([255]));
    imageops::replace(&mut paper, &inverted(digit), 260, 5);
    paper
}

/// Black ink on nothing.
fn transparent(digit: &GrayImage) -> DynamicImage {
    let large = large(digit);
    GrayAlphaImage::from_fn(224, 224, |x, y| LumaA([0, large.get_pixel(x, y)[0]])).into()
}

/// A JPEG of a digit turned to the left, which says that it is to be turned back.
fn save_turned(digit: &GrayImage, file: &Path) {
    // A TIFF directory of one entry: tag 0x112 is a 16-bit number, 6.
    let exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut encoder = JpegEncoder::new(fs::File::create(file).unwrap());
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(&imageops::rotate270(&inverted(digit))).unwrap();
}

#[test]
fn digits_of_any_size_place_and_colour_are_recognised() {
    let shares = [
        recognised("same", "png", |digit| digit.clone().into()),
        recognised("large", "png", |digit| large(digit).into()),
        recognised("inverted", "jpg", |digit| inverted(digit).into()),
        recognised("red-on-blue", "png", |digit| coloured(digit, [200, 40, 40], [40, 60, 200])),
        // Of nearly one brightness.
        recognised("orange-on-green", "jpeg", |digit| coloured(digit, [200, 120, 20], [60, 160, 90])),
        recognised("off-centre", "png", |digit| off_centre(digit).into()),
        recognised("transparent", "png", transparent),
        recognised_from("turned", "jpg", save_turned),
    ];
    let expected = recognised_in_mnist();
    assert!(expected > 0.8 && shares.iter().all(|&share| share >= expected - 0.02), "{shares:?}, of MNIST {expected}");
}

/// The start of a PNG of so many pixels.
fn announced(width: u32, height: u32) -> Vec<u8> {
    let header = [b"IHDR", &width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let mut crc = Crc::new();
    crc.update(&header);
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d", &header[..], &crc.sum().to_be_bytes(), b"\0\0\0\0IDAT"].concat()
}

/// A pale diagonal a pixel wide, of which nothing is left at the size of a digit.
fn thin() -> GrayImage {
    GrayImage::from_fn(1500, 1500, |x, y| Luma([if x == y { 235 } else { 255 }]))
}

#[test]
fn what_is_no_picture_is_a_line_and_the_rest_goes_on() {
    let folder = folder("bad");
    let save = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let good = folder.join("z-good.png");
    DIGITS[0].0.save(&good).unwrap();
    let whole = fs::read(&good).unwrap();
    let bad = [
        ("blank.png", "is of one colour, expected a digit"),
        ("broken.png", ""),
        ("empty.jpg", "is neither PNG nor JPEG"),
        ("folder.png", ""),
        ("large.png", ""),
        ("text.png", "is neither PNG nor JPEG"),
        ("thin.png", "has strokes too thin for its size"),
        ("wide.png", ""),
    ];
    GrayImage::from_pixel(9, 9, Luma([77])).save(folder.join("blank.png")).unwrap();
    save("broken.png", &whole[..whole.len() / 2]);
    save("empty.jpg", b"");
    fs::create_dir(folder.join("folder.png")).unwrap();
    save("large.png", &announced(16_000, 16_000));
    save("text.png", b"seven");
    thin().save(folder.join("thin.png")).unwrap();
    save("wide.png", &announced(1 << 30, 1));
    save("notes.txt", b"not looked at");

    let output = predict(&folder);
    assert_eq!(output.status.code(), Some(1));
    let (text, errors) = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).into();
    assert!(text.lines().count() == 1 && text.starts_with(&format!("{}: ", good.display())), "{text}");
    assert_eq!(errors.lines().count(), bad.len(), "{errors}");
    for ((name, problem), line) in bad.iter().zip(errors.lines()) {
        assert!(line.starts_with(&format!("error: {}: {problem}", folder.join(name).display())), "{name}: {line}");
    }
}

#[test]
fn the_bytes_say_what_a_picture_is_not_its_name() {
    let folder = folder("named");
    DIGITS[0].0.save(folder.join("digit.jpg")).unwrap();
    fs::rename(folder.join("digit.jpg"), folder.join("digit.png")).unwrap();
    assert!(predict(&folder.join("digit.png")).status.success());
}

#[test]
fn nothing_to_classify_is_an_error() {
    let (nowhere, empty) = (tmp("nowhere.png"), folder("empty"));
    for (path, problem) in [(&nowhere, "No such file"), (&empty, "holds no .png, .jpg or .jpeg")] {
        let output = predict(path);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{message}");
        assert!(message.starts_with(&format!("error: {}: {problem}", path.display())), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}

#[test]
fn bad_flags_and_weights_are_one_line() {
    let weights = WEIGHTS.display();
    for (flags, expected, words) in [
        (format!("--weights {weights}"), 2, "<PICTURES>"),
        ("picture.png".to_owned(), 2, "--weights"),
        (format!("--weights {weights} --classes 0 x.png"), 2, "must be at least 1, got 0"),
        (format!("--weights {weights} --classes 12 x.png"), 1, "expected F32 [84, 12]"),
        ("--weights nowhere.safetensors x.png".to_owned(), 1, "error: nowhere.safetensors: "),
    ] {
        let output = program("predict", &flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{flags}: {message}");
        assert!(message.lines().count() == 1 && message.contains(words), "{flags}: {message}");
    }
}
