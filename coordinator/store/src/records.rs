//! The applied state as records, in sled: a cache that can always be made again.
//!
//! sled 0.34 acknowledges writes that a power cut takes back (it calls `sync_file_range`, which flushes
//! neither the disk's cache nor the file's metadata), and its files may be unreadable afterwards. Here
//! that is not an accident but the rule to live by:
//!
//! - Records and the index that they are applied up to are written in one atomic batch.
//! - The caller's digest of its state goes along. A caller that loads the records compares the digest
//!   of what it got; a difference is damage like any other.
//! - A folder that is missing, damaged, of another format or cluster, ahead of the log or behind the
//!   snapshot is a *value*, [`Opened::Vacant`]: the caller rebuilds it from snapshot and log.
//! - Nothing waits for it: the log is compacted on the strength of snapshots alone.
//!
//! sled reports some damage by a panic. These are caught around every call, and count as damage; the
//! message that the panic hook prints stays. It runs no flush thread here: [`RecordStore::flush`] is the
//! caller's, best called after each snapshot and before the process ends.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error as ThisError;

use crate::files::{is_full, sync_dir};
use crate::types::{ClusterId, Index};

mod keys;

use keys::{Stamp, record_key, split_key};

/// How much sled may cache, in bytes. The caller keeps its state in memory; sled's copy is only read
/// at start.
const CACHE_BYTES: u64 = 8 << 20;

/// Records a batch while rebuilding.
const REBUILD_BATCH: usize = 1000;

/// sled's threads hold on to the files of a store for a moment after it was dropped, so that opening
/// the same folder again fails. Somebody else's lock fails it for longer than this.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// What sled says then; the kind of its error does not survive.
const LOCK_TEXT: &str = "could not acquire lock";

/// Where a record belongs: the caller's number for the kind of record.
pub type TableId = u8;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which table.
    pub table: TableId,
    /// Its key there.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// One change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// Which table.
    pub table: TableId,
    /// Its key there.
    pub key: Bytes,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
}

/// Up to where records are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The last entry whose effect they contain.
    pub index: Index,
    /// The caller's digest of the state after it.
    pub digest: Bytes,
}

/// What the log can bridge: records are usable when they are applied up to somewhere in this range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Where the snapshot stands, from which a rebuild would start.
    pub snapshot: Index,
    /// The last entry of the log.
    pub last: Index,
}

/// Why records have to be rebuilt. None of these needs a person.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Rebuild {
    /// There are none.
    #[error("there are no applied records yet")]
    Missing,
    /// They cannot be read, or not completely.
    #[error("the applied records are damaged: {0}")]
    Damaged(String),
    /// Written by a program with another format.
    #[error("the applied records have format {found} and this program uses {}", keys::VERSION)]
    Format {
        /// Their version.
        found: u32,
    },
    /// Of another cluster.
    #[error("the applied records belong to cluster {0}")]
    Cluster(ClusterId),
    /// They contain entries that the log does not have.
    #[error(
        "the records are applied up to entry {applied}, ahead of the log, which ends at {last}"
    )]
    Ahead {
        /// Up to where they are applied.
        applied: Index,
        /// The last entry of the log.
        last: Index,
    },
    /// The snapshot is newer.
    #[error("the records are applied up to entry {applied}, and the snapshot to {snapshot}")]
    Behind {
        /// Up to where they are applied.
        applied: Index,
        /// The snapshot.
        snapshot: Index,
    },
}

/// Why records cannot be written. The caller may go on without them and rebuild them later.
#[derive(Debug, ThisError)]
pub enum Error {
    /// No room.
    #[error("the disk of {} is full; make room there", .0.display())]
    DiskFull(PathBuf),
    /// sled or the file system fails.
    #[error("cannot {action} the applied records in {}: {what}", dir.display())]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The folder.
        dir: PathBuf,
        /// What was said about it.
        what: String,
    },
}

/// What was found.
#[derive(Debug)]
pub enum Opened {
    /// Usable records, and up to where they are applied.
    Ready(RecordStore, Applied),
    /// To be rebuilt, and why.
    Vacant(Vacancy, Rebuild),
}

/// A folder without usable records.
#[derive(Debug)]
pub struct Vacancy {
    dir: PathBuf,
    cluster: ClusterId,
}

/// The applied records of one member.
#[derive(Debug)]
pub struct RecordStore {
    db: sled::Db,
    dir: PathBuf,
    cluster: ClusterId,
}

// === impl RecordStore ===

impl RecordStore {
    /// Opens the records in a folder. `reach` tells what snapshot and log can bridge.
    ///
    /// # Errors
    /// When the folder cannot be used at all, for instance because another process holds it.
    pub fn open(dir: &Path, cluster: ClusterId, reach: Reach) -> Result<Opened, Error> {
        let vacant = |why| {
            let vacancy = Vacancy { dir: dir.to_owned(), cluster };
            Ok(Opened::Vacant(vacancy, why))
        };
        if !dir.exists() {
            return vacant(Rebuild::Missing);
        }
        let store = match Self::open_db(dir, cluster) {
            Ok(store) => store,
            Err(Trouble::Damage(what)) => return vacant(Rebuild::Damaged(what)),
            Err(trouble) => return Err(trouble.error("open", dir)),
        };
        let stamp = match caught(|| store.db.get(keys::STAMP)) {
            Ok(Some(bytes)) => Stamp::read(&bytes),
            Ok(None) => return vacant(Rebuild::Damaged("a rebuild was not finished".into())),
            Err(trouble) => return vacant(Rebuild::Damaged(trouble.text())),
        };
        let Some(stamp) = stamp else {
            return vacant(Rebuild::Damaged("its stamp does not make sense".into()));
        };
        if stamp.version != keys::VERSION {
            return vacant(Rebuild::Format { found: stamp.version });
        }
        if stamp.cluster != cluster {
            return vacant(Rebuild::Cluster(stamp.cluster));
        }
        let (applied, Reach { snapshot, last }) = (stamp.applied.index, reach);
        if applied > last {
            return vacant(Rebuild::Ahead { applied, last });
        }
        if applied < snapshot {
            return vacant(Rebuild::Behind { applied, snapshot });
        }
        Ok(Opened::Ready(store, stamp.applied))
    }

