//! Pictures: what is on them, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use convlane::data::Dataset;
use convlane::metrics::{ConfusionMatrix, mistakes};
use convlane::plot::{self, Format};
use convlane::prelude::*;
use image::RgbImage;

/// A place for a file of one test.
fn tmp(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plot-{name}"))
}

/// What is drawn, as PNG and as SVG.
fn drawn(name: &str, draw: impl Fn(&Path) -> convlane::Result<()>) -> (RgbImage, String) {
    let [png, svg] = ["png", "svg"].map(|ending| tmp(&format!("{name}.{ending}")));
    draw(&png).unwrap();
    draw(&svg).unwrap();
    let image = image::open(png).unwrap();
    assert_eq!(image.color(), image::ColorType::Rgb8);
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    (image.into_rgb8(), svg)
}

/// The texts of an SVG.
fn texts(svg: &str) -> Vec<&str> {
    let texts = svg.split("</text>").filter_map(|part| part.rsplit_once("\">\n")).map(|(_, text)| text.trim_end());
    texts.collect()
}

fn pixels(image: &RgbImage, colour: [u8; 3]) -> usize {
    image.pixels().filter(|pixel| pixel.0 == colour).count()
}

const BLUE: [u8; 3] = [0, 114, 178];
const VERMILION: [u8; 3] = [213, 94, 0];

fn epochs(count: usize, validated: bool) -> History {
    let epoch = |epoch| {
        let loss = 1.0 / epoch as f64;
        let [val_loss, val_accuracy] = [0.1 + loss, 0.95 - 0.3 * loss].map(|value| validated.then_some(value));
        Epoch { epoch, loss, accuracy: 1.0 - 0.4 * loss, val_loss, val_accuracy, seconds: 1.0 }
    };
    History { epochs: (1..=count).map(epoch).collect() }
}

