//! Any bytes, read as a checkpoint, with the checksum they have and with theirs, are refused or give what is written again.
#![no_main]

#[path = "../../tests/files/mod.rs"]
mod files;

use files::{checkpoint, mend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    checkpoint::is_read(bytes);
    checkpoint::is_read(&mend::checksum(mend::header(bytes.to_vec())));
});
