//! Between consensus and the files: what a member starts from, and what it writes.
//!
//! ```text
//!   <data>/cluster      the cluster's uid and this member's id, written once
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
    Options, Position, Reach, Rebuild, Record, RecordError, RecordStore, RecordWrite, Recovered,
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
/// So many entries before a snapshot are kept, so that a follower that was away for a moment needs none.
const TAIL_ENTRIES: u64 = 2_000;
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
    /// The log ends before what was applied from it.
    #[error(
        "{} ends at entry {last}, but entry {applied} had been applied: acknowledged entries are missing. Restore the \
         directory from a copy; or, if other members have the entries, remove this member, empty its data directory and \
         let it join again", .dir.display()
    )]
    LogLost {
        /// The log.
        dir: PathBuf,
        /// The last entry that was applied.
        applied: u64,
        /// The last entry that is there.
        last: u64,
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
    cluster: ClusterId,
    /// The entry that was applied last.
    applied: raft::Position,
    /// The newest snapshot that is a point of the log.
    newest: raft::SnapshotMeta,
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
    pub(super) member: u64,
    pub(super) applied: raft::Position,
}

/// What a directory that holds no member yet begins as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The first member of a new cluster.
    NewCluster,
    /// A member that was taken into a cluster that exists.
    Joined {
        /// The cluster's uid.
        cluster: String,
        /// The id that it was given.
        member: u64,
    },
}

impl Disk {
    /// Opens the files of a member, and makes those of a new one.
    pub(super) fn open(dir: &Path, origin: &Origin) -> Result<Opened, DiskError> {
        let Identity { uuid, member } = identity_of(dir, origin)?;
        let cluster = ClusterId(uuid.into_bytes());
        let (mut log, recovered) = LogStore::open(&dir.join("log"), &Options::new(cluster))?;
        let recovered = match recovered {
            Some(recovered) => recovered,
            None => bootstrap(&mut log, member)?,
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
            // Only what is durable in the log is ever applied. A lone member's log is the only copy.
            Records::Vacant(_, Rebuild::Ahead { applied, last }) => {
                return Err(DiskError::LogLost {
                    dir: dir.join("log"),
                    applied: applied.0,
                    last: last.0,
                });
            }
            Records::Vacant(vacancy, why) => rebuild(&log, &recovered, (vacancy, why.to_string()))?,
        };
        let boot = boot(recovered, &state)?;
        let applied = position_of(&boot, state.applied());
        let disk = Self {
            dir: dir.to_path_buf(),
            log,
            records: Some(records),
            cluster,
            applied,
            newest: boot.snapshot.clone(),
            snapshot_at: boot.snapshot.at.index.0,
            bytes_since_snapshot: 0,
            told_full: false,
        };
        Ok(Opened { disk, boot, state, cluster: uuid.to_string(), member, applied })
    }

    /// The snapshots, to be sent and received beside the log.
    pub(super) fn snapshots(&self) -> muster_store::Snapshots {
        self.log.snapshots()
    }

    /// Makes a round's write durable.
    pub(super) fn persist(&mut self, write: &raft::Write) -> Result<(), DiskError> {
        self.append(write, None)
    }

    /// Makes a write durable whose snapshot lies in the directory already. The snapshot replaces log and records.
    pub(super) fn install(
        &mut self,
        snapshot: &raft::Snapshot,
        write: &raft::Write,
    ) -> Result<State, DiskError> {
        let at = to_position(snapshot.meta.at);
        let bytes = self.log.snapshots().read(at)?.read_all()?;
        let state = rows::from_snapshot(Index(at.index.0), &bytes)
            .map_err(|what| DiskError::Snapshot { at: at.index.0, what })?;
        self.append(write, Some(at))?;
        self.applied = snapshot.meta.at;
        self.newest = snapshot.meta.clone();
        self.snapshot_at = at.index.0;
        self.bytes_since_snapshot = 0;
        let records = state.export().map(|(version, write)| rows::record(version, &write));
        let applied = Applied { index: at.index, digest: Bytes::from(state.digest().to_string()) };
        let vacancy = match self.records.take() {
            Some(records) => records.discard(),
            None => {
                let reach = Reach { snapshot: at.index, last: at.index };
                match RecordStore::open(&self.dir.join("records"), self.cluster, reach)? {
                    Records::Ready(records, _) => records.discard(),
                    Records::Vacant(vacancy, _) => vacancy,
                }
            }
        };
        self.records = Some(vacancy.rebuild(records.collect::<Vec<Record>>(), &applied)?);
        Ok(state)
    }

