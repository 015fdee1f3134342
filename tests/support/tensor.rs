//! Buffers that notice who writes beside them.

use std::ops::{Deref, DerefMut};

use convlane::rng::Rng;

/// Numbers on each side of a tensor. They are NaN, so that whoever reads them is found out as well.
const CANARIES: usize = 64;
const CANARY: u32 = 0x7fc0_beef;

/// What outputs hold before a kernel overwrites them: a NaN that no input has, so that it is found if it is left or read.
const UNWRITTEN: u32 = 0x7fc0_feed;

/// What parameter gradients hold before a kernel adds to them.
pub const START: f32 = 3.0;

/// Numbers between canaries, which are checked when the tensor is dropped.
#[derive(Clone)]
pub struct Tensor(Vec<f32>);

impl Tensor {
    pub fn filled(len: usize, value: f32) -> Self {
        Self::collect(std::iter::repeat_n(value, len))
    }

    pub fn collect(values: impl IntoIterator<Item = f32>) -> Self {
        let canaries = || std::iter::repeat_n(f32::from_bits(CANARY), CANARIES);
        Tensor(canaries().chain(values).chain(canaries()).collect())
    }

    /// Whole numbers of `-4..=4`.
    pub fn integers(len: usize, rng: &mut Rng) -> Self {
        Self::collect((0..len).map(|_| rng.below(9) as f32 - 4.0))
    }

    /// Numbers of `-limit..limit`.
    pub fn floats(len: usize, limit: f32, rng: &mut Rng) -> Self {
        Self::collect((0..len).map(|_| rng.symmetric(limit)))
    }

    /// The same numbers in `f64`.
    pub fn wide(&self) -> Vec<f64> {
        self.iter().map(|&x| f64::from(x)).collect()
    }

    /// The numbers and all canaries.
    pub fn whole_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }

    pub fn bits(&self) -> Vec<u32> {
        self.iter().map(|x| x.to_bits()).collect()
    }
}

impl Deref for Tensor {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0[CANARIES..self.0.len() - CANARIES]
    }
}

impl DerefMut for Tensor {
    fn deref_mut(&mut self) -> &mut [f32] {
        let end = self.0.len() - CANARIES;
        &mut self.0[CANARIES..end]
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let (before, after) = (&self.0[..CANARIES], &self.0[self.0.len() - CANARIES..]);
        let intact = before.iter().chain(after).all(|x| x.to_bits() == CANARY);
        assert!(intact || std::thread::panicking(), "a kernel wrote beside its buffer");
    }
}

/// What `kernel` makes of a buffer that it has to overwrite, all of it.
pub fn overwritten(len: usize, kernel: impl FnOnce(&mut [f32])) -> Tensor {
    let tensor = changed(Tensor::filled(len, f32::from_bits(UNWRITTEN)), kernel);
    let written = tensor.iter().all(|x| x.to_bits() != UNWRITTEN);
    assert!(written, "a kernel left a part of its output as it was");
    tensor
}

/// Runs `kernel` with scratch full of NaN.
pub fn with_scratch(len: usize, kernel: impl FnOnce(&mut [f32])) {
    changed(Tensor::filled(len, f32::NAN), kernel);
}

/// What `kernel` makes of buffers full of [`START`], to which it has to add. Where they are full of NaN, it must leave them so.
pub fn added<const N: usize>(lens: [usize; N], kernel: impl Fn([&mut [f32]; N])) -> [Tensor; N] {
    let run = |start| {
        let mut tensors = lens.map(|len| Tensor::filled(len, start));
        kernel(tensors.each_mut().map(|tensor| &mut tensor[..]));
        tensors
    };
    let kept = run(f32::NAN).iter().all(|tensor| tensor.iter().all(|x| x.is_nan()));
    assert!(kept, "a kernel overwrote what it has to add to");
    run(START)
}

/// What `kernel` makes of a copy of `x`.
pub fn in_place(x: &[f32], kernel: impl FnOnce(&mut [f32])) -> Tensor {
    changed(Tensor::collect(x.iter().copied()), kernel)
}

fn changed(mut tensor: Tensor, kernel: impl FnOnce(&mut [f32])) -> Tensor {
    kernel(&mut tensor);
    tensor
}
