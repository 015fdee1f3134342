//! Memory in which vectors do not straddle cache lines.

use std::ops::{Deref, DerefMut};

use crate::error::Result;
use crate::shape::zeros;

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;

/// Floats that finding a boundary may cost.
const SLACK: usize = LINE / size_of::<f32>() - 1;

/// Floats on a line's boundary, zero at first.
#[derive(Debug)]
pub(super) struct Memory {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Memory {
    pub fn new(len: usize) -> Result<Self> {
        let values: Vec<f32> = zeros("memory of a worker", len + SLACK)?;
        let start = values.as_ptr().align_offset(LINE);
        Ok(Memory { values, start, len })
    }

    /// Bytes that so many floats take up.
    pub fn bytes(len: usize) -> usize {
        (len + SLACK) * size_of::<f32>()
    }
}

impl Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.len]
    }
}
