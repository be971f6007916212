//! Seeded randomness: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
//!
//! Every kind of fault draws from a stream of its own, so that another kind does not reshuffle what old seeds do.

use std::hash::Hasher;

use crate::time::Span;

/// A stream of numbers that depends on its seed and its name alone.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of this name.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut hash = Fold(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        hash.write(name.as_bytes());
        Self(hash.finish())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// A span in `low..=high`.
    pub(crate) fn span(&mut self, low: Span, high: Span) -> Span {
        Span(self.between(low.0, high.0))
    }

    /// True so many times in ten thousand.
    pub(crate) fn hits(&mut self, of_ten_thousand: u64) -> bool {
        self.next() % 10_000 < of_ten_thousand
    }

    /// One of the items.
    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let index = self.next() as usize;
        (!items.is_empty()).then(|| items[index % items.len()].clone())
    }
}

/// A hash that is the same in every process: what traces are compared by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ chunk.len() as u64);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ value);
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
