//! The images to train on.

use std::path::Path;

use convlane::prelude::*;

#[cfg(feature = "download")]
use crate::fetch::fetch;
use crate::options::Options;

/// Training and test images of as many classes as asked for, or as their labels need.
pub fn load(options: &Options) -> convlane::Result<(Dataset, Dataset)> {
    #[cfg(feature = "download")]
    if let Some(source) = &options.download {
        return load_from(&fetch(source, options.quiet)?, options);
    }
    let bundled = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist"));
    load_from(options.data.as_deref().unwrap_or(bundled), options)
}

fn load_from(dir: &Path, options: &Options) -> convlane::Result<(Dataset, Dataset)> {
    if let Some(classes) = options.classes {
        return mnist::load_classes(dir, classes);
    }
    let (train, test) = mnist::load(dir)?;
    let largest = train.labels().iter().chain(test.labels()).max();
    match largest.map_or(0, |&label| label as usize + 1) {
        needed if needed == train.classes() => Ok((train, test)),
        needed => mnist::load_classes(dir, needed),
    }
}
