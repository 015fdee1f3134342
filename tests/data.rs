//! Datasets, and the files they are read from.

mod idx;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use convlane::Level;
use convlane::data::idx::{Images, images_from, labels_from, read_images, read_labels};
use convlane::data::{Dataset, mnist};
use convlane::error::{Error, Result};
use convlane::kernels::cast::Pixels;
use convlane::shape::Shape;
use idx::{gzip, idx};
use proptest::prelude::*;

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist");

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// The message of an error, with nothing of this machine in it.
fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let message = result.unwrap_err().to_string();
    message.replace(MNIST, "MNIST").replace(env!("CARGO_TARGET_TMPDIR"), "TMP").replace('\\', "/")
}

/// A directory that holds just these files.
fn directory(name: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
    dir
}

/// Two training images and one test image of 1 x 2.
fn tiny() -> [(&'static str, Vec<u8>); 4] {
    [
        (TRAIN_IMAGES, idx(&[2, 1, 2], &[1, 2, 3, 4])),
        (TRAIN_LABELS, idx(&[2], &[3, 1])),
        (TEST_IMAGES, idx(&[1, 1, 2], &[5, 6])),
        (TEST_LABELS, idx(&[1], &[9])),
    ]
}

/// [`tiny`] with one file changed.
fn tiny_but(dir: &str, name: &str, bytes: Vec<u8>) -> Result<(Dataset, Dataset)> {
    let files = tiny().map(|(file, content)| (file, if file == name { bytes.clone() } else { content }));
    mnist::load(directory(dir, &files))
}

fn bytes(data: &Dataset) -> &[u8] {
    match data.pixels() {
        Pixels::U8 { values, .. } => values,
        Pixels::F32(_) => panic!("expected bytes"),
    }
}

#[test]
fn mnist_is_read_as_it_is() {
    let (train, test) = mnist::load(MNIST).unwrap();
    let sum = |data: &Dataset| bytes(data).iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
    let labels = |data: &Dataset| data.labels().iter().sum::<u32>();
    assert_eq!(format!("{train:?}"), "Dataset(60000 samples of 28x28x1, 10 classes)");
    assert_eq!(format!("{test:?}"), "Dataset(10000 samples of 28x28x1, 10 classes)");
    assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    assert_eq!((sum(&train), labels(&train)), (1_567_298_545, 267_236));
    assert_eq!((sum(&test), labels(&test)), (264_923_200, 44_434));
    assert_eq!(sum(&train.take(1).unwrap()), 27_525);
}

#[test]
fn malformed_images_are_told_apart() {
    let valid = idx(&[2, 1, 2], &[1, 2, 3, 4]);
    let packed = gzip(&valid);
    let with = |at: usize, byte: u8| {
        let mut file = valid.clone();
        file[at] = byte;
        file
    };
    let wrong_checksum = {
        let mut file = packed.clone();
        let crc = file.len() - 8;
        file[crc] ^= 1;
        file
    };
    let table = [
        (vec![], "the magic number ends after 0 of 4 bytes"),
        (valid[..3].to_vec(), "the magic number ends after 3 of 4 bytes"),
        (b"PK\x03\x04".to_vec(), "bytes 0 and 1 say 0x504b, expected 0x0000"),
        (gzip(&packed), "bytes 0 and 1 say 0x1f8b, expected 0x0000"),
        (with(2, 0x0d), "byte 2 says element type 0x0d, expected 0x08"),
        (with(3, 1), "byte 3 says rank 1, expected 3 or 4"),
        (with(3, 255), "byte 3 says rank 255, expected 3 or 4"),
        (valid[..9].to_vec(), "the list of dimensions ends after 5 of 12 bytes"),
        (idx(&[0, 1, 2], &[]), "dimension 0 is 0, expected at least 1"),
        (idx(&[1, 1, 2, 0], &[]), "dimension 3 is 0, expected at least 1"),
        (idx(&[1 << 31, 28, 28], &[7]), "announces 2147483648x28x28 bytes, the limit is 1073741824"),
        (idx(&[(1 << 30) + 1, 1, 1], &[7]), "announces 1073741825x1x1 bytes, the limit is 1073741824"),
        (
            idx(&[u32::MAX; 4], &[]),
            "announces 4294967295x4294967295x4294967295x4294967295 bytes, the limit is 1073741824",
        ),
        (idx(&[2, 1, 2], &[1, 2, 3]), "the body ends after 3 of 4 bytes"),
        (idx(&[1 << 30, 1, 1], &[1, 2, 3]), "the body ends after 3 of 1073741824 bytes"),
        (idx(&[2, 1, 2], &[1, 2, 3, 4, 5]), "goes on after a body of 4 bytes"),
        (gzip(&idx(&[1, 1, 1], &[0; 1000])), "goes on after a body of 1 bytes"),
        (gzip(&valid[..17]), "the body ends after 1 of 4 bytes"),
        (vec![0x1f, 0x8b], "broken gzip: unexpected end of file"),
        (packed[..packed.len() - 1].to_vec(), "broken gzip: unexpected end of file"),
        (wrong_checksum, "broken gzip: corrupt gzip stream does not have a matching checksum"),
        ([&packed[..], b"rubbish, not gzip"].concat(), "broken gzip: invalid gzip header"),
    ];
    for (file, problem) in table {
        assert_eq!(message(images_from("sevens", &file[..])), format!("sevens: {problem}"));
    }
}

#[test]
fn malformed_labels_are_told_apart() {
    let table = [
        (idx(&[1, 1, 1], &[7]), "byte 3 says rank 3, expected 1"),
        (idx(&[0], &[]), "dimension 0 is 0, expected at least 1"),
        (idx(&[u32::MAX], &[7]), "announces 4294967295 bytes, the limit is 1073741824"),
        (idx(&[2], &[7]), "the body ends after 1 of 2 bytes"),
        (idx(&[1], &[7, 7]), "goes on after a body of 1 bytes"),
    ];
    for (file, problem) in table {
        assert_eq!(message(labels_from("digits", &file[..])), format!("digits: {problem}"));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    assert_eq!(message(read_images(MNIST)), "MNIST: is a directory, expected a file");
    let missing = read_labels(Path::new(MNIST).join("nothing"));
    assert!(matches!(&missing, Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound));
    assert!(message(missing).starts_with("MNIST/nothing: "));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    assert_eq!(message(images_from("disk", Broken)), "disk: the disk is on fire");
    let breaks_later = io::Cursor::new(idx(&[1, 1, 2], &[7])).chain(Broken);
    assert_eq!(message(images_from("disk", breaks_later)), "disk: the disk is on fire");
}

#[test]
fn one_byte_beyond_the_body_is_read() {
    let mut rest = io::repeat(0).take(1000);
    let endless = io::Cursor::new(idx(&[2], &[7, 7])).chain(&mut rest);
    assert_eq!(message(labels_from("endless", endless)), "endless: goes on after a body of 2 bytes");
    assert_eq!(rest.limit(), 999);
}

#[test]
fn several_gzip_members_are_one_file() {
    let file = idx(&[4], &[1, 2, 3, 4]);
    let members = [gzip(&file[..6]), gzip(&file[6..])].concat();
    assert_eq!(labels_from("two members", &members[..]).unwrap(), [1, 2, 3, 4]);
}

/// A reader that gives one byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(1);
        self.0.read(&mut buf[..len])
    }
}

