//! Tables: ordered maps whose entries know the Raft index that wrote them.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::ops::RangeBounds;

use serde::{Deserialize, Serialize};

/// A Raft log index. The one that last wrote a record is its resource version.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number by which a table is known on disk and in the log; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId(pub u8);

/// A record and the index that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row<V> {
    version: Index,
    hash: u128,
    value: V,
}

/// Records of one type by key, in the order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
}

impl<K: Ord, V> Table<K, V> {
    /// The record of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|row| &row.value)
    }

    /// The index that last wrote a key's record.
    #[must_use]
    pub fn version(&self, key: &K) -> Option<Index> {
        self.rows.get(key).map(|row| row.version)
    }

    /// All records in the order of keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    /// The records of a range of keys, in order.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range).map(|(key, row)| (key, &row.value))
    }

    /// All records with the indices that wrote them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&K, Index, &V)> {
        self.rows.iter().map(|(key, row)| (key, row.version, &row.value))
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes a record and gives back what stood there with its hash.
    pub(crate) fn put(
        &mut self,
        key: K,
        (version, hash): (Index, u128),
        value: V,
    ) -> Option<(u128, V)> {
        self.rows.insert(key, Row { version, hash, value }).map(|row| (row.hash, row.value))
    }

    /// Removes a record and gives it back with its hash.
    pub(crate) fn remove(&mut self, key: &K) -> Option<(u128, V)> {
        self.rows.remove(key).map(|row| (row.hash, row.value))
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: btree_map::BTreeMap::new() }
    }
}
