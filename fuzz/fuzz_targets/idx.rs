//! Any bytes, read as images and as labels, packed or not, are refused or give what they announce.
#![no_main]

#[path = "../../tests/files/mod.rs"]
mod files;
#[allow(dead_code)]
#[path = "../../tests/idx/mod.rs"]
mod idx;

use files::idx::read_both;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Packed, they unpack to less than a mebibyte; twice what is unpacked may be taken.
const LONGEST: usize = 400;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if bytes.len() > LONGEST {
        return Corpus::Reject;
    }
    let plain = read_both(bytes);
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        let (images, labels) = read_both(&idx::gzip(bytes));
        assert_eq!((images.ok(), labels.ok()), (plain.0.ok(), plain.1.ok()), "packed and not");
    }
    Corpus::Keep
});
