//! Labelled samples: where they come from, how they are kept and in which order they are visited.

#[cfg(feature = "download")]
#[cfg_attr(docsrs, doc(cfg(feature = "download")))]
pub mod download;
pub mod idx;
pub mod mnist;
mod order;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use flate2::Crc;

pub use order::Order;

use crate::error::{Error, Result};
use crate::kernels::cast::Pixels;
use crate::shape::{Shape, product, zeros};

/// What one step of a byte is worth, so that pixels are 0 to 1.
const BYTE_SCALE: f32 = 1.0 / 255.0;

/// Samples of one shape, each with the number of its class; at least one.
///
/// ```
/// use convlane::data::Dataset;
/// use convlane::shape::Shape;
///
/// let data = Dataset::from_u8(Shape::hwc(1, 2, 1), vec![0, 255, 255, 0, 9, 9], vec![0, 1, 1], 2)?;
/// assert_eq!(data.one_hot(&[2, 0])?, [0.0, 1.0, 1.0, 0.0]);
/// assert_eq!(data.take(2)?.labels(), [0, 1]);
/// # Ok::<(), convlane::error::Error>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    shape: Shape,
    values: Values,
    labels: Vec<u32>,
    classes: usize,
    crc32: OnceLock<u32>,
}

/// The values of all samples as they are kept.
#[derive(Clone)]
enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    fn part(&self, span: Range<usize>) -> Self {
        match self {
            Values::U8(values) => Values::U8(values[span].to_vec()),
            Values::F32(values) => Values::F32(values[span].to_vec()),
        }
    }
}

impl Dataset {
    /// Samples of `shape` one after the other in bytes, of which 255 stands for 1.0, and a label for each.
    ///
    /// # Errors
    /// If there is no sample, class or element in a sample; if `pixels` are not whole samples or not as many as
    /// `labels`; if a label is not below `classes`; if the number of samples does not fit a `u32`.
    pub fn from_u8(shape: Shape, pixels: Vec<u8>, labels: Vec<u32>, classes: usize) -> Result<Self> {
        Self::new(shape, Values::U8(pixels), labels, classes)
    }

    /// Samples of `shape` one after the other, taken as they are, and a label for each.
    ///
    /// # Errors
    /// As [`Dataset::from_u8`].
    pub fn from_f32(shape: Shape, pixels: Vec<f32>, labels: Vec<u32>, classes: usize) -> Result<Self> {
        Self::new(shape, Values::F32(pixels), labels, classes)
    }

    fn new(shape: Shape, values: Values, labels: Vec<u32>, classes: usize) -> Result<Self> {
        let (len, sample_len) = (values.len(), shape.elements()?);
        if !len.is_multiple_of(sample_len) {
            let problem = format!("{len} values are not whole samples of {shape}");
            return Err(Error::Setting { name: "pixels", problem });
        }
        let samples = len / sample_len;
        order::checked_count(samples)?;
        if labels.len() != samples {
            return Err(Error::Mismatch { what: "labels", expected: samples, got: labels.len() });
        }
        product("classes", &[classes])?;
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(Error::LabelOutOfRange { index, label: labels[index], classes });
        }
        Ok(Dataset { shape, values, labels, classes, crc32: OnceLock::new() })
    }

    /// Number of samples, at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Shape of one sample.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The values of all samples.
    pub fn pixels(&self) -> Pixels<'_> {
        match &self.values {
            Values::U8(values) => Pixels::U8 { values, scale: BYTE_SCALE },
            Values::F32(values) => Pixels::F32(values),
        }
    }

    /// A checksum of values, as they are kept, and labels, by which a training to be gone on with knows its samples again.
    /// It is computed once.
    pub fn crc32(&self) -> u32 {
        *self.crc32.get_or_init(|| {
            let mut crc = Crc::new();
            match &self.values {
                Values::U8(values) => crc.update(values),
                Values::F32(values) => update_by(&mut crc, values, |value| value.to_le_bytes()),
            }
            update_by(&mut crc, &self.labels, |label| label.to_le_bytes());
            crc.sum()
        })
    }

    /// The labels of the samples at `indices` as `[indices][classes]`: 1 at the class, 0 elsewhere.
    ///
    /// # Errors
    /// If there is no index, one is not below [`Dataset::len`], or the result would overflow.
    pub fn one_hot(&self, indices: &[u32]) -> Result<Vec<f32>> {
        let what = "one-hot labels";
        let mut one_hot = zeros(what, product(what, &[indices.len(), self.classes])?)?;
        for (row, &index) in one_hot.chunks_mut(self.classes).zip(indices) {
            let label = self.labels.get(index as usize).ok_or_else(|| Error::Setting {
                name: "index",
                problem: format!("must be below the {} samples, got {index}", self.len()),
            })?;
            row[*label as usize] = 1.0;
        }
        Ok(one_hot)
    }

    /// A copy of the first `n` samples.
    ///
    /// # Errors
    /// If `n` is zero or there are fewer.
    pub fn take(&self, n: usize) -> Result<Self> {
        self.check_size("take", n, self.len())?;
        Ok(self.part(0..n))
    }

    /// Copies of the first `n` samples and of the others.
    ///
    /// # Errors
    /// If one of the two would be empty.
    pub fn split(&self, n: usize) -> Result<(Self, Self)> {
        self.check_size("split", n, self.len() - 1)?;
        Ok((self.part(0..n), self.part(n..self.len())))
    }

    fn check_size(&self, name: &'static str, n: usize, most: usize) -> Result<()> {
        if (1..=most).contains(&n) {
            return Ok(());
        }
        Err(Error::Setting { name, problem: format!("cannot be {n} with {} samples", self.len()) })
    }

    /// The samples of a span that is within bounds and not empty.
    fn part(&self, span: Range<usize>) -> Self {
        let sample_len = self.values.len() / self.len();
        Dataset {
            shape: self.shape,
            values: self.values.part(span.start * sample_len..span.end * sample_len),
            labels: self.labels[span].to_vec(),
            classes: self.classes,
            crc32: OnceLock::new(),
        }
    }
}

/// Adds numbers to a checksum as `bytes` has them.
fn update_by<T: Copy>(crc: &mut Crc, numbers: &[T], bytes: impl Fn(T) -> [u8; 4]) {
    for part in numbers.chunks(1024) {
        let bytes: Vec<[u8; 4]> = part.iter().map(|&number| bytes(number)).collect();
        crc.update(bytes.as_flattened());
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({} samples of {}, {} classes)", self.len(), self.shape, self.classes)
    }
}
