//! In which order an epoch visits the samples.

use std::slice::Chunks;

use crate::error::{Error, Result};
use crate::rng::{Rng, Seed};
use crate::shape::zeros;

/// The stream of a seed's epoch 0, far from the small numbers that other users of the seed count from.
const STREAM: u64 = u64::from_be_bytes(*b"shuffle\0");

/// The indices of all samples, in the order of one epoch.
///
/// ```
/// use convlane::data::Order;
/// use convlane::rng::Seed;
///
/// let mut order = Order::new(5)?;
/// assert_eq!(order.batches(2)?.collect::<Vec<_>>(), [&[0, 1][..], &[2, 3], &[4]]);
/// order.shuffle(Seed(1), 0);
/// assert_eq!(order.batches(2)?.map(<[u32]>::len).collect::<Vec<_>>(), [2, 2, 1]);
/// # Ok::<(), convlane::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    indices: Vec<u32>,
}

impl Order {
    /// The order in which `len` samples are stored.
    ///
    /// # Errors
    /// If `len` is zero or does not fit a `u32`.
    pub fn new(len: usize) -> Result<Self> {
        checked_count(len)?;
        let mut order = Order { indices: zeros("order", len)? };
        order.reset();
        Ok(order)
    }

    /// Becomes the order of an epoch, which depends on the number of samples, the seed and the epoch alone.
    pub fn shuffle(&mut self, seed: Seed, epoch: usize) {
        self.reset();
        Rng::new(seed, STREAM.wrapping_add(epoch as u64)).shuffle(&mut self.indices);
    }

    fn reset(&mut self) {
        for (slot, index) in self.indices.iter_mut().zip(0..) {
            *slot = index;
        }
    }

    /// The indices in batches of `size`, of which the last may be smaller.
    ///
    /// # Errors
    /// If `size` is zero.
    pub fn batches(&self, size: usize) -> Result<Chunks<'_, u32>> {
        self.batches_after(0, size)
    }

    /// The indices after the first `done` in batches of `size`, of which the last may be smaller.
    ///
    /// # Errors
    /// If `size` is zero, or more are done than there are.
    pub fn batches_after(&self, done: usize, size: usize) -> Result<Chunks<'_, u32>> {
        if size == 0 {
            return Err(Error::Zero { what: "batch size" });
        }
        let rest = self.indices.get(done..).ok_or_else(|| {
            let problem = format!("{done} are done in the epoch to be gone on with, of only {}", self.indices.len());
            Error::Setting { name: "samples", problem }
        })?;
        Ok(rest.chunks(size))
    }
}

/// A number of samples, all of which must have a `u32` for an index.
pub(super) fn checked_count(len: usize) -> Result<u32> {
    match u32::try_from(len) {
        Ok(0) => Err(Error::Zero { what: "samples" }),
        Ok(count) => Ok(count),
        Err(_) => {
            Err(Error::Setting { name: "samples", problem: format!("at most {} are taken, got {len}", u32::MAX) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(len: usize, seed: u64, epoch: usize) -> Vec<u32> {
        let mut order = Order::new(len).unwrap();
        order.shuffle(Seed(seed), epoch);
        order.indices
    }

    #[test]
    fn an_epoch_does_not_depend_on_those_before() {
        let mut order = Order::new(100).unwrap();
        for epoch in [3, 0, 7, 3] {
            order.shuffle(Seed(1), epoch);
            assert_eq!(order.indices, shuffled(100, 1, epoch));
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_permute() {
        let orders = [shuffled(100, 1, 0), shuffled(100, 1, 1), shuffled(100, 2, 0), shuffled(100, 1, usize::MAX)];
        for (i, order) in orders.iter().enumerate() {
            assert!(!orders[..i].contains(order));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
    }

    #[test]
    fn the_order_is_the_same_on_every_platform() {
        assert_eq!(shuffled(10, 1, 0), [8, 6, 1, 0, 7, 4, 2, 5, 3, 9]);
    }

    #[test]
    fn batches_end_with_the_rest() {
        let order = Order::new(7).unwrap();
        let sizes = |size| order.batches(size).unwrap().map(<[u32]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(3), [3, 3, 1]);
        assert_eq!(sizes(7), [7]);
        assert_eq!(sizes(usize::MAX), [7]);
    }

    #[test]
    fn batches_after_some_are_those_that_were_left() {
        let order = Order::new(7).unwrap();
        let whole: Vec<_> = order.batches(3).unwrap().collect();
        for done in 0..=3 {
            let rest = order.batches_after((done * 3).min(7), 3).unwrap();
            assert!(rest.eq(whole[done..].iter().copied()), "{done}");
        }
        let message = order.batches_after(8, 3).unwrap_err().to_string();
        assert_eq!(message, "samples: 8 are done in the epoch to be gone on with, of only 7");
    }

    #[test]
    fn bad_sizes_are_errors() {
        let message = |len| Order::new(len).unwrap_err().to_string();
        assert_eq!(message(0), "samples must be at least 1, got 0");
        #[cfg(target_pointer_width = "64")]
        assert_eq!(message(1 << 32), "samples: at most 4294967295 are taken, got 4294967296");
        assert_eq!(Order::new(1).unwrap().batches(0).unwrap_err().to_string(), "batch size must be at least 1, got 0");
    }
}
