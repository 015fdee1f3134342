//! What holds of any bytes that are read as a file, and how much memory that takes: for tests of files that were changed,
//! and for the fuzz targets.
#![allow(dead_code)]

pub mod checkpoint;
pub mod heap;
pub mod idx;
pub mod mend;
pub mod picture;
pub mod weights;

/// A file with a name that says what is in it.
pub type Named = (&'static str, Vec<u8>);

/// What a file may take besides its size.
const MEBIBYTE: usize = 1 << 20;

/// What `read` returns, which must not take more memory than a file of so many bytes and a mebibyte.
fn within<T>(len: usize, read: impl FnOnce() -> T) -> T {
    let (result, peak) = heap::measured(read);
    assert!(peak <= len + MEBIBYTE, "{peak} bytes for {len}");
    result
}
