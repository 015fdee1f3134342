//! Any bytes, read as the example `predict` reads pictures, are refused or give a digit as MNIST has them.
#![no_main]

#[path = "../../tests/files/mod.rs"]
mod files;

use libfuzzer_sys::fuzz_target;

// `png` looks at no checksum where it is fuzzed.
fuzz_target!(|bytes: &[u8]| {
    files::picture::is_read(bytes);
});
