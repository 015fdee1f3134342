//! Files that are not what they should be: an error, or what they say, and memory within bounds. In a binary of its own for
//! the sake of its allocator.

#[path = "support/cases.rs"]
#[allow(dead_code)]
mod cases;
mod files;
mod idx;

use std::path::Path;
use std::time::Instant;
use std::{fs, thread};

use cases::cases;
use convlane::checkpoint::Position;
use convlane::io::checkpoint;
use convlane::io::safetensors::{Format, load_from};
use convlane::prelude::*;
use convlane::rng::Rng;
use files::heap::measured;
use files::picture::Largest;
use files::{Named, mend};
use idx::{gzip, idx};

/// A number of `0..bound`.
fn below(rng: &mut Rng, bound: usize) -> usize {
    rng.below(bound as u64) as usize
}

/// A place in so many bytes, half of the time in the first of them, where headers are.
fn place(rng: &mut Rng, len: usize) -> usize {
    let within = if rng.below(2) == 0 { len.min(32) } else { len };
    below(rng, within.max(1)).min(len)
}

/// A sound file after one to four changes.
fn mutant(rng: &mut Rng, sound: &[Vec<u8>]) -> Vec<u8> {
    let mut file = sound[below(rng, sound.len())].clone();
    for _ in 0..=below(rng, 4) {
        let other = &sound[below(rng, sound.len())];
        change(rng, &mut file, other);
    }
    file
}

/// Changes a file somewhere, perhaps to go on as another does.
fn change(rng: &mut Rng, file: &mut Vec<u8>, other: &[u8]) {
    let at = place(rng, file.len());
    let end = file.len().min(at + 1 + below(rng, 40));
    match below(rng, 9) {
        0 => file.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << rng.below(8)),
        1 => overwrite(file, at, &[rng.below(256) as u8]),
        2 => overwrite(file, at, &extreme(rng)),
        3 => rewrite_number(rng, file, at),
        4 => file.truncate(at),
        5 => file.extend((at..end).map(|_| rng.below(256) as u8)),
        6 => _ = file.drain(at..end),
        7 => _ = file.splice(at..at, file[at..end].to_vec()),
        _ => _ = file.splice(at.., other[place(rng, other.len())..].iter().copied()),
    }
}

fn overwrite(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..].iter_mut().zip(bytes).for_each(|(byte, &new)| *byte = new);
}

/// A number of 1, 2, 4 or 8 bytes, in either order of them, that is a power of two or beside one.
fn extreme(rng: &mut Rng) -> Vec<u8> {
    let width = 1 << below(rng, 4);
    let bit = 1u64 << below(rng, 8 * width);
    let number = [bit, bit - 1, bit.wrapping_neg(), u64::MAX][below(rng, 4)];
    let mut bytes = number.to_le_bytes()[..width].to_vec();
    if rng.below(2) == 0 {
        bytes.reverse();
    }
    bytes
}

/// Another number in the place of the first in figures after `at`.
fn rewrite_number(rng: &mut Rng, file: &mut Vec<u8>, at: usize) {
    const NUMBERS: [&str; 13] = [
        "0",
        "1",
        "2",
        "-1",
        "1.5",
        "1e400",
        "NaN",
        "inf",
        "none",
        "65536",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
    ];
    let Some(start) = file[at..].iter().position(u8::is_ascii_digit).map(|first| at + first) else { return };
    let len = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    file.splice(start..start + len, NUMBERS[below(rng, NUMBERS.len())].bytes());
}

/// Shows the file at fault if a test panics.
struct Shown<'a>(&'a str, usize, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} {}: {:?}", self.0, self.1, self.2.escape_ascii().to_string());
        }
    }
}

/// Says whether a file is read, and checks what it then gives.
type Reader = fn(&[u8]) -> bool;

/// Hands so many mutants to `is_read`, every other one mended.
fn all(what: &str, count: usize, sound: Vec<Named>, mend: fn(Vec<u8>) -> Vec<u8>, is_read: Reader) {
    let (start, mut read) = (Instant::now(), 0);
    let sound: Vec<Vec<u8>> = sound.into_iter().map(|(_, file)| file).collect();
    sound.iter().for_each(|file| assert!(is_read(file), "{what}: a sound file is not read"));
    for number in 0..count {
        let file = mutant(&mut Rng::new(Seed(number as u64), 0), &sound);
        let file = if number % 2 == 0 { file } else { mend(file) };
        let _shown = Shown(what, number, &file);
        read += usize::from(is_read(&file));
    }
    println!("{what}: {read} of {count} read, in {:.1} s", start.elapsed().as_secs_f64());
    assert!(read > 0 && read < count, "{what}: {read} of {count} are read");
}

/// What the fuzz targets start from is still what it was when it was saved; packages come without it.
#[test]
fn corpora_are_sound() {
    let corpora: [(&str, Reader); 3] = [
        ("safetensors", files::weights::is_read),
        ("checkpoint", files::checkpoint::is_read),
        ("picture", files::picture::is_read),
    ];
    for (name, is_read) in corpora {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        for file in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            assert!(file.extension().is_none() || is_read(&fs::read(&file).unwrap()), "{}", file.display());
        }
    }
}

/// Of 100 parts of the mutants, so many.
fn percent(parts: usize) -> usize {
    parts * cases(1_000, 10_000)
}

