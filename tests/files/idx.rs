//! IDX files.

use convlane::data::idx::{Images, images_from, labels_from};
use convlane::error::Result;

use super::within;

/// Reads `file` as images and as labels, which gives what they announce or an error.
pub fn read_both(file: &[u8]) -> (Result<Images>, Result<Vec<u8>>) {
    let images = within(file.len(), || images_from("images", file));
    let labels = within(file.len(), || labels_from("labels", file));
    assert!(images.is_err() || labels.is_err());
    if let Ok(images) = &images {
        assert!(images.count > 0);
        let sample = images.shape.elements().expect("a shape without overflow");
        assert_eq!(images.count.checked_mul(sample), Some(images.pixels.len()));
    }
    if let Ok(labels) = &labels {
        assert!(!labels.is_empty());
    }
    (images, labels)
}

/// Whether `file` is either.
pub fn is_read(file: &[u8]) -> bool {
    let (images, labels) = read_both(file);
    images.is_ok() || labels.is_ok()
}
