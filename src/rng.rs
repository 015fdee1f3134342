//! A small, seeded random generator: the same numbers on every platform.

/// The seed of everything random in a model or a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// SplitMix64: 64 bits of state, one addition and two multiplications a number.
///
/// # Source
/// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The generator of one `stream` of a seed; different streams are independent.
    pub fn new(seed: Seed, stream: u64) -> Self {
        let stream = Rng(seed.0).next_u64().wrapping_add(stream);
        Rng(Rng(stream).next_u64())
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform number of `0..bound`, by multiplication with rejection (Lemire 2019), so without bias.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "bound must be at least 1");
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let low = product as u64;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform number of `[-limit, limit)` in steps of `limit / 2^23`.
    pub fn symmetric(&mut self, limit: f32) -> f32 {
        let unit = (self.next_u64() >> 40) as f32 / (1u32 << 23) as f32;
        (unit - 1.0) * limit
    }

    /// Puts `items` into a uniformly random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_sequence() {
        let mut rng = Rng(1234567);
        let got: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(got, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn below_reaches_every_value_about_equally() {
        let mut rng = Rng::new(Seed(1), 0);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[rng.below(7) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn seeds_and_streams_are_not_interchangeable() {
        let first = |seed, stream| Rng::new(Seed(seed), stream).next_u64();
        let all: std::collections::HashSet<u64> = (0..100).flat_map(|s| (0..100).map(move |t| first(s, t))).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn shuffle_permutes() {
        let mut items: Vec<u32> = (0..1000).collect();
        Rng::new(Seed(2), 0).shuffle(&mut items);
        assert_ne!(items[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..1000));
    }
}