    /// Visits every record, by table and key.
    ///
    /// # Errors
    /// [`Rebuild::Damaged`]: what was visited so far must not be used.
    pub fn load(&self, mut visit: impl FnMut(Record)) -> Result<(), Rebuild> {
        let all = || {
            for item in self.db.scan_prefix([keys::RECORDS]) {
                let (key, value) = item?;
                let Some((table, key)) = split_key(&key) else {
                    return Ok(false);
                };
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(&value));
                visit(Record { table, key, value });
            }
            Ok(true)
        };
        match caught(all) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Rebuild::Damaged("a key without a table".into())),
            Err(trouble) => Err(Rebuild::Damaged(trouble.text())),
        }
    }

    /// Writes the records of one or more entries and up to where they are applied, all or nothing.
    ///
    /// # Errors
    /// As [`Error`] says; the records are as before.
    pub fn apply(&self, writes: &[RecordWrite], applied: &Applied) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for write in writes {
            let key = record_key(write.table, &write.key);
            match &write.value {
                Some(value) => batch.insert(key, &value[..]),
                None => batch.remove(key),
            }
        }
        batch.insert(keys::STAMP, self.stamp(applied));
        caught(|| self.db.apply_batch(batch)).map_err(|trouble| trouble.error("write", &self.dir))
    }

    /// Brings everything written so far to the disk, as far as sled and an fdatasync of our own can.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn flush(&self) -> Result<(), Error> {
        caught(|| self.db.flush()).map_err(|trouble| trouble.error("flush", &self.dir))?;
        // sled keeps everything but large values in this file, and does not fsync it.
        let synced = fs::File::open(self.dir.join("db")).and_then(|file| file.sync_data());
        synced.map_err(|error| failed("flush", &self.dir, error.to_string()))
    }

    /// Gives the records up, for instance because the digest of what was loaded is another one.
    #[must_use]
    pub fn discard(self) -> Vacancy {
        Vacancy { dir: self.dir, cluster: self.cluster }
    }

    fn open_db(dir: &Path, cluster: ClusterId) -> Result<Self, Trouble> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace);
        let mut attempts = LOCK_ATTEMPTS;
        loop {
            match caught(|| config.open()) {
                Err(Trouble::Failure(what)) if what.contains(LOCK_TEXT) && attempts > 0 => {
                    attempts -= 1;
                    // sled tells nobody when its threads have let go.
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                result => return Ok(Self { db: result?, dir: dir.to_owned(), cluster }),
            }
        }
    }

    fn stamp(&self, applied: &Applied) -> Vec<u8> {
        Stamp { version: keys::VERSION, cluster: self.cluster, applied: applied.clone() }.to_bytes()
    }
}

// === impl Vacancy ===

impl Vacancy {
    /// Deletes what is there and writes all records anew. A crash in between leaves a folder that is
    /// vacant again.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn rebuild(
        self,
        records: impl IntoIterator<Item = Record>,
        applied: &Applied,
    ) -> Result<RecordStore, Error> {
        let Self { dir, cluster } = self;
        let io = |what: std::io::Error| match is_full(&what) {
            true => Error::DiskFull(dir.clone()),
            false => failed("replace", &dir, what.to_string()),
        };
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(io)?;
        }
        if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
            sync_dir(parent).map_err(|error| failed("replace", &dir, error.to_string()))?;
        }
        let store =
            RecordStore::open_db(&dir, cluster).map_err(|trouble| trouble.error("create", &dir))?;
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let mut batch = sled::Batch::default();
            for record in records.by_ref().take(REBUILD_BATCH) {
                batch.insert(record_key(record.table, &record.key), &record.value[..]);
            }
            caught(|| store.db.apply_batch(batch))
                .map_err(|trouble| trouble.error("rebuild", &dir))?;
        }
        // The stamp comes last: without it the folder counts as unfinished.
        store.apply(&[], applied)?;
        store.flush()?;
        Ok(store)
    }
}

/// What sled had to say.
enum Trouble {
    /// The files are not what they should be.
    Damage(String),
    /// The files may be fine, but something else failed.
    Failure(String),
    /// No room.
    Full,
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Self::Damage(text) | Self::Failure(text) => text,
            Self::Full => "no room".to_owned(),
        }
    }

    fn error(self, action: &'static str, dir: &Path) -> Error {
        match self {
            Self::Full => Error::DiskFull(dir.to_owned()),
            trouble => failed(action, dir, trouble.text()),
        }
    }
}

/// Runs a call of sled; a panic counts as damage. Nothing of ours is shared with the call, so there is
/// no half-changed state to worry about.
fn caught<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if is_full(&error) => Err(Trouble::Full),
        Ok(Err(sled::Error::Io(error))) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                Err(Trouble::Damage(error.to_string()))
            }
            _ => Err(Trouble::Failure(error.to_string())),
        },
        Ok(Err(error)) => Err(Trouble::Damage(error.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Trouble::Damage(text.unwrap_or("sled panicked").to_owned()))
        }
    }
}

fn failed(action: &'static str, dir: &Path, what: String) -> Error {
    Error::Failed { action, dir: dir.to_owned(), what }
}

#[cfg(test)]
mod tests;
