//! Files that hold the old bytes or the new, whatever happens while they are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces a file: the bytes go to `<name>.tmp` beside it, which takes its place once they are on the disk.
///
/// A process that ends on the way leaves the old file, and perhaps `<name>.tmp` for the next call to overwrite. Only one
/// writer at a time may have the path. A symbolic link is followed.
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
/// If the file or its directory cannot be written, or the path is that of something else than a file.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    Place::of(path).and_then(|place| place.replace(bytes)).map_err(|source| Error::Io { file: path.into(), source })
}

/// Finds out whether [`write()`] could write the file, which stays as it is: to be asked before hours of work.
///
/// # Errors
/// As [`write()`].
pub fn check(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let tried = Place::of(path).and_then(|place| File::create(&place.temporary).and(fs::remove_file(place.temporary)));
    tried.map_err(|source| Error::Io { file: path.into(), source })
}

/// Where a file goes.
struct Place {
    file: PathBuf,
    temporary: PathBuf,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if fs::metadata(&file).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let mut name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(".tmp");
        Ok(Place { temporary: file.with_file_name(name), file })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.write_temporary(bytes).and_then(|()| fs::rename(&self.temporary, &self.file));
        if written.is_err() {
            let _ = fs::remove_file(&self.temporary);
        }
        written.and_then(|()| self.sync_directory())
    }

    fn write_temporary(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(&self.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Makes the new name last; elsewhere than on Unix a directory cannot be opened.
    fn sync_directory(&self) -> io::Result<()> {
        if !cfg!(unix) {
            return Ok(());
        }
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}
