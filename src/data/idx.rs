//! Reader of IDX files, the format of MNIST, packed with gzip or not.
//!
//! An IDX file is two zero bytes, the element type, the rank, one big-endian `u32` a dimension, then the elements,
//! the last dimension running fastest. Files come from anywhere, so a header is only believed as far as bytes
//! follow it: memory grows with what arrives, and one byte beyond what was announced is the last to be read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The most elements (bytes) that a file may announce: 1 GiB.
pub const MAX_BODY: usize = 1 << 30;

/// How IDX spells unsigned bytes, the only element type read here.
const U8: u8 = 0x08;

/// How a gzip file begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How many bytes are made room for before any has arrived; later as many as have arrived already.
const FIRST_STEP: usize = 1 << 16;

/// The images of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Shape of one image.
    pub shape: Shape,
    /// Number of images.
    pub count: usize,
    /// `[count][h][w][c]`.
    pub pixels: Vec<u8>,
}

/// Reads images of bytes from a file: `[count][h][w]` (one channel) or `[count][h][w][c]`.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is a directory, not a well-formed IDX file of this
/// kind, broken gzip, empty in some dimension, or announces more than [`MAX_BODY`].
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    images_from(&path, open(path.as_ref())?)
}

/// Reads images like [`read_images`] from anything, called `name` in errors.
///
/// ```
/// let bytes = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9];
/// let images = convlane::data::idx::images_from("two pixels", &bytes[..])?;
/// assert_eq!((images.count, images.shape.to_string()), (1, "1x2x1".to_owned()));
/// assert_eq!(images.pixels, [7, 9]);
/// # Ok::<(), convlane::error::Error>(())
/// ```
///
/// # Errors
/// As [`read_images`].
pub fn images_from(name: impl AsRef<Path>, bytes: impl Read) -> Result<Images> {
    let mut source = Source::new(name.as_ref(), bytes)?;
    let dims = source.dimensions(&[3, 4])?;
    let pixels = source.body(&dims)?;
    let channels = dims.get(3).copied().unwrap_or(1);
    Ok(Images { shape: Shape::hwc(dims[1], dims[2], channels), count: dims[0], pixels })
}

/// Reads labels of one byte each from a file: `[count]`.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    labels_from(&path, open(path.as_ref())?)
}

/// Reads labels like [`read_labels`] from anything, called `name` in errors.
///
/// # Errors
/// As [`read_images`].
pub fn labels_from(name: impl AsRef<Path>, bytes: impl Read) -> Result<Vec<u8>> {
    let mut source = Source::new(name.as_ref(), bytes)?;
    let dims = source.dimensions(&[1])?;
    source.body(&dims)
}

fn open(path: &Path) -> Result<File> {
    if path.is_dir() {
        return Err(Error::file(path, "is a directory, expected a file"));
    }
    File::open(path).map_err(|source| Error::Io { file: path.into(), source })
}

/// The unpacked bytes of a file, of which some have been read.
struct Source<'a> {
    file: &'a Path,
    packed: bool,
    bytes: Box<dyn Read + 'a>,
}

impl<'a> Source<'a> {
    fn new(file: &'a Path, bytes: impl Read + 'a) -> Result<Self> {
        let (packed, bytes) = unpacked(bytes).map_err(|source| Error::Io { file: file.into(), source })?;
        Ok(Source { file, packed, bytes })
    }

    /// Reads the header of a file that must have one of these ranks.
    fn dimensions(&mut self, ranks: &[u8]) -> Result<Vec<usize>> {
        let magic = self.exactly("magic number", 4)?;
        let (kind, rank) = (magic[2], magic[3]);
        if magic[..2] != [0, 0] {
            return Err(self.problem(format!("bytes 0 and 1 say 0x{:02x}{:02x}, expected 0x0000", magic[0], magic[1])));
        }
        if kind != U8 {
            return Err(self.problem(format!("byte 2 says element type 0x{kind:02x}, expected 0x{U8:02x}")));
        }
        if !ranks.contains(&rank) {
            return Err(self.problem(format!("byte 3 says rank {rank}, expected {}", join(ranks, " or "))));
        }
        let sizes = self.exactly("list of dimensions", usize::from(rank) * size_of::<u32>())?;
        let (sizes, _) = sizes.as_chunks();
        let dims: Vec<_> = sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
        match dims.iter().position(|&size| size == 0) {
            Some(zero) => Err(self.problem(format!("dimension {zero} is 0, expected at least 1"))),
            None => Ok(dims),
        }
    }

    /// Reads the elements, after which the file must end.
    fn body(&mut self, dims: &[usize]) -> Result<Vec<u8>> {
        let len = dims
            .iter()
            .try_fold(1usize, |len, &size| len.checked_mul(size))
            .filter(|&len| len <= MAX_BODY)
            .ok_or_else(|| self.problem(format!("announces {} bytes, the limit is {MAX_BODY}", join(dims, "x"))))?;
        let body = self.exactly("body", len)?;
        if self.up_to(1)?.is_empty() {
            Ok(body)
        } else {
            Err(self.problem(format!("goes on after a body of {len} bytes")))
        }
    }

    fn exactly(&mut self, what: &str, len: usize) -> Result<Vec<u8>> {
        let bytes = self.up_to(len)?;
        if bytes.len() < len {
            return Err(self.problem(format!("the {what} ends after {} of {len} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    fn up_to(&mut self, len: usize) -> Result<Vec<u8>> {
        read_up_to(&mut self.bytes, len).map_err(|source| self.failed(source))
    }

    fn problem(&self, problem: String) -> Error {
        Error::file(self.file, problem)
    }

    /// Tells what the unpacker found from what the system did.
    fn failed(&self, source: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match source.kind() {
            InvalidData | InvalidInput | UnexpectedEof if self.packed => self.problem(format!("broken gzip: {source}")),
            _ => Error::Io { file: self.file.into(), source },
        }
    }
}

/// Whether bytes begin as gzip does, and the bytes that they hold.
pub(super) fn unpacked<'a>(mut bytes: impl Read + 'a) -> io::Result<(bool, Box<dyn Read + 'a>)> {
    let magic = read_up_to(&mut bytes, GZIP_MAGIC.len())?;
    let packed = magic == GZIP_MAGIC;
    let whole = io::Cursor::new(magic).chain(bytes);
    Ok((packed, if packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) }))
}

/// Reads `len` bytes, or all if there are fewer, into memory of at most `FIRST_STEP` or twice what arrives.
pub(crate) fn read_up_to(bytes: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    while read.len() < len {
        let step = (len - read.len()).min(read.len().max(FIRST_STEP));
        read.try_reserve_exact(step)?;
        if bytes.by_ref().take(step as u64).read_to_end(&mut read)? < step {
            break;
        }
    }
    Ok(read)
}

fn join(items: &[impl ToString], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
