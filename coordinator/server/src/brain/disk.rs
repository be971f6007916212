//! Between consensus and the files: what a member starts from, and what it writes.
//!
//! ```text
//!   <data>/cluster      the cluster's uid, written once
//!   <data>/log/         write-ahead log and snapshots: the truth
//!   <data>/records/     the applied records: a cache that is made again when it is missing or damaged
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use muster_consensus as raft;
use muster_state::{Changes, CodecError, Index, State};
use muster_store::{
    Applied, Batch, ClusterId, Entry, Error as StoreError, HardState, LogStore, Opened as Records,
    Options, Position, Reach, Record, RecordError, RecordStore, RecordWrite, Recovered,
    SnapshotMeta, Vacancy,
};
use thiserror::Error;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::rows;

/// A snapshot is written after so many entries,
const SNAPSHOT_ENTRIES: u64 = 10_000;
/// or so many bytes of them.
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// With less than this free, changes are refused instead of running into the end of the disk.
const RESERVE_BYTES: u64 = 4 << 20;
/// How long to wait before a write that found the disk full is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Why a disk cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DiskError {
    /// There is no room for a snapshot.
    #[error("{0}")]
    Full(String),
    /// Log or snapshots.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The applied records.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// A snapshot or a record does not decode.
    #[error("the stored state cannot be read: {0}")]
    Codec(#[from] CodecError),
    /// A snapshot is not what it says.
    #[error("the snapshot at {at} {what}; restore the directory from a copy")]
    Snapshot {
        /// Which.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The membership of a snapshot.
    #[error("the snapshot's membership cannot be read: {0}")]
    Membership(#[from] raft::MembershipError),
    /// The cluster file.
    #[error("{path}: {what}")]
    Cluster {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The files of one member.
pub(super) struct Disk {
    dir: PathBuf,
    log: LogStore,
    /// `None` after a write failed: the next start makes them anew.
    records: Option<RecordStore>,
    /// The entry that was applied last.
    applied: raft::Position,
    snapshot_at: u64,
    bytes_since_snapshot: u64,
    told_full: bool,
}

/// A disk that was opened, and what was on it.
pub(super) struct Opened {
    pub(super) disk: Disk,
    pub(super) boot: raft::Boot,
    pub(super) state: State,
    pub(super) cluster: String,
}

impl Disk {
    /// Opens the files of a member, and makes those of a new one.
    pub(super) fn open(dir: &Path) -> Result<Opened, DiskError> {
        let (uuid, cluster) = cluster_of(dir)?;
        let (mut log, recovered) = LogStore::open(&dir.join("log"), &Options::new(cluster))?;
        let recovered = match recovered {
            Some(recovered) => recovered,
            None => bootstrap(&mut log)?,
        };
        if let Some(cut) = &recovered.cut {
            info!(
                ?cut,
                "a torn write was cut off the end of the log; nobody was told that it is safe"
            );
        }
        let reach = Reach { snapshot: recovered.snapshot.at.index, last: log.last().index };
        let (records, state) = match RecordStore::open(&dir.join("records"), cluster, reach)? {
            Records::Ready(records, applied) => match load(&records, &applied) {
                Ok(state) => (records, state),
                Err(why) => rebuild(&log, &recovered, (records.discard(), why))?,
            },
            Records::Vacant(vacancy, why) => rebuild(&log, &recovered, (vacancy, why.to_string()))?,
        };
        let boot = boot(recovered, &state)?;
        let applied = position_of(&boot, state.applied());
        let disk = Self {
            dir: dir.to_path_buf(),
            log,
            records: Some(records),
            applied,
            snapshot_at: boot.snapshot.at.index.0,
            bytes_since_snapshot: 0,
            told_full: false,
        };
        Ok(Opened { disk, boot, state, cluster: uuid.to_string() })
    }

    /// Makes a round's write durable.
    pub(super) fn persist(&mut self, write: &raft::Write) -> Result<(), DiskError> {
        let entries: Vec<Entry> = write.entries.iter().map(to_entry).collect();
        let batch = Batch {
            reset: None,
            entries: &entries,
            hard_state: write.hard_state.map(to_hard_state),
            sync: write.sync,
        };
        self.bytes_since_snapshot += entries.iter().map(|e| e.data.len() as u64).sum::<u64>();
        loop {
            match self.log.append(&batch) {
                Ok(()) => return Ok(()),
                // Consensus waits for this write, so all that can be done is to wait for room. New
                // changes are refused before it comes to this.
                Err(full @ StoreError::DiskFull { .. }) => {
                    error!(%full, "waiting for room");
                    std::thread::park_timeout(FULL_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes the records that an applied entry changed. The records are a cache: when they cannot be written,
    /// the member goes on without them.
    pub(super) fn record(&mut self, at: raft::Position, changes: &Changes, state: &State) {
        self.applied = at;
        let Some(records) = &self.records else { return };
        let index = Index(at.index.0);
        let writes: Vec<RecordWrite> =
            changes.writes().map(|w| rows::record_write(index, w)).collect();
        let digest = Bytes::from(state.digest().to_string());
        let applied = Applied { index: muster_store::Index(index.0), digest };
        if let Err(error) = records.apply(&writes, &applied) {
            warn!(%error, "the applied records cannot be written; they are made anew at the next start");
            self.records = None;
        }
    }

    /// Whether there is room for changes.
    pub(super) fn has_room(&mut self) -> Result<(), String> {
        let free =
            rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
        if free >= RESERVE_BYTES {
            self.told_full = false;
            return Ok(());
        }
        if !self.told_full {
            error!(path = %self.dir.display(), free, "the disk is full; changes are refused");
            self.told_full = true;
        }
        Err(format!("{} has {} KiB left; free some space there.", self.dir.display(), free >> 10))
    }

    /// Whether so much has happened that a snapshot should be written.
    pub(super) fn snapshot_is_due(&self) -> bool {
        let entries = self.applied.index.0.saturating_sub(self.snapshot_at);
        entries >= SNAPSHOT_ENTRIES || (entries > 0 && self.bytes_since_snapshot >= SNAPSHOT_BYTES)
    }

    /// Writes a snapshot of the applied state and lets the log forget what it contains.
    pub(super) fn snapshot(
        &mut self,
        state: &State,
        node: &mut raft::Node,
    ) -> Result<(), DiskError> {
        let full = |error: StoreError| match error {
            StoreError::DiskFull { .. } => DiskError::Full(error.to_string()),
            other => DiskError::Store(other),
        };
        let meta = SnapshotMeta {
            at: to_position(self.applied),
            meta: node.membership().to_bytes().into(),
        };
        // Whether it succeeds or not, the next try comes only after as much more has happened.
        self.snapshot_at = self.applied.index.0;
        self.bytes_since_snapshot = 0;
        let mut writer = self.log.snapshots().begin(&meta).map_err(full)?;
        for piece in rows::snapshot_pieces(state) {
            writer.add(&piece).map_err(full)?;
        }
        writer.finish().map_err(full)?;
        if let Err(error) = node.compact(self.applied.index) {
            warn!(%error, "the log in memory was not compacted");
        }
        self.log.compact(to_position(self.applied).index).map_err(full)?;
        if let Some(records) = &self.records
            && let Err(error) = records.flush()
        {
            warn!(%error, "the applied records were not flushed");
        }
        info!(index = self.snapshot_at, "snapshot written");
        Ok(())
    }

    /// Reads the committed state again.
    pub(super) fn reload(&self) -> Result<State, DiskError> {
        let lost = |what: String| DiskError::Snapshot { at: self.snapshot_at, what };
        let records = self.records.as_ref().ok_or_else(|| {
            lost("is all that is left, because the records could not be written".into())
        })?;
        let mut rows = Vec::new();
        records.load(|record| rows.push(record)).map_err(|error| lost(error.to_string()))?;
        let applied = Index(self.applied.index.0);
        Ok(State::import(applied, rows.iter().filter_map(rows::row))?)
    }

    /// Leaves everything in order.
    pub(super) fn close(&mut self) {
        if let Some(records) = self.records.take()
            && let Err(error) = records.flush()
        {
            warn!(%error, "the applied records were not flushed");
        }
    }
}

/// The cluster's uid, drawn at the first start.
fn cluster_of(dir: &Path) -> Result<(Uuid, ClusterId), DiskError> {
    let path = dir.join("cluster");
    let wrong = |what: String| DiskError::Cluster { path: path.clone(), what };
    let uuid = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| wrong("is no uid of a cluster".into()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.join("log").exists() {
                return Err(wrong(
                    "is missing beside a log; restore it, or the whole directory, from a copy"
                        .into(),
                ));
            }
            let uuid = Uuid::new_v4();
            write_durably(dir, (&path, &uuid.to_string())).map_err(|e| wrong(e.to_string()))?;
            uuid
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    Ok((uuid, ClusterId(uuid.into_bytes())))
}

fn write_durably(dir: &Path, (path, text): (&Path, &str)) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(dir)?.sync_all()
}

/// Begins the log of a new cluster of one.
fn bootstrap(log: &mut LogStore) -> Result<Recovered, DiskError> {
    let first = raft::Boot::first_start(raft::Membership::of_voters([raft::MemberId(1)]));
    let meta = SnapshotMeta {
        at: to_position(first.snapshot.at),
        meta: first.snapshot.membership.to_bytes().into(),
    };
    let mut empty = State::new();
    empty.apply(Index(first.applied.0), &Changes::default());
    let state: Vec<u8> = rows::snapshot_pieces(&empty).flatten().collect();
    let hard_state = to_hard_state(first.hard_state);
    log.bootstrap(&meta, &state, hard_state)?;
    Ok(Recovered { hard_state, base: log.base(), entries: Vec::new(), snapshot: meta, cut: None })
}

fn load(records: &RecordStore, applied: &Applied) -> Result<State, String> {
    let mut rows = Vec::new();
    records.load(|record| rows.push(record)).map_err(|error| error.to_string())?;
    let state = State::import(Index(applied.index.0), rows.iter().filter_map(rows::row))
        .map_err(|error| error.to_string())?;
    if state.digest().to_string().as_bytes() == &applied.digest[..] {
        Ok(state)
    } else {
        Err("their digest is not that of what was written".into())
    }
}

/// Makes the records anew from the newest snapshot. The log's entries after it are applied
/// when consensus hands them out.
fn rebuild(
    log: &LogStore,
    recovered: &Recovered,
    (vacancy, why): (Vacancy, String),
) -> Result<(RecordStore, State), DiskError> {
    let at = recovered.snapshot.at;
    let bytes = log.snapshots().read(at)?.read_all()?;
    let state = rows::from_snapshot(Index(at.index.0), &bytes)
        .map_err(|what| DiskError::Snapshot { at: at.index.0, what })?;
    info!(%why, snapshot = at.index.0, "making the applied records from snapshot and log");
    let records = state.export().map(|(version, write)| rows::record(version, &write));
    let applied = Applied { index: at.index, digest: Bytes::from(state.digest().to_string()) };
    let store = vacancy.rebuild(records.collect::<Vec<Record>>(), &applied)?;
    Ok((store, state))
}

fn boot(recovered: Recovered, state: &State) -> Result<raft::Boot, DiskError> {
    let membership = raft::Membership::from_bytes(&recovered.snapshot.meta)?;
    Ok(raft::Boot {
        hard_state: raft::HardState {
            term: raft::Term(recovered.hard_state.term.0),
            vote: (recovered.hard_state.vote != 0)
                .then_some(raft::MemberId(recovered.hard_state.vote)),
            commit: raft::Index(recovered.hard_state.commit.0),
        },
        base: from_position(recovered.base),
        snapshot: raft::SnapshotMeta { at: from_position(recovered.snapshot.at), membership },
        entries: recovered.entries.iter().map(from_entry).collect(),
        applied: raft::Index(state.applied().0),
    })
}

/// The position of an applied entry: the snapshot's, or that of an entry of the log.
fn position_of(boot: &raft::Boot, applied: Index) -> raft::Position {
    let entries = boot.entries.iter().map(raft::Entry::position);
    let mut known = [boot.base, boot.snapshot.at].into_iter().chain(entries);
    let found = known.find(|position| position.index.0 == applied.0);
    found.unwrap_or(boot.snapshot.at)
}

fn to_position(at: raft::Position) -> Position {
    Position::new(muster_store::Index(at.index.0), muster_store::Term(at.term.0))
}

fn from_position(at: Position) -> raft::Position {
    raft::Position::new(raft::Index(at.index.0), raft::Term(at.term.0))
}

fn to_hard_state(state: raft::HardState) -> HardState {
    HardState {
        term: muster_store::Term(state.term.0),
        vote: state.vote.map_or(0, |member| member.0),
        commit: muster_store::Index(state.commit.0),
    }
}

/// The numbers of entry kinds in the log; never reused.
const DATA: u8 = 0;
const MEMBERSHIP: u8 = 1;

fn to_entry(entry: &raft::Entry) -> Entry {
    Entry {
        index: muster_store::Index(entry.index.0),
        term: muster_store::Term(entry.term.0),
        kind: match entry.kind {
            raft::EntryKind::Data => DATA,
            raft::EntryKind::Membership => MEMBERSHIP,
        },
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

fn from_entry(entry: &Entry) -> raft::Entry {
    raft::Entry {
        index: raft::Index(entry.index.0),
        term: raft::Term(entry.term.0),
        kind: if entry.kind == MEMBERSHIP {
            raft::EntryKind::Membership
        } else {
            raft::EntryKind::Data
        },
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}
