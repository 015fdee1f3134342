//! MNIST and every dataset that comes in files of the same names, such as Fashion-MNIST and KMNIST.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Dataset;
use super::idx::{self, Images};
use crate::error::{Error, Result};

/// The number of classes of MNIST and of most datasets made in its image.
const CLASSES: usize = 10;

/// Reads the training and the test samples from a directory.
///
/// It must hold `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each as it is or with `.gz` behind its name; if both are there, the first is read. There
/// are 10 classes, or as many as the largest training label needs if that is more: a subset of MNIST without nines
/// still has the classes of MNIST. [`load_classes`] takes any other number.
///
/// ```no_run
/// let (train, test) = convlane::data::mnist::load("mnist")?;
/// assert_eq!((train.len(), test.len(), train.classes()), (60_000, 10_000, 10));
/// # Ok::<(), convlane::error::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] or [`Error::Io`], naming the file (or the directory that lacks one) and the numbers: if a file is
/// missing or refused by [`idx`], images and labels are not equally many, a label is not below the number of classes,
/// or training and test images differ in shape.
pub fn load(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let (train, test) = read(dir.as_ref())?;
    let needed = train.labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
    label(train, test, needed.max(CLASSES))
}

/// Reads like [`load`] samples of so many classes.
///
/// # Errors
/// As [`load`], or if `classes` is zero.
pub fn load_classes(dir: impl AsRef<Path>, classes: usize) -> Result<(Dataset, Dataset)> {
    let (train, test) = read(dir.as_ref())?;
    label(train, test, classes)
}

/// A file of images and the labels that belong to them, equally many.
struct Part {
    images_file: PathBuf,
    images: Images,
    labels_file: PathBuf,
    labels: Vec<u8>,
}

impl Part {
    fn read(dir: &Path, name: &str) -> Result<Self> {
        let images_file = find(dir, &format!("{name}-images-idx3-ubyte"))?;
        let labels_file = find(dir, &format!("{name}-labels-idx1-ubyte"))?;
        let images = idx::read_images(&images_file)?;
        let labels = idx::read_labels(&labels_file)?;
        if labels.len() != images.count {
            let problem =
                format!("{} labels for the {} images of {}", labels.len(), images.count, images_file.display());
            return Err(Error::file(labels_file, problem));
        }
        Ok(Part { images_file, images, labels_file, labels })
    }

    fn dataset(self, classes: usize) -> Result<Dataset> {
        let labels = self.labels.into_iter().map(u32::from).collect();
        Dataset::from_u8(self.images.shape, self.images.pixels, labels, classes)
            .map_err(|error| Error::file(self.labels_file, error.to_string()))
    }
}

/// Reads training and test samples of equal shape.
fn read(dir: &Path) -> Result<(Part, Part)> {
    let (train, test) = (Part::read(dir, "train")?, Part::read(dir, "t10k")?);
    if train.images.shape != test.images.shape {
        let (expected, got) = (train.images.shape, test.images.shape);
        let problem = format!("images of {got}, but those of {} are {expected}", train.images_file.display());
        return Err(Error::file(test.images_file, problem));
    }
    Ok((train, test))
}

fn label(train: Part, test: Part, classes: usize) -> Result<(Dataset, Dataset)> {
    Ok((train.dataset(classes)?, test.dataset(classes)?))
}

/// The file of this name in a directory, or else the packed one.
fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    if !dir.is_dir() {
        return Err(Error::file(dir, format!("is not a directory, expected one with {name}")));
    }
    let candidates = [dir.join(name), dir.join(format!("{name}.gz"))];
    let found = candidates.into_iter().find(|path| may_be_read(path));
    found.ok_or_else(|| Error::file(dir, format!("holds neither {name} nor {name}.gz")))
}

/// Whether a file is there, as far as can be told: the attempt to read one that cannot be looked at says why.
fn may_be_read(path: &Path) -> bool {
    fs::metadata(path).map_or_else(|error| error.kind() != ErrorKind::NotFound, |metadata| !metadata.is_dir())
}
