//! Weights that Keras and PyTorch wrote give the logits that they gave there. `tests/python/golden.py` made the files.

mod programs;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use convlane::io::safetensors::{Format, load_as, save_as};
use convlane::kernels::cast::Pixels;
use convlane::prelude::*;
use programs::program;
use serde_json::Value;

/// The tiny net of `tests/python/nets.py`: every axis is another size.
fn tiny() -> Model {
    let layers = Sequential::new(Shape::hwc(6, 5, 2))
        .layer(Conv2d::new(3, (3, 2)).relu())
        .layer(MaxPool2d::new((2, 1)))
        .layer(Flatten)
        .layer(Dense::new(5).tanh())
        .layer(Dense::new(3).no_bias());
    layers.build(Seed(0)).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchange").join(name)
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exchange-{name}"))
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// The largest difference from the golden logits, in shares of the largest of these.
fn error(model: Model, name: &str) -> f32 {
    let file: Value = serde_json::from_slice(&fs::read(golden(&format!("{name}.json"))).unwrap()).unwrap();
    let (inputs, want) = (numbers(&file["inputs"]), numbers(&file["logits"]));
    let mut trainer = Trainer::new(model, Sgd::new(0.0), TrainConfig::default()).unwrap();
    let got = trainer.predict(Pixels::F32(&inputs)).unwrap();
    assert_eq!((got.len(), want.len()), (12, 12));
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |most, value| most.max(value.abs()));
    largest(&mut got.iter().zip(&want).map(|(got, want)| got - want)) / largest(&mut want.iter().copied())
}

fn loaded(name: &str, format: &Format) -> Model {
    let mut model = tiny();
    load_as(&mut model, golden(&format!("{name}.safetensors")), format).unwrap();
    model
}

#[test]
fn weights_of_either_framework_give_its_logits() {
    for (name, format) in [("keras", Format::keras()), ("pytorch", Format::pytorch())] {
        let error = error(loaded(name, &format), name);
        assert!(error <= 1e-5, "{name}: {error:e} of the largest logit");
    }
    // The weights of one do not give the logits of the other.
    assert!(error(loaded("keras", &Format::keras()), "pytorch") > 0.1);
}

#[test]
fn weights_go_from_one_layout_to_the_other_and_back() {
    for (name, format, other) in
        [("keras", Format::keras(), Format::pytorch()), ("pytorch", Format::pytorch(), Format::keras())]
    {
        let (there, back) = (path(&format!("{name}-there")), path(&format!("{name}-back")));
        let model = loaded(name, &format);
        save_as(&model, &there, &other).unwrap();
        let mut again = tiny();
        load_as(&mut again, &there, &other).unwrap();
        assert_eq!(again.params(), model.params());
        save_as(&again, &back, &format).unwrap();
        load_as(&mut again, &back, &format).unwrap();
        assert_eq!(again.params(), model.params());
        let message = load_as(&mut again, &there, &format).unwrap_err().to_string();
        assert!(message.contains(": has no tensor "), "{message}");
    }
}

#[test]
fn a_kernel_is_turned_round_and_a_flattened_image_too() {
    // The values say where they are: hundreds the row, tens the column or input, units the output.
    let layers = Sequential::new(Shape::hwc(1, 2, 2)).layer(Conv2d::new(2, (1, 2)).same()).layer(Activation::Relu);
    let mut model = layers.layer(Flatten).layer(Activation::Tanh).layer(Dense::new(1)).build(Seed(0)).unwrap();
    let kernel = [0., 1., 10., 11., 100., 101., 110., 111.];
    model.params_mut().copy_from_slice(&[&kernel[..], &[8., 9.], &[0., 1., 10., 11.], &[7.]].concat());
    save_as(&model, path("turned"), &Format::pytorch().names(["a", "b.c"])).unwrap();
    let bytes = fs::read(path("turned")).unwrap();
    let file = safetensors_of(&bytes);
    let want = [
        ("a.bias", vec![2], vec![8., 9.]),
        ("a.weight", vec![2, 2, 1, 2], vec![0., 100., 10., 110., 1., 101., 11., 111.]),
        ("b.c.bias", vec![1], vec![7.]),
        ("b.c.weight", vec![1, 4], vec![0., 10., 1., 11.]),
    ];
    assert_eq!(file, want.map(|(name, shape, values)| (name.to_owned(), shape, values)));

    save_as(&model, path("turned"), &Format::pytorch()).unwrap();
    let names: Vec<_> = safetensors_of(&fs::read(path("turned")).unwrap()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["0.bias", "0.weight", "4.bias", "4.weight"]);
}

/// Names, shapes and values of a file's tensors, by name.
fn safetensors_of(bytes: &[u8]) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        (name, view.shape().to_vec(), view.data().chunks(4).map(float).collect())
    };
    let mut tensors: Vec<_> = file.tensors().into_iter().map(tensor).collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

#[test]
fn names_of_ones_own_are_as_many_as_layers_and_all_different() {
    let refusal = |names: &[&str]| {
        let format = Format::keras().names(names.iter().copied());
        save_as(&tiny(), path("never"), &format).unwrap_err().to_string()
    };
    assert_eq!(refusal(&["a", "b"]), "names of layers with parameters: expected 3, got 2");
    assert_eq!(refusal(&["a", "b", "a"]), "names: a is given twice");
    assert!(!path("never").exists());
    assert_eq!(Format::default(), Format::keras());
}

#[test]
fn the_example_converts_there_and_back() {
    let [start, torch, back] = ["lenet5", "lenet5-torch", "lenet5-back"].map(|name| path(name).display().to_string());
    let lenet5 = support::nets::lenet5().into_iter().fold(Sequential::new(Shape::hwc(28, 28, 1)), Sequential::layer);
    save_as(&lenet5.build(Seed(1)).unwrap(), &start, &Format::keras()).unwrap();
    for flags in [format!("{start} --to pytorch --save {torch}"), format!("{torch} --from pytorch --save {back}")] {
        let output = program("exchange", &flags).output().unwrap();
        assert!(output.status.success(), "{flags}: {output:?}");
    }
    assert_eq!(fs::read(&back).unwrap(), fs::read(&start).unwrap());
    let refused = program("exchange", &format!("{torch} --save {back}")).output().unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains("has no tensor conv2d.kernel"));
    for idle in [start.clone(), format!("{start} --to pytorch --logits {back}")] {
        let output = program("exchange", &idle).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{idle}: {output:?}");
    }
}
