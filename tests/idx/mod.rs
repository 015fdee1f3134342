//! IDX files made up for tests.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

/// A file of bytes with these dimensions, whatever `body` holds.
pub fn idx(dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(body);
    file
}

/// `bytes` packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
