//! What is written to files.

use std::path::Path;

use convlane::io::atomic;
use convlane::prelude::*;
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::options::Options;

pub fn save(path: &Path, report: &Value) -> convlane::Result<()> {
    atomic::write(path, format!("{report:#}\n").as_bytes())
}

pub fn report(trainer: &Trainer, plan: &Plan, options: &Options, choices: &Choices) -> Value {
    let epochs = trainer.history().epochs.iter().map(|epoch| {
        json!({
            "epoch": epoch.epoch,
            "loss": epoch.loss,
            "accuracy": epoch.accuracy,
            "val_loss": epoch.val_loss,
            "val_accuracy": epoch.val_accuracy,
            // A checkpoint holds no times.
            "seconds": (epoch.seconds > 0.0).then_some(epoch.seconds),
        })
    });
    json!({
        "options": {
            "data": options.data,
            "classes": options.classes,
            "epochs": options.epochs,
            "batch_size": choices.batch_size,
            "learning_rate": choices.learning_rate,
            "seed": choices.seed,
            "shuffle": choices.shuffle,
            "weights": options.weights,
            "resume": options.resume,
        },
        "algorithm": choices.plan.algorithm.to_string(),
        "engine": plan.engine().to_string(),
        "level": plan.level().to_string(),
        "threads": trainer.threads(),
        "epochs": epochs.collect::<Vec<_>>(),
    })
}
