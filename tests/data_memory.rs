//! What reading an IDX file costs in memory when the file lies. In a binary of its own for the sake of its allocator.

mod files;
mod idx;

use std::io::Write;

use convlane::data::idx::{Images, images_from};
use convlane::error::Result;
use convlane::shape::Shape;
use files::heap::measured;
use files::idx::read_both;
use flate2::{Compression, write::GzEncoder};
use idx::{gzip, idx};
use proptest::prelude::*;

/// Small files that are as they should be.
fn valid() -> Vec<Vec<u8>> {
    let plain = [
        idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]),
        idx(&[1, 2, 1, 3], &[1, 2, 3, 4, 5, 6]),
        idx(&[5], &[5, 0, 4, 1, 9]),
    ];
    plain.iter().cloned().chain(plain.iter().map(|file| gzip(file))).collect()
}

#[test]
fn the_allocator_counts() {
    let (bytes, peak) = measured(|| {
        drop(vec![1u8; 5000]);
        vec![1u8; 3000]
    });
    assert_eq!((bytes.len(), peak), (3000, 5000));
}

#[test]
fn cut_files_are_refused() {
    for file in valid() {
        for len in 0..file.len() {
            let (images, labels) = read_both(&file[..len]);
            assert!(images.is_err() && labels.is_err(), "{len} of {} bytes", file.len());
        }
    }
}

#[test]
fn any_byte_may_be_anything() {
    for mut file in valid() {
        for at in 0..file.len() {
            let original = file[at];
            for byte in 0..=u8::MAX {
                file[at] = byte;
                _ = read_both(&file);
            }
            file[at] = original;
        }
    }
}

/// A valid file after a few changes, insertions and removals.
fn mutant() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3);
    (prop::sample::select(valid()), prop::collection::vec(edit, 1..8)).prop_map(|(mut file, edits)| {
        for (at, byte, kind) in edits {
            let at = at.index(file.len());
            match kind {
                0 => file.insert(at, byte),
                1 if file.len() > 1 => _ = file.remove(at),
                _ => file[at] = byte,
            }
        }
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn mutants_are_read_or_refused(file in mutant()) {
        _ = read_both(&file);
    }
}

/// Packs `header` and then 50 MB of zeros.
fn bomb(header: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(header).unwrap();
    (0..50).for_each(|_| encoder.write_all(&[0; 1_000_000]).unwrap());
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 60_000);
    packed
}

#[test]
fn a_bomb_is_not_unpacked() {
    let message = |(images, _): (Result<Images>, _)| images.unwrap_err().to_string();
    assert_eq!(message(read_both(&bomb(&idx(&[1, 2, 2], &[])))), "images: goes on after a body of 4 bytes");
    assert_eq!(
        message(read_both(&bomb(&idx(&[1 << 31, 28, 28], &[])))),
        "images: announces 2147483648x28x28 bytes, the limit is 1073741824"
    );
    assert_eq!(message(read_both(&bomb(&[]))), "images: byte 2 says element type 0x00, expected 0x08");
}

#[test]
fn a_header_is_not_believed() {
    for dims in [[1 << 31, 28, 28], [1 << 20, 32, 32], [1, 1 << 15, 1 << 15]] {
        let file = idx(&dims, &[7; 100]);
        for file in [gzip(&file), file] {
            assert!(read_both(&file).0.is_err());
        }
    }
}

#[test]
fn memory_is_at_most_twice_what_arrives() {
    let file = gzip(&idx(&[1 << 10, 1 << 10, 1 << 10], &[0; 5_000_000]));
    let (result, peak) = measured(|| images_from("images", &file[..]));
    assert_eq!(result.unwrap_err().to_string(), "images: the body ends after 5000000 of 1073741824 bytes");
    assert!(peak < 11_000_000, "{peak}");
}

#[test]
fn a_whole_file_takes_no_more_than_it_holds() {
    let file = idx(&[1, 1000, 5000], &[7; 5_000_000]);
    let (images, peak) = measured(|| images_from("images", &file[..]).unwrap());
    assert_eq!((images.shape, images.pixels.capacity()), (Shape::hwc(1000, 5000, 1), 5_000_000));
    assert!(peak < 5_100_000, "{peak}");
}
