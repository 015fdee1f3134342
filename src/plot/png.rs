//! Writer of PNG files, by section 5 of the [specification](https://www.w3.org/TR/png-3/).

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// A picture of three bytes a pixel, row by row.
pub fn encode((width, height): (u32, u32), rgb: &[u8]) -> Vec<u8> {
    const BITS: u8 = 8;
    const RGB: u8 = 2;
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[BITS, RGB, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &packed(rgb.chunks_exact(3 * width as usize)));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// Rows without a filter, whose number, 0, stands before each.
fn packed<'a>(mut rows: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = rows.try_for_each(|row| encoder.write_all(&[0]).and_then(|()| encoder.write_all(row)));
    written.and_then(|()| encoder.finish()).expect("memory takes all bytes")
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
}