fn sound_idx() -> Vec<Named> {
    let files = [
        ("images", idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8])),
        ("colour", idx(&[1, 2, 1, 3], &[1, 2, 3, 4, 5, 6])),
        ("labels", idx(&[5], &[5, 0, 4, 1, 9])),
    ];
    files.into()
}

#[test]
fn idx_files() {
    all("idx", percent(25), sound_idx(), |file| file, files::idx::is_read);
}

/// Packed files that were changed, and packed ones of files that were.
#[test]
fn gzip_files() {
    let packed = sound_idx().into_iter().map(|(name, file)| (name, gzip(&file)));
    all("gzip, changed packed", percent(20), packed.collect(), |file| file, files::idx::is_read);
    all("gzip, changed unpacked", percent(5), sound_idx(), |file| gzip(&file), files::idx::is_read);
}

#[test]
fn weights() {
    all("weights", percent(20), files::weights::sound(), mend::header, files::weights::is_read);
}

#[test]
fn checkpoints() {
    let mend = |file| mend::checksum(mend::header(file));
    all("checkpoints", percent(20), files::checkpoint::sound(), mend, files::checkpoint::is_read);
}

#[test]
fn pictures() {
    all("PNG", percent(5), files::picture::png(), mend::chunks, files::picture::is_read);
    all("JPEG", percent(5), files::picture::jpeg(), |file| file, files::picture::is_read);
}

/// A header of this length with as many repetitions of `unit` as fit between `start` and `end`, as a safetensors file.
fn stuffed(len: usize, [start, unit, end]: [&str; 3]) -> Vec<u8> {
    let mut header = start.to_owned();
    while header.len() + unit.len() + end.len() <= len {
        header.push_str(unit);
    }
    header.push_str(end);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file
}

/// Headers that take most memory for their length: long shapes, many tensors, much metadata.
const GREEDY: [[&str; 3]; 4] = [
    [r#"{"a":{"dtype":"F32","shape":["#, "1,", r#"1],"data_offsets":[0,4]}}"#],
    [r#"{"__metadata__":{"":"""#, r#","":"""#, "}}"],
    [r#"{"":0"#, r#","":0"#, "}"],
    [r#"{"a":["#, "[],", "[]]}"],
];

#[test]
fn headers_of_weights_take_what_is_declared() {
    let tensors = 5;
    let longest = (16 << 10) + (1 << 10) * tensors;
    let params = size_of_val(files::weights::MODEL.params());
    for parts in GREEDY {
        let peak = |file: &[u8]| {
            let (result, peak) =
                measured(|| load_from(&mut files::weights::MODEL.clone(), "x", file, &Format::keras()));
            (result.unwrap_err().to_string(), peak)
        };
        let file = stuffed(longest, parts);
        let (error, peak_of_longest) = peak(&file);
        println!("{parts:?}: {peak_of_longest} bytes, {error}");
        assert!(peak_of_longest <= params + 2 * file.len() + 64 * longest, "{parts:?}: {peak_of_longest} bytes");
        let (error, refused) = peak(&stuffed(10_000_000, parts));
        assert!(refused < 25_000_000 && error.contains("the most for the model is 21504"), "{refused} bytes, {error}");
    }
}

/// What the reader of checkpoints says, briefly, of a file with the checksum that it should have, and the memory that takes.
fn checkpoint(file: Vec<u8>) -> (String, usize) {
    let file = mend::checksum(file);
    let (result, peak) = measured(|| checkpoint::load_from(&files::checkpoint::MODEL, "x", &file[..]).map(|_| ()));
    let error = result.err().map_or_else(String::new, |error| error.to_string());
    println!("checkpoint of {} bytes: {peak} bytes, {error}", file.len());
    assert!(error.len() < 200, "{error}");
    assert!(peak <= 3 * size_of_val(files::checkpoint::MODEL.params()) + 2 * file.len() + (16 << 20));
    (error, peak)
}

#[test]
fn headers_of_checkpoints_take_what_is_declared() {
    let (_, sound) = &files::checkpoint::sound()[0];
    let header = String::from_utf8_lossy(sound);
    let text = &header[header.find('{').unwrap()..header.find("\"}").unwrap()];
    let shape = [&format!(r#"{text}"}},"a":{{"dtype":"F32","shape":["#), "1,", r#"1],"data_offsets":[0,4]}}"#];
    checkpoint(stuffed(text.len() + 8_000, shape));
    let (error, peak) = checkpoint(stuffed(2_500_000, shape));
    assert!(error.contains("besides the text") && peak < 6_000_000, "{peak} bytes, {error}");
    for unit in ["\\n", "\\u0041", "x"] {
        checkpoint(stuffed(2_500_000, [text, unit, r#""}}"#]));
    }
    let long = files::checkpoint::checkpoint(Sgd::new(0.1), Position { epochs: 10_000, ..Position::default() });
    assert_eq!(checkpoint(checkpoint::to_bytes(&long).unwrap()).0, "");
}

/// The largest pictures of a bound, and those that leave nothing to show after they took memory for all scans.
#[test]
fn large_pictures_take_what_is_declared() {
    const LARGEST: Largest = Largest { side: 1024, bytes: 1 << 20 };
    for (name, file) in files::picture::large() {
        assert!(files::picture::read(&file, LARGEST).is_some(), "{name}");
        assert!(files::picture::read(&file, Largest { bytes: 1_000_000, ..LARGEST }).is_none(), "{name}");
        if name.ends_with(".jpg") {
            files::picture::read(&files::picture::progressive(file), LARGEST);
        }
    }
}
