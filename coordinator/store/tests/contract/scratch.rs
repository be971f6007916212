//! Directories, entries and short ways to write them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use muster_store::{
    Batch, ClusterId, Entry, Error, HardState, Index, LogStore, Options, Position, Recovered,
    SnapshotMeta, Term,
};

pub(crate) const CLUSTER: ClusterId = ClusterId(*b"cluster of tests");

/// Small segments, so that every test crosses some.
pub(crate) const SEGMENT: u64 = 4096;

/// Where a new log begins.
pub(crate) const FIRST: Position = Position { index: Index(1), term: Term(1) };

/// A directory that goes away with the test.
pub(crate) struct Scratch {
    _guard: tempfile::TempDir,
    pub(crate) dir: PathBuf,
}

impl Scratch {
    /// In memory where the machine has such a place: what these tests ask does not depend on a disk.
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()))
    }

    /// Where temporary files are.
    pub(crate) fn on_disk() -> Self {
        Self::of(tempfile::tempdir())
    }

    fn of(guard: std::io::Result<tempfile::TempDir>) -> Self {
        let guard = guard.expect("a temporary directory");
        let dir = guard.path().join("member");
        Self { _guard: guard, dir }
    }

    /// Opens the store, and begins its log if it is new.
    pub(crate) fn begin(&self) -> LogStore {
        let (mut store, recovered) = try_open(&self.dir).expect("a new directory");
        assert_eq!(recovered, None);
        bootstrap(&mut store);
        store
    }

    pub(crate) fn open(&self) -> (LogStore, Recovered) {
        let (store, recovered) = try_open(&self.dir).expect("a sound directory");
        (store, recovered.expect("a log that was begun"))
    }

    /// Where each batch of the last segment begins, and at last where the next one will.
    pub(crate) fn borders(&self) -> Vec<usize> {
        let path = self.segments().pop().expect("a segment");
        let content = std::fs::read(path).expect("a segment");
        let mut borders = vec![64];
        while let Some([b'F', b'R', b'M', b'1', _, _, _, _, length @ ..]) =
            content[borders[borders.len() - 1]..].first_chunk::<12>()
        {
            let length = u32::from_le_bytes(*length) as usize;
            borders.push((borders[borders.len() - 1] + 32 + length).next_multiple_of(8));
        }
        borders
    }

    /// The last segment and where its content ends.
    pub(crate) fn tail(&self) -> (PathBuf, usize) {
        let end = self.borders().pop().expect("there is at least one border");
        (self.segments().pop().expect("a segment"), end)
    }

    /// The files of the log, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let read = std::fs::read_dir(self.dir.join("wal")).expect("a log");
        let mut paths: Vec<_> = read.map(|entry| entry.expect("a file").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "wal"));
        paths.sort();
        paths
    }
}

pub(crate) fn options() -> Options {
    Options { segment_bytes: SEGMENT, ..Options::new(CLUSTER) }
}

pub(crate) fn try_open(dir: &Path) -> Result<(LogStore, Option<Recovered>), Error> {
    LogStore::open(dir, &options())
}

pub(crate) fn bootstrap(store: &mut LogStore) {
    store.bootstrap(&meta(FIRST), b"the state at the start", state(1, 0, 1)).expect("room");
}

pub(crate) fn meta(at: Position) -> SnapshotMeta {
    SnapshotMeta { at, meta: Bytes::copy_from_slice(&at.index.0.to_le_bytes()) }
}

pub(crate) fn at(index: u64, term: u64) -> Position {
    Position::new(Index(index), Term(term))
}

pub(crate) fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote, commit: Index(commit) }
}

/// The one entry that belongs at a position: its bytes follow from it.
pub(crate) fn entry(index: u64, term: u64) -> Entry {
    let seed = index.wrapping_mul(0x9e37_79b9) ^ term << 40;
    let length = (seed >> 7) % 300;
    let data: Vec<u8> =
        (0..length).map(|byte| (seed.rotate_left(byte as u32) ^ byte) as u8).collect();
    Entry {
        index: Index(index),
        term: Term(term),
        kind: (seed % 3) as u8,
        data: data.into(),
        context: Bytes::copy_from_slice(&seed.to_le_bytes()),
    }
}

pub(crate) fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(index, term)).collect()
}

pub(crate) fn append(store: &mut LogStore, entries: &[Entry]) {
    store.append(&Batch { entries, sync: true, ..Batch::default() }).expect("room");
}

pub(crate) fn vote(store: &mut LogStore, hard_state: HardState) {
    let hard_state = Some(hard_state);
    store.append(&Batch { hard_state, sync: true, ..Batch::default() }).expect("room");
}

pub(crate) fn snapshot(store: &LogStore, at: Position) {
    let mut writer = store.snapshots().begin(&meta(at)).expect("room");
    writer.add(&at.index.0.to_le_bytes()).expect("room");
    writer.finish().expect("room");
}