proptest! {
    #[test]
    fn plain_and_packed_files_are_equal(
        (dims, pixels) in prop::collection::vec(1u32..12, 3..=4).prop_flat_map(|dims| {
            let len = dims.iter().product::<u32>() as usize;
            (Just(dims), prop::collection::vec(any::<u8>(), len))
        })
    ) {
        let plain = idx(&dims, &pixels);
        let packed = gzip(&plain);
        let [count, h, w, c] = [0, 1, 2, 3].map(|i| dims.get(i).map_or(1, |&size| size as usize));
        let expected = Images { shape: Shape::hwc(h, w, c), count, pixels };
        for file in [plain, packed] {
            prop_assert_eq!(&images_from("whole", &file[..]).unwrap(), &expected);
            prop_assert_eq!(&images_from("trickling", Trickle(&file)).unwrap(), &expected);
        }
    }
}

#[test]
fn directories_may_mix_plain_and_packed() {
    let mut files = tiny();
    let plain = mnist::load(directory("plain", &files)).unwrap();
    files[0] = ("train-images-idx3-ubyte.gz", gzip(&files[0].1));
    files[3] = ("t10k-labels-idx1-ubyte.gz", gzip(&files[3].1));
    let mixed = directory("mixed", &files);
    fs::create_dir(mixed.join(TRAIN_IMAGES)).unwrap();
    let mixed = mnist::load(mixed).unwrap();
    for (plain, mixed) in [(&plain.0, &mixed.0), (&plain.1, &mixed.1)] {
        assert_eq!((bytes(plain), plain.labels(), plain.shape()), (bytes(mixed), mixed.labels(), mixed.shape()));
    }
    assert_eq!((bytes(&plain.0), plain.0.labels()), (&[1, 2, 3, 4][..], &[3, 1][..]));
}

#[test]
fn classes_are_ten_unless_more_are_needed_or_asked_for() {
    let dir = directory("few", &tiny());
    assert_eq!(mnist::load(&dir).unwrap().1.classes(), 10);
    assert_eq!(mnist::load_classes(&dir, 12).unwrap().0.classes(), 12);
    assert_eq!(tiny_but("many", TRAIN_LABELS, idx(&[2], &[46, 1])).unwrap().1.classes(), 47);
    assert_eq!(
        message(mnist::load_classes(&dir, 3)),
        "TMP/few/train-labels-idx1-ubyte: label 0 is 3, but there are 3 classes"
    );
    assert_eq!(
        message(mnist::load_classes(&dir, 0)),
        "TMP/few/train-labels-idx1-ubyte: classes must be at least 1, got 0"
    );
}

