//! Any bytes, read as weights laid out as Keras or PyTorch has them, are refused or give what they hold.
#![no_main]

#[path = "../../tests/files/mod.rs"]
mod files;

use files::{mend, weights};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    weights::is_read(bytes);
    weights::is_read(&mend::header(bytes.to_vec()));
});
