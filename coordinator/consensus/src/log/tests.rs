use super::*;
use crate::entry::SnapshotMeta;
use crate::membership::Membership;

fn entry(index: u64, term: u64, size: usize) -> pb::Entry {
    pb::Entry { index, term, data: vec![7; size].into(), ..Default::default() }
}

fn log(base: u64, terms: &[u64]) -> MemoryLog {
    let entries = terms.iter().zip(base + 1..).map(|(term, index)| entry(index, *term, 100));
    let base = Position::new(Index(base), Term(1));
    MemoryLog::new(RaftState::default(), base, entries.collect())
}

fn indexes(log: &MemoryLog, low: u64, high: u64, max: Option<u64>) -> raft::Result<Vec<u64>> {
    let entries = log.entries(low, high, max, GetEntriesContext::empty(false))?;
    Ok(entries.iter().map(|entry| entry.index).collect())
}

fn snapshot(index: u64, voters: &[u64]) -> Snapshot {
    Snapshot {
        meta: SnapshotMeta {
            at: Position::new(Index(index), Term(1)),
            membership: Membership::of_voters(voters.iter().copied().map(MemberId)),
        },
        data: Default::default(),
    }
}

#[test]
fn entries_are_cut_by_size_but_never_to_nothing() {
    let log = log(10, &[1, 1, 2, 2]);
    assert_eq!(indexes(&log, 11, 15, None), Ok(vec![11, 12, 13, 14]));
    assert_eq!(indexes(&log, 11, 13, None), Ok(vec![11, 12]));
    assert_eq!(indexes(&log, 12, 15, Some(0)), Ok(vec![12]));
    assert_eq!(indexes(&log, 11, 15, Some(230)), Ok(vec![11, 12]));
}

#[test]
fn what_is_not_there_is_an_error_and_not_a_panic() {
    let log = log(10, &[1, 1]);
    assert_eq!(indexes(&log, 10, 12, None), Err(Error::Store(StorageError::Compacted)));
    assert_eq!(indexes(&log, 11, 14, None), Err(Error::Store(StorageError::Unavailable)));
    assert_eq!(log.term(9), Err(Error::Store(StorageError::Compacted)));
    assert_eq!(log.term(10), Ok(1));
    assert_eq!(log.term(13), Err(Error::Store(StorageError::Unavailable)));
}

#[test]
fn an_append_overwrites_the_suffix_from_its_first_entry() {
    let mut log = log(10, &[1, 1, 1]);
    log.append(&[entry(12, 2, 1)]);
    assert_eq!(log.last(), Position::new(Index(12), Term(2)));
    assert_eq!(log.term_at(Index(11)), Some(Term(1)));
    log.append(&[]);
    assert_eq!(log.last().index, Index(12));
}

#[test]
#[should_panic(expected = "without a gap")]
fn an_append_after_a_gap_is_refused() {
    log(10, &[1]).append(&[entry(13, 1, 1)]);
}

#[test]
fn compaction_keeps_the_term_of_the_base() {
    let mut log = log(10, &[1, 2, 3]);
    log.compact(Index(12));
    assert_eq!(log.base(), Position::new(Index(12), Term(2)));
    assert_eq!(indexes(&log, 13, 14, None), Ok(vec![13]));
    log.compact(Index(13));
    assert_eq!(log.last(), Position::new(Index(13), Term(3)));
    assert_eq!(log.first_index(), Ok(14));
}

#[test]
fn a_snapshot_is_asked_for_until_a_usable_one_is_offered() {
    let unavailable = || Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
    let mut log = log(10, &[1, 1, 1]);
    assert_eq!(log.snapshot(0, 3), unavailable());
    assert_eq!(log.wanted_by(), BTreeSet::from([MemberId(3)]));
    // Member 3 is not in it, so it would ignore it.
    assert_eq!(log.offer(snapshot(11, &[1, 2])), BTreeSet::new());
    assert_eq!(log.snapshot(0, 3), unavailable());
    assert_eq!(log.offer(snapshot(12, &[1, 2, 3])), BTreeSet::from([MemberId(3)]));
    assert_eq!(log.snapshot(0, 3).map(|s| s.get_metadata().index), Ok(12));
    assert_eq!(log.wanted_by(), BTreeSet::new());
    // Compacted beyond it: a follower could not continue after it.
    log.compact(Index(13));
    assert_eq!(log.snapshot(0, 3), unavailable());
    log.forget_wants();
    assert_eq!(log.wanted_by(), BTreeSet::new());
}
