//! Files of which no more is read than they can have.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::data::idx::read_up_to;
use crate::error::{Error, Result};

/// A file to be read.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::Io { file: path.into(), source })
}

/// The bytes of what is called `name` in errors, up to one more than `longest`; takes memory for twice as many at most.
pub(super) fn read(name: &Path, mut bytes: impl Read, longest: usize) -> Result<Vec<u8>> {
    read_up_to(&mut bytes, longest.saturating_add(1)).map_err(|source| Error::Io { file: name.into(), source })
}
