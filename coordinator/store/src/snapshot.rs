//! Snapshots: plain files, complete or not there at all.
//!
//! ```text
//!   snapshots/00000000000000001234-00000000000000000007.snap        index-term
//!   +------------------------------+--------------------------+-----+------------------------+
//!   | head: magic, version, crc32, | chunk: length, crc32,    | ... | end: length 0, crc32,  |
//!   | cluster, position, meta      | up to 256 KiB of state   |     | total bytes, crc32 of  |
//!   |                              |                          |     | the whole state        |
//!   +------------------------------+--------------------------+-----+------------------------+
//! ```
//!
//! - A snapshot is written under a temporary name, made durable, renamed, and then its name is made
//!   durable. Only then may the log forget what it contains.
//! - The newest two are kept, and always the newest one from which the log can be followed. A damaged
//!   file is skipped with a warning; an older one serves while the log still reaches back to it.
//! - A snapshot that came from a leader is ahead of the log until the log was reset to it.

mod format;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tracing::warn;

use crate::error::Error;
use crate::files::{list, make_dir};
use crate::types::{ClusterId, Index, Position, Term};

pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

/// How many snapshots are kept.
const KEEP: usize = 2;

const SUFFIX: &str = "snap";

/// What a snapshot stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry whose effect it contains.
    pub at: Position,
    /// What the caller wants to know before it reads the state, such as the membership. At most a
    /// mebibyte.
    pub meta: Bytes,
}

/// The snapshots of one member. Clones speak of the same files, so that one thread can write a
/// snapshot while another appends to the log.
#[derive(Debug, Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    cluster: ClusterId,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Durable snapshots, oldest first.
    files: BTreeMap<Position, PathBuf>,
    /// The one from which the log can be followed; never deleted.
    anchor: Option<Position>,
}

// === impl Snapshots ===

impl Snapshots {
    pub(crate) fn open(dir: &Path, cluster: ClusterId) -> Result<Self, Error> {
        make_dir(dir)?;
        let mut kept = Kept::default();
        for path in list(dir)? {
            match position(&path) {
                Some(at) => drop(kept.files.insert(at, path)),
                // What a crash left half written.
                None if path.extension().is_some_and(|suffix| suffix == "tmp") => {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
                None => {}
            }
        }
        let shared = Shared { dir: dir.to_owned(), cluster, kept: Mutex::new(kept) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Begins to write a snapshot.
    ///
    /// # Errors
    /// [`Error::DiskFull`], or as the file system says.
    pub fn begin(&self, meta: &SnapshotMeta) -> Result<SnapshotWriter, Error> {
        SnapshotWriter::begin(self.clone(), meta)
    }

    /// Opens a snapshot to read its state.
    ///
    /// # Errors
    /// When there is none at this position, or it is damaged as far as its head tells.
    pub fn read(&self, at: Position) -> Result<SnapshotReader, Error> {
        SnapshotReader::open(&self.path(at), self.shared.cluster)
    }

    /// Where the durable snapshots stand, oldest first.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.lock().files.keys().copied().collect()
    }

    /// The newest intact snapshot that is a point of the log, checked to its last byte. It is kept
    /// from now on until the log moves to a newer one.
    pub(crate) fn anchor(
        &self,
        is_point_of_log: impl Fn(Position) -> bool,
    ) -> Result<Option<SnapshotMeta>, Error> {
        for at in self.positions().into_iter().rev().filter(|at| is_point_of_log(*at)) {
            match self.read(at).and_then(SnapshotReader::verify) {
                Ok(meta) => {
                    self.lock().anchor = Some(at);
                    return Ok(Some(meta));
                }
                Err(
                    error @ (Error::DamagedSnapshot { .. }
                    | Error::Io { .. }
                    | Error::NewerFormat { .. }),
                ) => {
                    warn!(%error, "skipped a snapshot; an older one is tried");
                    self.lock().files.remove(&at);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The newest durable snapshot that is a point of the log, as far as it is known without reading
    /// it again.
    pub(crate) fn newest(&self, is_point_of_log: impl Fn(Position) -> bool) -> Option<Position> {
        self.positions().into_iter().rev().find(|at| is_point_of_log(*at))
    }

    /// The log is followed from this snapshot from now on.
    pub(crate) fn set_anchor(&self, at: Position) {
        self.lock().anchor = Some(at);
        self.prune();
    }

    fn path(&self, at: Position) -> PathBuf {
        self.shared.dir.join(format!("{:020}-{:020}.{SUFFIX}", at.index.0, at.term.0))
    }

    /// A snapshot is durable under its name.
    fn finished(&self, at: Position, path: PathBuf) {
        self.lock().files.insert(at, path);
        self.prune();
    }

    fn prune(&self) {
        let mut kept = self.lock();
        let surplus = kept.files.len().saturating_sub(KEEP);
        let anchor = kept.anchor;
        let old: Vec<_> =
            kept.files.keys().copied().take(surplus).filter(|at| Some(*at) != anchor).collect();
        for at in old {
            let Some(path) = kept.files.get(&at) else { continue };
            // It comes back at the next start if its removal is not durable, and is removed again.
            match fs::remove_file(path) {
                Ok(()) => drop(kept.files.remove(&at)),
                Err(error) => warn!(path = %path.display(), %error, "an old snapshot stays"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().expect("nothing that holds this lock panics")
    }
}

/// The position in a snapshot's file name.
fn position(path: &Path) -> Option<Position> {
    if path.extension()? != SUFFIX {
        return None;
    }
    let (index, term) = path.file_stem()?.to_str()?.split_once('-')?;
    Some(Position::new(Index(index.parse().ok()?), Term(term.parse().ok()?)))
}

#[cfg(test)]
mod tests;
