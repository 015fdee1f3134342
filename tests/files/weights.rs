//! Weights in safetensors files, laid out as Keras or PyTorch has them.

use std::sync::LazyLock;

use convlane::io::safetensors::{Format, load_from, to_bytes};
use convlane::prelude::*;
use convlane::rng::Rng;

use super::{Named, within};

/// A small model, no two parameters of which are equal.
pub static MODEL: LazyLock<Model> = LazyLock::new(|| model((1, 2)));

/// One of the same names and lengths, of which the first kernel has another shape.
static OTHER: LazyLock<Model> = LazyLock::new(|| model((2, 1)));

fn model(kernel: (usize, usize)) -> Model {
    let layers = Sequential::new(Shape::hwc(2, 2, 2))
        .layer(Conv2d::new(2, kernel).same().relu())
        .layer(Flatten)
        .layer(Dense::new(3).no_bias())
        .layer(Dense::new(2).softmax());
    let (mut model, mut rng) = (layers.build(Seed(0)).unwrap(), Rng::new(Seed(1), 0));
    model.params_mut().fill_with(|| rng.symmetric(1.0));
    model
}

/// The layouts that there are.
pub fn formats() -> [Format; 2] {
    [Format::keras(), Format::pytorch()]
}

/// Reads `file` in every layout. What is read is what the file holds, and goes into no model of another shape; an error
/// leaves the model as it was. Returns whether it was read.
pub fn is_read(file: &[u8]) -> bool {
    let read = formats().map(|format| is_read_as(file, &format));
    assert_ne!(read, [true; 2], "names are those of one layout");
    read.contains(&true)
}

fn is_read_as(file: &[u8], format: &Format) -> bool {
    let mut model = MODEL.clone();
    let result = within(file.len(), || load_from(&mut model, "weights", file, format));
    if result.is_err() {
        assert_eq!(bits(&model), bits(&MODEL), "{result:?} changed the model");
        return false;
    }
    assert_eq!(sorted(bits(&model)), sorted(data(file)), "the parameters are the numbers of the file");
    let (mut again, saved) = (MODEL.clone(), to_bytes(&model, format).unwrap());
    load_from(&mut again, "saved", &saved[..], format).unwrap();
    assert_eq!(bits(&again), bits(&model));
    assert!(load_from(&mut OTHER.clone(), "other", file, format).is_err(), "read into another shape");
    true
}

fn bits(model: &Model) -> Vec<u32> {
    model.params().iter().map(|x| x.to_bits()).collect()
}

fn sorted(mut bits: Vec<u32>) -> Vec<u32> {
    bits.sort_unstable();
    bits
}

/// The numbers behind the header.
fn data(file: &[u8]) -> Vec<u32> {
    let (len, rest) = file.split_first_chunk().unwrap();
    let (numbers, over) = rest[u64::from_le_bytes(*len) as usize..].as_chunks();
    assert!(over.is_empty());
    numbers.iter().map(|&number| u32::from_le_bytes(number)).collect()
}

/// Files as they should be: those that are written, and with metadata as PyTorch's are.
pub fn sound() -> Vec<Named> {
    let [keras, pytorch] = formats().map(|format| to_bytes(&MODEL, &format).unwrap());
    let metadata = br#""__metadata__":{"format":"pt"},"#;
    let mut described = pytorch.clone();
    described.splice(9..9, metadata.iter().copied());
    vec![
        ("keras.safetensors", keras),
        ("pytorch.safetensors", pytorch),
        ("metadata.safetensors", super::mend::header(described)),
    ]
}