    fn append(&mut self, write: &raft::Write, reset: Option<Position>) -> Result<(), DiskError> {
        let entries: Vec<Entry> = write.entries.iter().map(to_entry).collect();
        let batch = Batch {
            reset,
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

    /// The newest snapshot that is a point of the log; none in a member that has just joined.
    pub(super) fn newest_snapshot(&self) -> Option<raft::SnapshotMeta> {
        (self.newest.at.index.0 > 0).then(|| self.newest.clone())
    }

    /// Writes a snapshot of the applied state and lets the log forget what is long before it. Answers up to where.
    pub(super) fn snapshot(
        &mut self,
        of: &raft::SnapshotMeta,
        state: &State,
    ) -> Result<raft::Index, DiskError> {
        let full = |error: StoreError| match error {
            StoreError::DiskFull { .. } => DiskError::Full(error.to_string()),
            other => DiskError::Store(other),
        };
        let meta = SnapshotMeta { at: to_position(of.at), meta: of.membership.to_bytes().into() };
        // Whether it succeeds or not, the next try comes only after as much more has happened.
        self.snapshot_at = self.applied.index.0;
        self.bytes_since_snapshot = 0;
        let mut writer = self.log.snapshots().begin(&meta).map_err(full)?;
        for piece in rows::snapshot_pieces(state) {
            writer.add(&piece).map_err(full)?;
        }
        writer.finish().map_err(full)?;
        let forget = of.at.index.0.saturating_sub(TAIL_ENTRIES).max(self.log.base().index.0);
        self.log.compact(muster_store::Index(forget)).map_err(full)?;
        self.newest = of.clone();
        if let Some(records) = &self.records
            && let Err(error) = records.flush()
        {
            warn!(%error, "the applied records were not flushed");
        }
        info!(index = self.snapshot_at, "snapshot written");
        Ok(raft::Index(forget))
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

/// Which cluster a directory belongs to, and which member of it.
struct Identity {
    uuid: Uuid,
    member: u64,
}

/// Reads who the directory belongs to; an empty one becomes what the origin says.
fn identity_of(dir: &Path, origin: &Origin) -> Result<Identity, DiskError> {
    let path = dir.join("cluster");
    let wrong = |what: String| DiskError::Cluster { path: path.clone(), what };
    let uuid_of = |text: &str| -> Result<Uuid, DiskError> {
        text.parse().map_err(|_| wrong("is no uid of a cluster".into()))
    };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mut lines = text.lines().map(str::trim);
            let uuid = uuid_of(lines.next().unwrap_or_default())?;
            // The first members of clusters were written without a number.
            let member = lines.next().map_or(Ok(1), str::parse);
            let member = member.map_err(|_| wrong("names no member".into()))?;
            Ok(Identity { uuid, member })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if dir.join("log").exists() {
                return Err(wrong(
                    "is missing beside a log; restore it, or the whole directory, from a copy"
                        .into(),
                ));
            }
            let (uuid, member) = match origin {
                Origin::NewCluster => (Uuid::new_v4(), 1),
                Origin::Joined { cluster, member } => (uuid_of(cluster)?, *member),
            };
            let text = format!("{uuid}\n{member}\n");
            write_durably(dir, (&path, &text)).map_err(|e| wrong(e.to_string()))?;
            Ok(Identity { uuid, member })
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Makes the directory of the first member of a cluster whose state exists already, as in a backup.
pub(crate) fn make_from(
    dir: &Path,
    (cluster, at): (&str, raft::Position),
    state: &State,
) -> Result<(), DiskError> {
    let origin = Origin::Joined { cluster: cluster.to_owned(), member: 1 };
    let Identity { uuid, .. } = identity_of(dir, &origin)?;
    let (mut log, found) =
        LogStore::open(&dir.join("log"), &Options::new(ClusterId(uuid.into_bytes())))?;
    if found.is_some() {
        return Err(DiskError::Cluster {
            path: dir.to_path_buf(),
            what: "holds the log of a member already".into(),
        });
    }
    let membership = raft::Membership::of_voters([raft::MemberId(1)]);
    let meta = SnapshotMeta { at: to_position(at), meta: membership.to_bytes().into() };
    let bytes: Vec<u8> = rows::snapshot_pieces(state).flatten().collect();
    let hard_state = raft::HardState { term: at.term, vote: None, commit: at.index };
    Ok(log.bootstrap(&meta, &bytes, to_hard_state(hard_state))?)
}

/// Whether a directory belongs to a member already.
pub(crate) fn is_member(dir: &Path) -> bool {
    dir.join("cluster").exists()
}

fn write_durably(dir: &Path, (path, text): (&Path, &str)) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(dir)?.sync_all()
}

/// Begins the log of a new member: alone in a new cluster, or without anything in one that exists.
fn bootstrap(log: &mut LogStore, member: u64) -> Result<Recovered, DiskError> {
    let first = match member {
        1 => raft::Boot::first_start(raft::Membership::of_voters([raft::MemberId(1)])),
        _ => raft::Boot::joining(),
    };
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
