//! Files that hold the old bytes or the new, whatever happens while they are written.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Replaces a file: the bytes go to a new one beside it, which takes its place and its permissions once they are on the
/// disk.
///
/// A process that is killed on the way leaves the old file, and perhaps the new one as `<name>.<process>-<number>.tmp`,
/// which may be deleted. Of several writers at once, the last wins. Symbolic links are followed, also to a file that does
/// not exist yet; a pipe or device is written as it is.
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
/// If the file or its directory cannot be written. The file is then as it was, unless the disk failed after all was
/// written, while it noted the new file's name.
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
    /// A file, with the permissions of the one that is there.
    File(PathBuf, Option<Permissions>),
    /// A pipe or device.
    Stream(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if found.is_file() => Ok(Place::File(fs::canonicalize(path)?, Some(found.permissions()))),
            Ok(_) => Ok(Place::Stream(path.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::File(behind_links(path), None)),
            Err(error) => Err(error),
        }
    }

    fn check(&self) -> io::Result<()> {
        match self {
            Place::File(file, _) => create_beside(file).and_then(|(temporary, _)| fs::remove_file(temporary)),
            Place::Stream(_) => Ok(()),
        }
    }

    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Place::File(file, permissions) => replace(&file, permissions, bytes),
            Place::Stream(path) => fs::write(path, bytes),
        }
    }
}

/// What symbolic links lead to that end at nothing yet, and so in no circle.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    while let Ok(target) = fs::read_link(&path) {
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

fn replace(file: &Path, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    let (temporary, opened) = create_beside(file)?;
    let replaced = write_to_disk(opened, permissions, bytes).and_then(|()| fs::rename(&temporary, file));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    replaced.and_then(|()| sync_directory(file))
}

/// A file that was not there, in the same directory.
fn create_beside(file: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    loop {
        let mut name = name.to_owned();
        name.push(format!(".{}-{}.tmp", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let temporary = file.with_file_name(name);
        match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((temporary, created?)),
        }
    }
}

fn write_to_disk(mut file: File, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name of a file last, on systems that know how to.
fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) else { return Ok(()) };
    match directory.sync_all() {
        Err(error) if !matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => Err(error),
        _ => Ok(()),
    }
}
