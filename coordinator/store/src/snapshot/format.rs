//! The bytes of a snapshot file, little endian.
//!
//! ```text
//!   head    "MUSTRSNP"  version u32  crc32 u32  cluster [16]  index u64  term u64  meta length u32  meta
//!   chunk   length u32 > 0  crc32 u32  data
//!   end     length u32 = 0  crc32 u32  total u64  crc32 of all data u32
//! ```
//!
//! The head's CRC is over the head without it, and the meta; a chunk's over its number and its data;
//! the end's over its last two fields. Magic and version keep their places in every future format.

use std::path::Path;

use bytes::Bytes;

use crate::error::Error;
use crate::snapshot::SnapshotMeta;
use crate::types::{ClusterId, Index, Position, Term};

/// The newest format that this program reads, and the one it writes.
pub(super) const VERSION: u32 = 1;

/// Length of the head without its meta.
pub(super) const HEAD: usize = 52;

/// The most state in one chunk.
pub(super) const CHUNK: usize = 256 << 10;

/// The largest meta.
pub(super) const MAX_META: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"MUSTRSNP";

pub(super) fn head(cluster: ClusterId, meta: &SnapshotMeta) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&cluster.0);
    bytes.extend_from_slice(&meta.at.index.0.to_le_bytes());
    bytes.extend_from_slice(&meta.at.term.0.to_le_bytes());
    bytes.extend_from_slice(&(meta.meta.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&meta.meta);
    let crc = crc32fast::hash(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the fixed part of a head: where the snapshot stands, and the length of its meta.
pub(super) fn read_head(
    file: &Path,
    head: &[u8; HEAD],
    cluster: ClusterId,
) -> Result<(Position, usize), Error> {
    let damaged = |what| Error::DamagedSnapshot { file: file.to_owned(), what };
    if head[..8] != MAGIC {
        return Err(damaged("this is not a snapshot"));
    }
    let u32_at = |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("in the head"));
    let u64_at = |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("in the head"));
    let found = u32_at(8);
    if found > VERSION {
        return Err(Error::NewerFormat { file: file.to_owned(), found, supported: VERSION });
    }
    let length = u32_at(48) as usize;
    if found == 0 || length > MAX_META {
        return Err(damaged("its head does not make sense"));
    }
    let found = ClusterId(*head[16..].first_chunk().expect("in the head"));
    if found != cluster {
        return Err(Error::WrongCluster { file: file.to_owned(), found, expected: cluster });
    }
    Ok((Position::new(Index(u64_at(32)), Term(u64_at(40))), length))
}

/// Checks the head's CRC, which also covers the meta.
pub(super) fn head_is_whole(head: &[u8; HEAD], meta: &Bytes) -> bool {
    let mut without_crc = *head;
    without_crc[12..16].fill(0);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&without_crc);
    hasher.update(meta);
    head[12..16] == hasher.finalize().to_le_bytes()
}

pub(super) fn chunk_crc(number: u64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

pub(super) fn end(total: u64, crc: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[8..16].copy_from_slice(&total.to_le_bytes());
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    let own = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&own.to_le_bytes());
    bytes
}