#[test]
fn directories_that_do_not_fit_together_are_errors() {
    assert_eq!(
        message(mnist::load(directory("empty", &[]))),
        "TMP/empty: holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"
    );
    assert_eq!(
        message(mnist::load(directory("partial", &tiny()[..3]))),
        "TMP/partial: holds neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"
    );
    assert_eq!(
        message(mnist::load(Path::new(MNIST).join("README.md"))),
        "MNIST/README.md: is not a directory, expected one with train-images-idx3-ubyte"
    );
    assert_eq!(
        message(tiny_but("count", TEST_LABELS, idx(&[3], &[1, 2, 3]))),
        "TMP/count/t10k-labels-idx1-ubyte: 3 labels for the 1 images of TMP/count/t10k-images-idx3-ubyte"
    );
    assert_eq!(
        message(tiny_but("label", TEST_LABELS, idx(&[1], &[10]))),
        "TMP/label/t10k-labels-idx1-ubyte: label 0 is 10, but there are 10 classes"
    );
    assert_eq!(
        message(tiny_but("shape", TEST_IMAGES, idx(&[1, 2, 1], &[5, 6]))),
        "TMP/shape/t10k-images-idx3-ubyte: images of 2x1x1, but those of TMP/shape/train-images-idx3-ubyte are 1x2x1"
    );
    assert_eq!(
        message(tiny_but("body", TRAIN_IMAGES, idx(&[2, 1, 2], &[1]))),
        "TMP/body/train-images-idx3-ubyte: the body ends after 1 of 4 bytes"
    );
}

#[test]
fn datasets_that_do_not_add_up_are_errors() {
    let pair = Shape::hwc(1, 2, 1);
    let from = |shape, pixels: usize, labels: &[u32], classes| {
        let whole = message(Dataset::from_u8(shape, vec![0; pixels], labels.to_vec(), classes));
        assert_eq!(whole, message(Dataset::from_f32(shape, vec![0.0; pixels], labels.to_vec(), classes)));
        whole
    };
    assert_eq!(from(pair, 0, &[], 2), "samples must be at least 1, got 0");
    assert_eq!(from(pair, 3, &[0], 2), "pixels: 3 values are not whole samples of 1x2x1");
    assert_eq!(from(pair, 4, &[0], 2), "labels: expected 2, got 1");
    assert_eq!(from(pair, 4, &[0, 2], 2), "label 1 is 2, but there are 2 classes");
    assert_eq!(from(pair, 4, &[0, 0], 0), "classes must be at least 1, got 0");
    assert_eq!(from(Shape::flat(0), 4, &[0], 2), "feature vector must be at least 1, got 0");
    assert_eq!(from(Shape::hwc(usize::MAX, 2, 1), 4, &[0], 2), "the size of the image overflows the address space");
}

#[test]
fn parts_keep_samples_and_labels_together() {
    let data = Dataset::from_f32(Shape::flat(2), (0..6).map(|x| x as f32).collect(), vec![2, 0, 1], 3).unwrap();
    let parts = |data: &Dataset| match data.pixels() {
        Pixels::F32(values) => (values.to_vec(), data.labels().to_vec()),
        Pixels::U8 { .. } => panic!("expected f32"),
    };
    let (head, tail) = data.split(1).unwrap();
    assert_eq!(parts(&head), (vec![0.0, 1.0], vec![2]));
    assert_eq!(parts(&tail), (vec![2.0, 3.0, 4.0, 5.0], vec![0, 1]));
    assert_eq!(parts(&data.take(1).unwrap()), parts(&head));
    assert_eq!(parts(&data.take(3).unwrap()), parts(&data));
    assert_eq!((tail.classes(), tail.shape()), (3, Shape::flat(2)));
    assert_eq!(message(data.take(0)), "take: cannot be 0 with 3 samples");
    assert_eq!(message(data.take(4)), "take: cannot be 4 with 3 samples");
    assert_eq!(message(data.split(3)), "split: cannot be 3 with 3 samples");
    assert_eq!(message(head.split(1)), "split: cannot be 1 with 1 samples");
}

#[test]
fn one_hot_rows_follow_the_indices() {
    let data = Dataset::from_u8(Shape::flat(1), vec![0; 3], vec![2, 0, 1], 3).unwrap();
    assert_eq!(data.one_hot(&[1, 0, 1]).unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!(message(data.one_hot(&[0, 3])), "index: must be below the 3 samples, got 3");
    assert_eq!(message(data.one_hot(&[])), "one-hot labels must be at least 1, got 0");
    let classes = usize::MAX / 8;
    let wide = Dataset::from_u8(Shape::flat(1), vec![0], vec![0], classes).unwrap();
    assert_eq!(message(wide.one_hot(&[0; 9])), "the size of the one-hot labels overflows the address space");
}

#[test]
fn bytes_are_scaled_as_they_are_loaded() {
    let data = Dataset::from_u8(Shape::flat(2), vec![9, 9, 0, 255], vec![0, 0], 1).unwrap();
    let mut x = [0.5; 2];
    data.pixels().load(Level::best(), 1, &mut x);
    assert_eq!(x, [0.0, 1.0]);
}
