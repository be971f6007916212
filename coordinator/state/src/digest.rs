//! A digest of the whole state that every change updates in constant time.
//!
//! It is the sum of the hashes of all records, so it does not depend on the order in which they
//! were written, and a put or delete only adds or takes away its own. Two nodes with equal digests
//! at the same index hold the same state; the converse of a cryptographic proof is not needed,
//! because members trust each other and only accidents have to be found.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::change::Write;
use crate::table::Index;

/// The digest of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest(pub u64, pub u64);

impl Digest {
    /// Adds a record's hash.
    pub(crate) fn add(&mut self, hash: u128) {
        self.set(self.value().wrapping_add(hash));
    }

    /// Takes a record's hash away.
    pub(crate) fn take(&mut self, hash: u128) {
        self.set(self.value().wrapping_sub(hash));
    }

    fn value(self) -> u128 {
        (u128::from(self.0) << 64) | u128::from(self.1)
    }

    fn set(&mut self, value: u128) {
        *self = Self((value >> 64) as u64, value as u64);
    }
}

/// The hash of one record.
pub(crate) fn hash(version: Index, write: &Write) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&[write.table]);
    hasher.update(&(write.key.len() as u32).to_le_bytes());
    hasher.update(&write.key);
    hasher.update(&version.0.to_le_bytes());
    hasher.update(write.value.as_deref().unwrap_or_default());
    hasher.digest128()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}
