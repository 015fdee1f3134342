//! Files of which no more is read than they can have.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The bytes of a file up to one more than `longest`.
pub(super) fn read(path: &Path, longest: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| Error::Io { file: path.into(), source })?;
    read_from(path, file, longest)
}

/// As [`read`], from anything, called `name` in errors.
pub(super) fn read_from(name: &Path, bytes: impl Read, longest: usize) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    let most = (longest as u64).saturating_add(1);
    bytes.take(most).read_to_end(&mut read).map_err(|source| Error::Io { file: name.into(), source })?;
    Ok(read)
}
