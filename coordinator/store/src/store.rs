//! The store of one member: its log and its snapshots, held together.

use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;

use crate::error::Error;
use crate::files::make_dir;
use crate::lock::DirLock;
use crate::snapshot::{SnapshotMeta, Snapshots};
use crate::types::{Batch, ClusterId, Entry, HardState, Index, Position};
use crate::wal::{Cut, MIN_SEGMENT, Wal};

/// How a store works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The cluster that the directory belongs to.
    pub cluster: ClusterId,
    /// The size of a log segment in bytes; a multiple of 4096. Up to four of them are on disk even
    /// when the log is almost empty.
    pub segment_bytes: u64,
}

/// Options that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error(
    "store options: `segment_bytes` is {0} and must be a multiple of {MIN_SEGMENT}, at most a gibibyte"
)]
pub struct OptionsError(u64);

/// What a store found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The hard state.
    pub hard_state: HardState,
    /// The position before the first entry.
    pub base: Position,
    /// All entries after the base, without a gap.
    pub entries: Vec<Entry>,
    /// The newest intact snapshot that is a point of the log, between base and last entry.
    pub snapshot: SnapshotMeta,
    /// A torn write that was cut off the end. Nobody was ever told that it is safe.
    pub cut: Option<Cut>,
}

/// The log and the snapshots of one member. All calls block; only one process can open a directory.
///
/// ```text
///   <dir>/LOCK          held while the store is open
///   <dir>/wal/          segments of the log, see the module `wal`
///   <dir>/snapshots/    see the module `snapshot`
/// ```
#[derive(Debug)]
pub struct LogStore {
    dir: PathBuf,
    wal: Wal,
    snapshots: Snapshots,
    _lock: DirLock,
}

// === impl Options ===

impl Options {
    /// The default options for a cluster.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, segment_bytes: 16 << 20 }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let bytes = self.segment_bytes;
        let possible =
            bytes >= MIN_SEGMENT && bytes.is_multiple_of(MIN_SEGMENT) && bytes <= 1 << 30;
        if possible { Ok(()) } else { Err(OptionsError(bytes)) }
    }
}

// === impl LogStore ===

impl LogStore {
    /// Opens a directory, and creates it where it is missing. Nothing was recovered from a new one:
    /// it wants [`LogStore::bootstrap`].
    ///
    /// # Errors
    /// When another process holds it, it belongs to another cluster or a newer program, it is damaged,
    /// or the file system fails. See [`Error`].
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, Option<Recovered>), Error> {
        options.validate().map_err(|error| Error::Refused(error.to_string()))?;
        make_dir(dir)?;
        let lock = DirLock::take(dir)?;
        let (cluster, wal_dir) = (options.cluster, dir.join("wal"));
        let snapshots = Snapshots::open(&dir.join("snapshots"), cluster)?;
        if !wal_dir.exists() && !snapshots.positions().is_empty() {
            return Err(Error::LogMissing { dir: dir.to_owned() });
        }
        let (wal, found) = Wal::open(&wal_dir, cluster, options.segment_bytes)?;
        let store = Self { dir: dir.to_owned(), wal, snapshots, _lock: lock };
        if !found.begun {
            return Ok((store, None));
        }
        let snapshot = store.snapshots.anchor(|at| store.is_point_of_log(at))?;
        let snapshot = snapshot.ok_or_else(|| Error::NoSnapshot {
            dir: dir.to_owned(),
            base: store.wal.base().index,
            last: store.wal.last().index,
        })?;
        let recovered = Recovered {
            hard_state: found.hard_state,
            base: store.wal.base(),
            entries: found.entries.into(),
            snapshot,
            cut: found.cut,
        };
        Ok((store, Some(recovered)))
    }

    /// Begins the log of a new member, with a snapshot of the state that it starts from.
    ///
    /// # Errors
    /// As [`LogStore::append`]; refused when the log has begun already.
    pub fn bootstrap(
        &mut self,
        meta: &SnapshotMeta,
        state: &[u8],
        hard_state: HardState,
    ) -> Result<(), Error> {
        if self.wal.has_begun() {
            let dir = self.dir.display();
            return Err(Error::Refused(format!("{dir} already holds the log of a member")));
        }
        let mut writer = self.snapshots.begin(meta)?;
        writer.add(state)?;
        let reset = Some(writer.finish()?);
        self.append(&Batch { reset, hard_state: Some(hard_state), ..Batch::default() })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// [`Error::DiskFull`] leaves the log as it was and can be tried again. After any other error but
    /// [`Error::Refused`] the store has stopped, and the process must find out from the disk, at its
    /// next start, what was written.
    pub fn append(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        if let Some(to) = batch.reset
            && !self.snapshots.positions().contains(&to)
        {
            return Err(Error::NoDurableSnapshot { to, newest: None });
        }
        self.wal.append(batch)?;
        if let Some(at) = batch.reset {
            self.snapshots.set_anchor(at);
        }
        Ok(())
    }

    /// Forgets the log up to and including `to`: at most up to the newest durable snapshot. A caller
    /// that keeps some entries before that snapshot spares slow followers a transfer of it. Going back
    /// is no error and does nothing.
    ///
    /// # Errors
    /// [`Error::NoDurableSnapshot`], and as [`LogStore::append`].
    pub fn compact(&mut self, to: Index) -> Result<(), Error> {
        let newest = self.snapshots.newest(|at| self.is_point_of_log(at));
        match newest {
            Some(newest) if to <= newest.index => {
                self.wal.compact(to)?;
                self.snapshots.set_anchor(newest);
                Ok(())
            }
            _ => {
                let term = self.wal.term_at(to).unwrap_or_default();
                Err(Error::NoDurableSnapshot { to: Position::new(to, term), newest })
            }
        }
    }

    /// The snapshots, to be written and read beside the log.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// The position before the first entry.
    #[must_use]
    pub fn base(&self) -> Position {
        self.wal.base()
    }

    /// The position of the last entry.
    #[must_use]
    pub fn last(&self) -> Position {
        self.wal.last()
    }

    fn is_point_of_log(&self, at: Position) -> bool {
        self.wal.term_at(at.index) == Some(at.term)
    }
}
