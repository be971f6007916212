//! What can go wrong with log and snapshots.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;

use crate::types::{ClusterId, Index, Position};

/// Why the log or a snapshot could not be read or written.
#[derive(Debug, ThisError)]
pub enum Error {
    /// No room. Nothing was written: the log is as it was before the call, and trying again later
    /// is safe.
    #[error("the disk of {} is full: {needed} bytes are needed and {free} are free; make room there, the member goes on by itself", dir.display())]
    DiskFull {
        /// Where room is needed.
        dir: PathBuf,
        /// How much is needed, in bytes.
        needed: u64,
        /// How much is free for us, in bytes.
        free: u64,
    },
    /// An fsync failed. What was written before it may or may not be on disk, and the kernel may
    /// have dropped the dirty pages, so that a second fsync would succeed without having written
    /// anything (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    /// Hence it is never repeated: the process must end, and finds out at its next start.
    #[error("cannot make {} durable: {source}; check the disk, then start this member again", path.display())]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An earlier error left open what is on disk.
    #[error("the log has stopped after an earlier error; start this member again")]
    Stopped,
    /// Any other failure of the file system.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two processes must not share a directory.
    #[error("{} is in use by {}; stop it first, or give this member a directory of its own", dir.display(), holder(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, where it could be found out.
        pid: Option<u32>,
    },
    /// The log is damaged where it was intact once. Cutting it there would lose acknowledged entries.
    #[error("the log is damaged: {} at byte {offset}: {what}. This is not the torn end that a crash leaves. Do not delete single files: restore the directory from a backup, or, while the other members are healthy, remove this member, empty the directory and add it again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// Written by a newer program.
    #[error("{} has format {found}, and this program reads up to {supported}: start it with the newer version of Muster that wrote it", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// The files of another cluster.
    #[error("{} belongs to cluster {found}, and this member to {expected}: check its data directory", file.display())]
    WrongCluster {
        /// The file.
        file: PathBuf,
        /// In the file.
        found: ClusterId,
        /// In the configuration.
        expected: ClusterId,
    },
    /// There are snapshots and no log.
    #[error("{} holds snapshots but no log: its files were deleted or moved. Restore them, or, while the other members are healthy, remove this member, empty the directory and add it again", dir.display())]
    LogMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// No snapshot from which the log could be followed.
    #[error("{} has no intact snapshot between entry {base} and {last}, where its log begins and ends. Restore one from a backup, or, while the other members are healthy, remove this member, empty the directory and add it again", dir.display())]
    NoSnapshot {
        /// The directory.
        dir: PathBuf,
        /// Where the log begins.
        base: Index,
        /// Where it ends.
        last: Index,
    },
    /// A snapshot file that cannot be used; another one may be.
    #[error("the snapshot {} is damaged: {what}", file.display())]
    DamagedSnapshot {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: &'static str,
    },
    /// The caller asks for what would break the log. A bug, and nothing was written.
    #[error("refused to write: {0}")]
    Refused(String),
    /// The log may only forget what a durable snapshot contains.
    #[error(
        "refused to forget the log up to {to}: no durable snapshot of it reaches that far (the newest is at {newest:?})"
    )]
    NoDurableSnapshot {
        /// Up to where.
        to: Position,
        /// The newest snapshot that is a point of the log.
        newest: Option<Position>,
    },
}

// === impl Error ===

impl Error {
    /// Whether the same call may succeed later, with the log unchanged until then.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn sync(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::SyncFailed { path: path.to_owned(), source }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
