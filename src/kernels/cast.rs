//! Pixels as they are stored, and their conversion to the `f32` that kernels compute with.

use std::ops::Range;

use super::check_len;
use crate::shape::batch_len;
use crate::simd::Level;

/// Samples of equal length, one after the other.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// Bytes, each standing for `byte * scale`.
    U8 {
        /// The stored bytes.
        values: &'a [u8],
        /// What one step of a byte is worth: `1 / 255` for pixels of 0 to 1.
        scale: f32,
    },
    /// Numbers as they are.
    F32(&'a [f32]),
}

impl<'a> Pixels<'a> {
    /// Number of stored values.
    pub fn len(&self) -> usize {
        match self {
            Pixels::U8 { values, .. } => values.len(),
            Pixels::F32(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of a range.
    ///
    /// # Panics
    /// If it reaches past the end.
    pub fn slice(&self, range: Range<usize>) -> Pixels<'a> {
        match *self {
            Pixels::U8 { values, scale } => Pixels::U8 { values: &values[range], scale },
            Pixels::F32(values) => Pixels::F32(&values[range]),
        }
    }

    /// Writes sample `index` to `x`, whose length is that of a sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn load(&self, level: Level, index: usize, x: &mut [f32]) {
        let start = batch_len(index, x.len());
        match self.slice(start..start + x.len()) {
            Pixels::U8 { values, scale } => scale_u8(level, scale, values, x),
            Pixels::F32(values) => x.copy_from_slice(values),
        }
    }
}

/// `y = x * scale` for bytes `x`.
///
/// # Panics
/// If the lengths differ.
pub fn scale_u8(level: Level, scale: f32, x: &[u8], y: &mut [f32]) {
    check_len!(y, x.len());
    crate::simd::dispatch!(level, _s => {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f32::from(x) * scale;
        }
    })
}
