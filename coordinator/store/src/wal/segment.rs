//! The head of a segment file.
//!
//! ```text
//!   0            8         12       16           32        40     48         56             64
//!   +------------+---------+--------+------------+---------+------+----------+--------------+
//!   | "MUSTRWAL" | version | crc32  | cluster id | segment | salt | capacity | first batch  |
//!   |            |         |        |            | number  |      | in bytes | number       |
//!   +------------+---------+--------+------------+---------+------+----------+--------------+
//! ```
//!
//! Version and magic keep their places in every future format, so that an old program can refuse a
//! new file politely.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::types::ClusterId;

/// Length of the head in bytes; the first frame follows it.
pub(crate) const HEAD: usize = 64;

/// The newest format that this program reads, and the one it writes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"MUSTRWAL";
const SUFFIX: &str = "wal";

/// What stands in a segment's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) cluster: ClusterId,
    /// Numbers the segments of a log, from 1 without gaps.
    pub(crate) number: u64,
    /// Goes into the CRC of each frame.
    pub(crate) salt: u64,
    /// The size of the file.
    pub(crate) capacity: u64,
    /// The number that the first batch in this segment has.
    pub(crate) first_batch: u64,
}

// === impl Head ===

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.cluster.0);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.salt.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.capacity.to_le_bytes());
        bytes[56..].copy_from_slice(&self.first_batch.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head of the segment `file`, of which `bytes` is the content.
    pub(crate) fn read(file: &Path, bytes: &[u8], cluster: ClusterId) -> Result<Self, Error> {
        let damaged = |offset, what: &str| Error::Damaged {
            file: file.to_owned(),
            offset,
            what: what.into(),
        };
        let head: &[u8; HEAD] =
            bytes.first_chunk().ok_or_else(|| damaged(0, "the file is cut short"))?;
        if head[..8] != MAGIC {
            return Err(damaged(0, "this is not the head of a segment"));
        }
        let u32_at =
            |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("in the head"));
        let u64_at =
            |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("in the head"));
        if u32_at(8) > VERSION {
            let (found, supported) = (u32_at(8), VERSION);
            return Err(Error::NewerFormat { file: file.to_owned(), found, supported });
        }
        let mut without_crc = *head;
        without_crc[12..16].fill(0);
        if u32_at(8) == 0 || crc32fast::hash(&without_crc) != u32_at(12) {
            return Err(damaged(8, "the head of the segment does not match its checksum"));
        }
        let found = ClusterId(*head[16..].first_chunk().expect("in the head"));
        if found != cluster {
            return Err(Error::WrongCluster { file: file.to_owned(), found, expected: cluster });
        }
        Ok(Self {
            cluster,
            number: u64_at(32),
            salt: u64_at(40),
            capacity: u64_at(48),
            first_batch: u64_at(56),
        })
    }
}

/// The file of a segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.{SUFFIX}"))
}

/// The segment number in a file's name, if it is a segment.
pub(crate) fn number(path: &Path) -> Option<u64> {
    if path.extension()? != SUFFIX {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    (stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| stem.parse().ok())?
}

/// A number that nobody can foresee. The standard library seeds its hash maps from the system's
/// random numbers, which spares a dependency.
pub(crate) fn salt() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "0000000000000003.wal";

    fn head() -> Head {
        let cluster = ClusterId([7; 16]);
        Head { cluster, number: 3, salt: 99, capacity: 4096, first_batch: 12 }
    }

    fn read(bytes: &[u8]) -> Result<Head, Error> {
        Head::read(Path::new(FILE), bytes, ClusterId([7; 16]))
    }

    #[test]
    fn a_head_reads_back_and_any_flipped_bit_is_refused() {
        let bytes = head().to_bytes();
        assert_eq!(read(&bytes).ok(), Some(head()));
        for bit in 0..HEAD * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
        assert!(matches!(read(&bytes[..63]), Err(Error::Damaged { offset: 0, .. })));
    }

    #[test]
    fn a_newer_format_and_another_cluster_are_refused_in_words() {
        let mut newer = head().to_bytes();
        newer[8] = 2;
        let error = read(&newer).expect_err("newer");
        assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }));
        assert!(error.to_string().contains("start it with the newer version"), "{error}");
        let other = Head { cluster: ClusterId([8; 16]), ..head() }.to_bytes();
        let error = read(&other).expect_err("another cluster");
        assert!(matches!(error, Error::WrongCluster { .. }));
    }

    #[test]
    fn only_segments_have_segment_names() {
        let dir = Path::new("/data");
        assert_eq!(number(&path(dir, 3)), Some(3));
        assert_eq!(path(dir, 3), dir.join(FILE));
        for other in ["3.wal", "spare-1", "0000000000000003.wal.new", "000000000000000x.wal"] {
            assert_eq!(number(&dir.join(other)), None);
        }
    }

    #[test]
    fn salts_differ() {
        assert_ne!(salt(), salt());
    }
}