#[test]
fn a_history_has_two_panels_with_units_and_a_legend() {
    let (png, svg) = drawn("history", |path| plot::history(&epochs(5, true), path));
    assert_eq!(png.dimensions(), (800, 400));
    let texts = texts(&svg);
    for text in ["Loss", "Accuracy", "epoch", "mean cross-entropy (nats)", "training", "validation", "5"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    assert!(pixels(&png, BLUE) > 300 && pixels(&png, VERMILION) > 300);

    let (png, svg) = drawn("history-unvalidated", |path| plot::history(&epochs(100, false), path));
    assert!(!svg.contains("validation") && pixels(&png, VERMILION) == 0 && pixels(&png, BLUE) > 300);
}

#[test]
fn one_epoch_is_a_history_and_none_is_not() {
    let (png, _) = drawn("history-one", |path| plot::history(&epochs(1, true), path));
    assert!(pixels(&png, BLUE) > 50);
    let mut unlucky = epochs(2, true);
    unlucky.epochs.iter_mut().for_each(|epoch| epoch.loss = f64::NAN);
    for history in [History::default(), unlucky] {
        let error = plot::history(&history, tmp("none.png")).unwrap_err();
        assert_eq!(error.to_string(), "number of epochs to draw must be at least 1, got 0");
    }
}

#[test]
fn no_history_overflows() {
    let epoch = epochs(1, true).epochs[0];
    let odd = [
        Epoch { epoch: usize::MAX, ..epoch },
        Epoch { loss: f64::MAX, ..epoch },
        Epoch { loss: -1.0, ..epoch },
        Epoch { accuracy: f64::MAX, ..epoch },
    ];
    for odd in odd {
        assert!(plot::history(&History { epochs: vec![odd] }, tmp("odd.png")).is_err(), "{odd:?}");
    }
    let extreme = |epoch, loss| Epoch {
        epoch,
        loss,
        val_loss: Some(f64::MAX),
        val_accuracy: Some(-9.0),
        ..epochs(1, true).epochs[0]
    };
    let most = convlane::checkpoint::Position::MAX_EPOCHS;
    for (last, first) in [(most, 0), (0, most), (5, 4)] {
        let history = History { epochs: vec![extreme(last, 1e30), extreme(first, 1e-300)] };
        let (png, _) = drawn("extreme", |path| plot::history(&history, path));
        assert!(pixels(&png, BLUE) > 20, "{first} {last}");
    }
}

/// `n` samples of each class, all taken for the class they are of but those of class 0, taken for the last.
fn confused(classes: usize, n: usize) -> (Vec<u32>, Vec<f32>) {
    let labels: Vec<u32> = (0..classes * n).map(|sample| (sample % classes) as u32).collect();
    let taken = |label: u32| if label == 0 { classes - 1 } else { label as usize };
    let outputs = labels.iter().flat_map(|&label| (0..classes).map(move |at| f32::from(u8::from(at == taken(label)))));
    let outputs = outputs.collect();
    (labels, outputs)
}

#[test]
fn a_confusion_matrix_is_dark_where_samples_are() {
    let (labels, outputs) = confused(3, 50);
    let matrix = ConfusionMatrix::new(&labels, &outputs).unwrap();
    let (png, svg) = drawn("confusion", |path| plot::confusion(&matrix, path));
    let texts = texts(&svg);
    for text in ["66.67 % of 150 samples right", "true class", "predicted class", "50"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    // Corners of the cells of 200 pixels.
    let cell = |truth: u32, predicted: u32| png.get_pixel(90 + 200 * predicted + 20, 90 + 200 * truth + 20).0;
    let dark = [8, 48, 107];
    assert_eq!([cell(0, 0), cell(1, 1), cell(0, 2), cell(2, 0)], [[255; 3], dark, dark, [255; 3]]);
}

#[test]
fn many_classes_fit_a_confusion_matrix() {
    let (labels, outputs) = confused(256, 2);
    let matrix = ConfusionMatrix::new(&labels, &outputs).unwrap();
    let (png, svg) = drawn("confusion-many", |path| plot::confusion(&matrix, path));
    assert_eq!(png.width(), 800);
    assert!(texts(&svg).len() < 60, "labels would overlap");

    // A single mistake has room for its number, but where others have none, it has none.
    let (labels, mut outputs) = confused(40, 12);
    outputs[40..80].rotate_right(1);
    let matrix = ConfusionMatrix::new(&labels, &outputs).unwrap();
    assert_eq!((matrix.count(1, 1), matrix.count(1, 2)), (11, 1));
    let (_, svg) = drawn("confusion-forty", |path| plot::confusion(&matrix, path));
    assert!(!texts(&svg).contains(&"1"), "{svg}");
}

#[test]
fn mistakes_show_the_image_its_class_and_the_answer() {
    // Two images of 2x4 in colour, the second red on its left half and green on its right.
    let (red, green) = ([255, 0, 0], [0, 255, 0]);
    let second = [[red; 2], [green; 2], [red; 2], [green; 2]].as_flattened().as_flattened().to_vec();
    let pixels = [vec![9; 24], second].concat();
    let samples = Dataset::from_u8(Shape::hwc(2, 4, 3), pixels, vec![0, 1], 2).unwrap();
    let mistakes = mistakes(samples.labels(), &[0.9, 0.1, 0.75, 0.25]).unwrap();
    let (png, svg) = drawn("mistakes", |path| plot::mistakes(&samples, &mistakes, path));
    assert_eq!(texts(&svg), ["1 surest of 1 mistakes among 2 images", "true 1", "predicted 0, 75.0 %"]);
    // 112 pixels wide in a place of 160.
    let at = |x: u32| png.get_pixel(24 + x, 45 + 20).0;
    assert_eq!([at(0), at(55), at(56), at(111), at(112)], [red, red, green, green, [255; 3]]);
    assert_eq!(png.get_pixel(24 + 20, 45 + 58).0, [255; 3], "an image keeps its proportions");

    let (png, _) = drawn("mistakes-none", |path| plot::mistakes(&samples, &[], path));
    assert_eq!(png.dimensions(), (800, 45));
}

#[test]
fn large_images_and_flat_samples_are_told_apart() {
    let large = Dataset::from_u8(Shape::hwc(300, 200, 1), vec![40; 60_000], vec![0], 1).unwrap();
    let mistake = convlane::metrics::Mistake { sample: 0, truth: 0, predicted: 1, confidence: 0.5 };
    let (png, _) = drawn("mistakes-large", |path| plot::mistakes(&large, &[mistake], path));
    assert!(pixels(&png, [40; 3]) >= 112 * 75);

    let flat = Dataset::from_f32(Shape::Flat(4), vec![0.5; 4], vec![0], 1).unwrap();
    assert_eq!(plot::mistakes(&flat, &[mistake], tmp("flat.png")).unwrap_err().to_string(), "expected images, got 4");
    let beyond = convlane::metrics::Mistake { sample: 1, ..mistake };
    assert!(plot::mistakes(&large, &[beyond], tmp("beyond.png")).is_err());
}

#[test]
fn filters_are_blue_above_zero_and_vermilion_below() {
    let stack = Sequential::new(Shape::hwc(5, 5, 2)).layer(Conv2d::new(3, 2));
    let mut model = stack.build(Seed(1)).unwrap();
    model.params_mut().fill(-0.5);
    let (png, svg) = drawn("filters", |path| plot::filters(&model, path));
    let texts = texts(&svg);
    for text in ["6 filters of conv2d, 2x2 weights each", "filter 2, input 1", "-0.50", "weight 0", "0.50"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    let first_row = image::imageops::crop_imm(&png, 0, 50, 800, 115).to_image();
    assert!(pixels(&first_row, VERMILION) > 6 * 100 * 100 && pixels(&first_row, BLUE) == 0);

    // More taps than pixels: the tile stays in its place of 133x145.
    let mut model = Sequential::new(Shape::hwc(300, 200, 1)).layer(Conv2d::new(1, (300, 200))).build(Seed(1)).unwrap();
    model.params_mut().fill(-0.5);
    let (png, _) = drawn("filters-large", |path| plot::filters(&model, path));
    let tile = image::imageops::crop_imm(&png, 0, 50, 133, 110).to_image();
    let drawn_tile = pixels(&tile, VERMILION);
    assert!((108 * 72..=110 * 74).contains(&drawn_tile), "{drawn_tile}");
    let beside = image::imageops::crop_imm(&png, 133, 50, 667, 110).to_image();
    assert_eq!(pixels(&beside, VERMILION), 0);

    let model = Sequential::new(Shape::hwc(5, 5, 1)).layer(Flatten).layer(Dense::new(2)).build(Seed(1)).unwrap();
    let error = plot::filters(&model, tmp("filters.png")).unwrap_err();
    assert_eq!(error.to_string(), "number of convolutions must be at least 1, got 0");
}

#[test]
fn the_ending_says_which_format_it_is() {
    assert_eq!(Format::of("a/b.c.SVG").unwrap(), Format::Svg);
    assert_eq!(Format::of("x.png").unwrap(), Format::Png);
    for path in ["plot.jpg", "png", "svg/plot"] {
        let message = Format::of(path).unwrap_err().to_string();
        assert_eq!(message, format!("{path}: ends in neither .svg nor .png"));
        assert!(plot::history(&epochs(1, true), path).is_err());
    }
    let error = plot::history(&epochs(1, true), tmp("nowhere/plot.png")).unwrap_err();
    assert!(matches!(error, convlane::Error::Io { .. }), "{error}");
}
