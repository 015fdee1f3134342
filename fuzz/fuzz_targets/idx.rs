//! Any bytes, read as images and as labels, are refused or give what they announce.
#![no_main]

use convlane::data::idx::{MAX_BODY, images_from, labels_from};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(images) = images_from("fuzz", bytes) {
        let sample = images.shape.elements().expect("a shape without overflow");
        assert!(images.count > 0);
        assert_eq!(images.count.checked_mul(sample), Some(images.pixels.len()));
        assert!(images.pixels.len() <= MAX_BODY);
    }
    if let Ok(labels) = labels_from("fuzz", bytes) {
        assert!((1..=MAX_BODY).contains(&labels.len()));
    }
});
