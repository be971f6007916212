//! How records lie in sled's one tree.
//!
//! ```text
//!   key 0                        the stamp: version u32, cluster [16], applied index u64, digest
//!   key 1, table u8, record key  a record
//! ```

use bytes::Bytes;

use crate::types::{ClusterId, Index};

use super::{Applied, TableId};

/// The format of everything in the folder. Other formats are rebuilt, not read.
pub(super) const VERSION: u32 = 1;

/// The key of the stamp.
pub(super) const STAMP: &[u8] = &[0];

/// The first byte of every record's key.
pub(super) const RECORDS: u8 = 1;

/// What the records are, and up to where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) version: u32,
    pub(super) cluster: ClusterId,
    pub(super) applied: Applied,
}

impl Stamp {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.applied.index.0.to_le_bytes());
        bytes.extend_from_slice(&self.applied.digest);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (cluster, rest) = rest.split_first_chunk()?;
        let (index, digest) = rest.split_first_chunk()?;
        Some(Self {
            version: u32::from_le_bytes(*version),
            cluster: ClusterId(*cluster),
            applied: Applied {
                index: Index(u64::from_le_bytes(*index)),
                digest: Bytes::copy_from_slice(digest),
            },
        })
    }
}

/// The key of a record.
pub(super) fn record_key(table: TableId, key: &[u8]) -> Vec<u8> {
    [&[RECORDS, table], key].concat()
}

/// Table and key in the key of a record.
pub(super) fn split_key(key: &[u8]) -> Option<(TableId, &[u8])> {
    match key {
        [RECORDS, table, key @ ..] => Some((*table, key)),
        _ => None,
    }
}
