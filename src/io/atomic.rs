//! Files that hold the old bytes or the new, whatever happens while they are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces a file: the bytes go to `<name>.tmp` beside it, which takes its place once they are on the disk.
///
/// A process that ends on the way leaves the old file, and perhaps `<name>.tmp` for the next call to overwrite. Only one
/// writer at a time may have the path. A symbolic link is followed; a pipe or device is written as it is.
///
/// ```
/// use convlane::io::atomic;
///
/// let path = std::env::temp_dir().join("convlane-atomic-example");
/// atomic::write(&path, b"old")?;
/// atomic::write(&path, b"new")?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"new");
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), convlane::Error>(())
/// ```
///
/// # Errors
/// If the file or its directory cannot be written.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    Place::of(path).and_then(|place| place.write(bytes)).map_err(|source| Error::Io { file: path.into(), source })
}

/// Finds out whether [`write()`] could write the file, which stays as it is: to be asked before hours of work.
///
/// # Errors
/// As [`write()`].
pub fn check(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    Place::of(path).and_then(|place| place.check()).map_err(|source| Error::Io { file: path.into(), source })
}

/// Where bytes go.
enum Place {
    File {
        file: PathBuf,
        temporary: PathBuf,
    },
    /// A pipe or device.
    Stream(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        match fs::metadata(&file) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => return Ok(Place::Stream(file)),
            _ => {}
        }
        let mut name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(".tmp");
        Ok(Place::File { temporary: file.with_file_name(name), file })
    }

    fn check(&self) -> io::Result<()> {
        match self {
            Place::File { temporary, .. } => File::create(temporary).and_then(|_| fs::remove_file(temporary)),
            Place::Stream(_) => Ok(()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Place::File { file, temporary } => replace(file, temporary, bytes),
            Place::Stream(path) => fs::write(path, bytes),
        }
    }
}

fn replace(file: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let replaced = write_to_disk(temporary, bytes).and_then(|()| fs::rename(temporary, file));
    if replaced.is_err() {
        let _ = fs::remove_file(temporary);
    }
    replaced.and_then(|()| sync_directory(file))
}

fn write_to_disk(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name of a file last; elsewhere than on Unix a directory cannot be opened.
fn sync_directory(file: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
