//! Numbers to compute with: random ones, and MNIST.

use std::fs::File;
use std::io::{self, Read};

use flate2::read::GzDecoder;

use crate::root;

pub const BATCH: usize = 256;

/// An endless sequence of 24 random bits each.
fn bits(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    })
}

/// Numbers between -1 and 1, the same every time.
pub fn random(len: usize) -> Vec<f32> {
    bits(1).map(|bits| bits as f32 / (1 << 23) as f32 - 1.0).take(len).collect()
}

/// The numbers below `len` in another order for each seed.
pub fn shuffled(len: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).collect();
    for (last, bits) in (1..order.len()).rev().zip(bits(seed)) {
        order.swap(last, bits as usize % (last + 1));
    }
    order
}

/// The training images of MNIST, `[60000][28][28]` between 0 and 1, and their labels.
pub fn mnist() -> io::Result<(Vec<f32>, Vec<u8>)> {
    let read = |name: &str, header: usize| {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(root().join("tests/data/mnist").join(name))?).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes.split_off(header))
    };
    let images = read("train-images-idx3-ubyte.gz", 16)?;
    Ok((images.into_iter().map(|byte| f32::from(byte) / 255.0).collect(), read("train-labels-idx1-ubyte.gz", 8)?))
}
