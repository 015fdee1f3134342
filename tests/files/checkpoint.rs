//! Checkpoints.

use std::sync::LazyLock;

use convlane::checkpoint::{Checkpoint, Position, Recipe};
use convlane::io::checkpoint::{load_from, to_bytes};
use convlane::plan::Score;
use convlane::prelude::*;

use super::{Named, within};

/// A small model.
pub static MODEL: LazyLock<Model> = LazyLock::new(|| model(2));

/// One of another layer.
static OTHER: LazyLock<Model> = LazyLock::new(|| model(3));

fn model(filters: usize) -> Model {
    let layers = Sequential::new(Shape::hwc(2, 2, 1))
        .layer(Conv2d::new(filters, 2).same().relu())
        .layer(AvgPool2d::new(2))
        .layer(Flatten)
        .layer(Dense::new(2).softmax());
    layers.build(Seed(4)).unwrap()
}

/// Reads `file`, which gives a checkpoint that is valid and is written to the same bytes as often as it is read, or an
/// error. Returns whether it was read.
pub fn is_read(file: &[u8]) -> bool {
    let Ok(checkpoint) = within(file.len(), || load_from(&MODEL, "checkpoint", file)) else { return false };
    checkpoint.validate().unwrap();
    assert_eq!(checkpoint.model.layers().len(), MODEL.layers().len());
    let saved = to_bytes(&checkpoint).unwrap();
    let again = load_from(&MODEL, "saved", &saved[..]).unwrap();
    assert_eq!(to_bytes(&again).unwrap(), saved);
    assert_eq!((again.position, &again.recipe), (checkpoint.position, &checkpoint.recipe));
    assert_eq!(again.model.seed(), checkpoint.model.seed());
    assert!(load_from(&OTHER, "other", file).is_err(), "read into another model");
    true
}

/// Files as they should be: before the first step, in an epoch with a velocity, and after some epochs.
pub fn sound() -> Vec<Named> {
    let momentum = Sgd::new(0.05).momentum(0.9).nesterov();
    let position = Position { epochs: 1, steps: 2, score: Score { loss_sum: 2.75, correct: 7, samples: 16 } };
    [
        ("begun.safetensors", checkpoint(Sgd::new(0.1), Position::default())),
        ("velocity.safetensors", checkpoint(momentum, position)),
        ("epochs.safetensors", checkpoint(Sgd::new(0.1), Position { epochs: 3, ..Position::default() })),
    ]
    .map(|(name, checkpoint)| (name, to_bytes(&checkpoint).unwrap()))
    .into()
}

/// A checkpoint of a training that has come so far.
pub fn checkpoint(sgd: Sgd, position: Position) -> Checkpoint {
    let recipe = Recipe {
        sgd,
        batch_size: 8,
        shuffle: Some(Seed(7)),
        engine: Engine::Lanes,
        algorithm: Algorithm::Auto,
        level: "avx2".to_owned(),
        samples: 40,
        samples_crc32: 0x1234_abcd,
    };
    let epoch =
        |epoch| Epoch { epoch, loss: 0.5, accuracy: 0.75, val_loss: None, val_accuracy: Some(1.0), seconds: 0.0 };
    let history = History { epochs: (1..=position.epochs).map(epoch).collect() };
    let velocity = MODEL.params()[..sgd.velocity_len(MODEL.params().len())].to_vec();
    Checkpoint { model: MODEL.clone(), velocity, position, recipe, history }
}
