//! Weights in safetensors files: what is written, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use convlane::error::{Error, Result};
use convlane::io::safetensors::{load, save};
use convlane::prelude::*;
use convlane::rng::Rng;
use serde_json::{Map, Value, json};

/// A tensor without its name: type, shape and bytes.
type Tensor = (String, Vec<usize>, Vec<u8>);
type Tensors = BTreeMap<String, Tensor>;

/// A model no two parameters of which are equal, not even by their seeds.
fn model(seed: u64) -> Model {
    let layers = Sequential::new(Shape::hwc(4, 5, 2))
        .layer(Conv2d::new(2, (2, 3)).groups(2).relu())
        .layer(MaxPool2d::new(2).same())
        .layer(Flatten)
        .layer(Dense::new(3).no_bias())
        .layer(Dense::new(2).softmax());
    let mut model = layers.build(Seed(0)).unwrap();
    let mut rng = Rng::new(Seed(seed), 0);
    model.params_mut().fill_with(|| rng.symmetric(1.0));
    model
}

fn bits(model: &Model) -> Vec<u32> {
    model.params().iter().map(|x| x.to_bits()).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The file of a model.
fn saved(name: &str, model: &Model) -> Vec<u8> {
    let path = path(name);
    save(model, &path).unwrap();
    fs::read(path).unwrap()
}

/// Loads `bytes` into a model, which an error must leave as it was.
fn loaded(name: &str, bytes: &[u8]) -> Result<Model> {
    let (path, mut model) = (path(name), model(2));
    let before = bits(&model);
    fs::write(&path, bytes).unwrap();
    let result = load(&mut model, path);
    assert!(result.is_ok() || bits(&model) == before, "{result:?} changed the model");
    result.map(|()| model)
}

/// The tensors of a model as a file should have them.
fn tensors_of(model: &Model) -> Tensors {
    let tensor = |(name, param): (String, &convlane::layer::Param)| {
        let values = &model.params()[param.span.clone()];
        (name, ("F32".to_owned(), param.shape.clone(), values.iter().flat_map(|x| x.to_le_bytes()).collect()))
    };
    model.tensors().map(tensor).collect()
}

/// A file read by its format: the length of the header, the header, the bytes of the tensors.
fn parsed(file: &[u8]) -> Tensors {
    let (len, rest) = file.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let numbers = |value: &Value| serde_json::from_value::<Vec<usize>>(value.clone()).unwrap();
    let tensor = |(name, info): (String, Value)| {
        let span = numbers(&info["data_offsets"]);
        let dtype = info["dtype"].as_str().unwrap().to_owned();
        (name, (dtype, numbers(&info["shape"]), data[span[0]..span[1]].to_vec()))
    };
    header.into_iter().map(tensor).collect()
}

/// The reverse of [`parsed`].
fn written(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let start = data.len();
        data.extend(bytes);
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::from(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The message that refuses a good file with a change to its tensors, after the name of the file.
fn refusal(name: &str, change: impl FnOnce(&mut Tensors)) -> String {
    let mut tensors = tensors_of(&model(1));
    change(&mut tensors);
    let message = loaded(name, &written(&tensors)).unwrap_err().to_string();
    let start = format!("{}: ", path(name).display());
    message.strip_prefix(&start).unwrap_or_else(|| panic!("{message} names no file")).to_owned()
}

#[test]
fn a_file_has_the_tensors_of_the_model_under_the_names_of_keras() {
    let model = model(1);
    let tensors = parsed(&saved("names.safetensors", &model));
    let shapes = tensors.iter().map(|(name, (_, shape, _))| (&name[..], &shape[..])).collect::<Vec<_>>();
    let want: [(&str, &[usize]); 5] = [
        ("conv2d.bias", &[2]),
        ("conv2d.kernel", &[2, 3, 1, 2]),
        ("dense.kernel", &[8, 3]),
        ("dense_1.bias", &[2]),
        ("dense_1.kernel", &[3, 2]),
    ];
    assert_eq!(shapes, want);
    assert_eq!(tensors, tensors_of(&model));
}

#[test]
fn the_same_weights_give_the_same_bytes_and_others_do_not() {
    let file = saved("bytes.safetensors", &model(1));
    (0..20).for_each(|_| assert_eq!(saved("bytes.safetensors", &model(1)), file));
    assert_ne!(saved("bytes.safetensors", &model(2)), file);
}

#[test]
fn what_is_saved_is_loaded_bit_by_bit() {
    let mut model = model(1);
    let odd = [f32::NAN, -0.0, f32::NEG_INFINITY, f32::from_bits(1), f32::from_bits(0xffc0_1234)];
    model.params_mut()[..odd.len()].copy_from_slice(&odd);
    let file = saved("exact.safetensors", &model);
    assert_eq!(bits(&loaded("exact.safetensors", &file).unwrap()), bits(&model));
}

#[test]
fn tensors_may_lie_in_any_order() {
    let model = model(1);
    let file = written(&tensors_of(&model));
    assert_ne!(file, saved("order.safetensors", &model));
    assert_eq!(bits(&loaded("order.safetensors", &file).unwrap()), bits(&model));
}

#[test]
fn files_cut_anywhere_or_too_long_are_refused() {
    let mut file = saved("cut.safetensors", &model(1));
    for len in 0..file.len() {
        assert!(loaded("cut.safetensors", &file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
    file.push(0);
    assert!(loaded("cut.safetensors", &file).is_err(), "one byte more");
}

#[test]
fn other_tensors_than_the_models_are_refused() {
    let missing = refusal("missing.safetensors", |tensors| drop(tensors.remove("dense_1.kernel")));
    assert_eq!(missing, "has no tensor dense_1.kernel");
    let extra = refusal("extra.safetensors", |tensors| {
        let bias = tensors["conv2d.bias"].clone();
        tensors.insert("dense.bias".to_owned(), bias);
    });
    assert_eq!(extra, "has 6 tensors, the model 5");
}

#[test]
fn other_types_and_shapes_than_the_models_are_refused() {
    let refusal = |name, change: fn(&mut Tensor)| {
        refusal(name, |tensors| change(tensors.get_mut("dense_1.kernel").expect("a tensor")))
    };
    let dtype = refusal("dtype.safetensors", |(dtype, ..)| *dtype = "I32".to_owned());
    assert_eq!(dtype, "dense_1.kernel is I32 [3, 2], expected F32 [3, 2]");
    let transposed = refusal("transposed.safetensors", |(_, shape, _)| shape.reverse());
    assert_eq!(transposed, "dense_1.kernel is F32 [2, 3], expected F32 [3, 2]");
    let longer = refusal("longer.safetensors", |(_, shape, bytes)| {
        shape[0] = 4;
        bytes.extend([0; 8]);
    });
    assert_eq!(longer, "dense_1.kernel is F32 [4, 2], expected F32 [3, 2]");
    let torn = refusal("torn.safetensors", |(_, _, bytes)| bytes.truncate(20));
    assert!(torn.starts_with("no safetensors file: "), "{torn}");
}

#[test]
fn files_with_a_few_wrong_bytes_are_refused_or_give_what_they_say() {
    let file = saved("mutants.safetensors", &model(1));
    let mut rng = Rng::new(Seed(3), 0);
    let mut loads = 0;
    for mutant in 0..5000 {
        let mut bytes = file.clone();
        for _ in 0..=rng.below(3) {
            bytes[rng.below(file.len() as u64) as usize] ^= 1 + rng.below(255) as u8;
        }
        if let Ok(model) = loaded("mutants.safetensors", &bytes) {
            assert_eq!(tensors_of(&model), parsed(&bytes), "mutant {mutant}");
            loads += 1;
        }
    }
    assert!((500..4500).contains(&loads), "{loads} mutants loaded");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = path("no_such_directory").join("weights.safetensors");
    let mut model = model(1);
    for result in [save(&model, &path), load(&mut model, &path)] {
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
        assert!(matches!(error, Error::Io { file, .. } if file == path));
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused() {
    let mut model = Sequential::new(Shape::Flat(2)).layer(Dense::new(2)).build(Seed(1)).unwrap();
    let message = load(&mut model, "/dev/zero").unwrap_err().to_string();
    assert_eq!(message, "/dev/zero: is longer than 100000032 bytes, the most for weights of the model");
}
