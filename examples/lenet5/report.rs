//! What is written to files.

use std::fs::{self, OpenOptions};
use std::path::Path;

use convlane::prelude::*;
use serde_json::{Value, json};

use crate::options::Options;

/// Finds out, before any work is done for it, whether a file can be written. Leaves all as it was.
pub fn check_writable(path: &Path) -> Result<(), String> {
    let new = !path.exists();
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|error| format!("{}: {error}", path.display()))?;
    if new {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

pub fn save(path: &Path, report: &Value) -> Result<(), String> {
    fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn report(trainer: &Trainer, plan: &Plan, options: &Options, history: &History) -> Value {
    let epochs = history.epochs.iter().map(|epoch| {
        json!({
            "epoch": epoch.epoch,
            "loss": epoch.loss,
            "accuracy": epoch.accuracy,
            "val_loss": epoch.val_loss,
            "val_accuracy": epoch.val_accuracy,
            "seconds": epoch.seconds,
        })
    });
    json!({
        "options": {
            "data": options.data,
            "classes": options.classes,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "seed": options.seed,
            "shuffle": options.shuffle,
            "weights": options.weights,
        },
        "engine": plan.engine().to_string(),
        "level": plan.level().to_string(),
        "threads": trainer.threads(),
        "epochs": epochs.collect::<Vec<_>>(),
    })
}
