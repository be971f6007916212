//! Append, overwrite, reset, compact, reopen.

use bytes::Bytes;
use muster_store::{Batch, Entry, Error, Index, LogStore, Options};

use crate::scratch::{
    CLUSTER, FIRST, SEGMENT, Scratch, append, at, bootstrap, entries, meta, options, snapshot,
    state, try_open, vote,
};

#[test]
fn a_new_directory_holds_nothing_until_it_is_bootstrapped() {
    let scratch = Scratch::new();
    let (mut store, recovered) = try_open(&scratch.dir).expect("a new directory");
    assert_eq!(recovered, None);
    let refused = store.append(&Batch { entries: &entries(2..3, 1), ..Batch::default() });
    assert!(matches!(refused, Err(Error::Refused(_))));
    drop(store);
    let (mut store, recovered) = try_open(&scratch.dir).expect("still a new directory");
    assert_eq!(recovered, None);
    bootstrap(&mut store);
    let again = store.bootstrap(&meta(FIRST), b"", state(1, 0, 1));
    assert!(matches!(again, Err(Error::Refused(_))));
    drop(store);
    let (store, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.hard_state), (FIRST, state(1, 0, 1)));
    assert_eq!((recovered.snapshot, recovered.entries), (meta(FIRST), vec![]));
    let reader = store.snapshots().read(FIRST).expect("it is there");
    assert_eq!(reader.read_all().expect("intact"), b"the state at the start");
}

#[test]
fn entries_and_hard_state_are_found_again_across_segments() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    for first in (2..200).step_by(6) {
        append(&mut store, &entries(first..first + 6, 3));
    }
    vote(&mut store, state(4, 2, 150));
    assert_eq!(store.last(), at(199, 3));
    drop(store);
    assert!(scratch.segments().len() > 5);
    let (_, recovered) = scratch.open();
    assert_eq!(recovered.entries, entries(2..200, 3));
    assert_eq!(recovered.hard_state, state(4, 2, 150));
    assert_eq!(recovered.cut, None);
}

#[test]
fn an_append_at_an_earlier_index_overwrites_everything_from_there() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..100, 1));
    append(&mut store, &entries(40..45, 2));
    assert_eq!(store.last(), at(44, 2));
    drop(store);
    let (mut store, recovered) = scratch.open();
    let expected = [entries(2..40, 1), entries(40..45, 2)].concat();
    assert_eq!(recovered.entries, expected);
    append(&mut store, &entries(2..3, 5));
    drop(store);
    assert_eq!(scratch.open().1.entries, entries(2..3, 5));
}

#[test]
fn what_would_break_the_log_is_refused_and_changes_nothing() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..10, 1));
    let gap = [entries(10..12, 1), entries(13..14, 1)].concat();
    for wrong in [entries(11..12, 1), entries(1..2, 1), entries(0..1, 1), gap] {
        let refused = store.append(&Batch { entries: &wrong, sync: true, ..Batch::default() });
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    let reset = Some(at(50, 2));
    let refused = store.append(&Batch { reset, ..Batch::default() });
    assert!(matches!(refused, Err(Error::NoDurableSnapshot { .. })));
    append(&mut store, &entries(10..11, 1));
    drop(store);
    assert_eq!(scratch.open().1.entries, entries(2..11, 1));
}

#[test]
fn compaction_deletes_whole_segments_below_a_durable_snapshot() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    for index in 2..200 {
        append(&mut store, &entries(index..index + 1, 1));
    }
    let before = scratch.segments().len();
    let refused = store.compact(Index(120));
    assert!(matches!(refused, Err(Error::NoDurableSnapshot { newest: Some(FIRST), .. })));
    // A snapshot of some other history does not count.
    snapshot(&store, at(130, 2));
    assert!(matches!(store.compact(Index(120)), Err(Error::NoDurableSnapshot { .. })));
    snapshot(&store, at(150, 1));
    store.compact(Index(120)).expect("room");
    store.compact(Index(60)).expect("going back is no error");
    assert_eq!(store.base(), at(120, 1));
    assert!(scratch.segments().len() < before / 2 + 2);
    vote(&mut store, state(2, 1, 160));
    drop(store);
    let (mut store, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.snapshot), (at(120, 1), meta(at(150, 1))));
    assert_eq!(recovered.entries, entries(121..200, 1));
    assert_eq!(recovered.hard_state, state(2, 1, 160));
    store.compact(Index(150)).expect("up to the snapshot");
    drop(store);
    assert_eq!(scratch.open().1.entries, entries(151..200, 1));
}

#[test]
fn a_log_that_is_compacted_to_its_end_goes_on_after_it() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..100, 4));
    snapshot(&store, at(99, 4));
    store.compact(Index(99)).expect("room");
    drop(store);
    let (mut store, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.entries), (at(99, 4), vec![]));
    append(&mut store, &entries(100..101, 5));
    drop(store);
    assert_eq!(scratch.open().1.entries, entries(100..101, 5));
}

#[test]
fn a_reset_to_a_received_snapshot_replaces_the_log() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..300, 1));
    let segments = scratch.segments().len();
    snapshot(&store, at(500, 3));
    let (reset, hard_state) = (Some(at(500, 3)), Some(state(3, 0, 500)));
    let entries_after = entries(501..503, 3);
    store.append(&Batch { reset, entries: &entries_after, hard_state, sync: true }).expect("room");
    assert!(scratch.segments().len() < segments);
    drop(store);
    let (_, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.snapshot), (at(500, 3), meta(at(500, 3))));
    assert_eq!((recovered.entries, recovered.hard_state), (entries_after, state(3, 0, 500)));
}

#[test]
fn a_snapshot_ahead_of_the_log_does_not_count_until_the_log_was_reset_to_it() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..50, 1));
    snapshot(&store, at(40, 1));
    store.compact(Index(30)).expect("room");
    // Received, and then the power went before the log was reset. More than once.
    for index in [500, 600, 700] {
        snapshot(&store, at(index, 3));
    }
    drop(store);
    let (_, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.snapshot), (at(30, 1), meta(at(40, 1))));
    assert_eq!(recovered.entries, entries(31..50, 1));
}

#[test]
fn a_batch_larger_than_a_segment_is_written_whole() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    let data = Bytes::from(vec![7; 5 * SEGMENT as usize]);
    let large: Vec<_> = (2..6)
        .map(|index| Entry { data: data.clone(), ..crate::scratch::entry(index, 1) })
        .collect();
    append(&mut store, &large);
    append(&mut store, &entries(6..50, 1));
    drop(store);
    assert_eq!(scratch.open().1.entries, [large, entries(6..50, 1)].concat());
}

#[test]
fn an_empty_batch_and_one_without_sync_are_fine() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    store.append(&Batch::default()).expect("room");
    let hard_state = Some(state(1, 0, 7));
    store.append(&Batch { hard_state, ..Batch::default() }).expect("room");
    drop(store);
    assert_eq!(scratch.open().1.hard_state, state(1, 0, 7));
}

#[test]
fn a_directory_is_open_in_one_place_only_and_the_error_says_where() {
    let scratch = Scratch::new();
    let store = scratch.begin();
    let error = try_open(&scratch.dir).expect_err("it is held");
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    drop(scratch.open());
}

#[test]
fn the_directory_of_another_cluster_is_refused() {
    let scratch = Scratch::new();
    drop(scratch.begin());
    let other = Options { cluster: muster_store::ClusterId([9; 16]), ..options() };
    let error = LogStore::open(&scratch.dir, &other).expect_err("another cluster");
    assert!(matches!(error, Error::WrongCluster { found: CLUSTER, .. }), "{error}");
}

#[test]
fn the_directory_of_a_newer_program_is_refused_in_a_clear_sentence() {
    let scratch = Scratch::new();
    drop(scratch.begin());
    let path = &scratch.segments()[0];
    let mut content = std::fs::read(path).expect("a segment");
    content[8] = 9;
    std::fs::write(path, content).expect("room");
    let error = try_open(&scratch.dir).expect_err("a newer format");
    assert!(matches!(error, Error::NewerFormat { found: 9, supported: 1, .. }));
    let text = error.to_string();
    assert!(text.contains("start it with the newer version of Muster that wrote it"), "{text}");
}

#[test]
fn snapshots_without_a_log_are_never_taken_for_a_new_member() {
    let scratch = Scratch::new();
    drop(scratch.begin());
    std::fs::remove_dir_all(scratch.dir.join("wal")).expect("a log");
    let error = try_open(&scratch.dir).expect_err("the log is gone");
    assert!(matches!(error, Error::LogMissing { .. }), "{error}");
}

#[test]
fn a_damaged_snapshot_is_replaced_by_an_older_one_while_the_log_reaches_back_to_it() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..100, 1));
    snapshot(&store, at(50, 1));
    store.compact(Index(40)).expect("room");
    snapshot(&store, at(90, 1));
    drop(store);
    let newest = scratch.dir.join("snapshots").join(format!("{:020}-{:020}.snap", 90, 1));
    let rubbish = |path| std::fs::write(path, b"rubbish").expect("room");
    rubbish(&newest);
    let (mut store, recovered) = scratch.open();
    assert_eq!(recovered.snapshot, meta(at(50, 1)));
    assert_eq!((recovered.base, recovered.entries), (at(40, 1), entries(41..100, 1)));
    assert!(matches!(store.compact(Index(60)), Err(Error::NoDurableSnapshot { .. })));
    drop(store);
    rubbish(&scratch.dir.join("snapshots").join(format!("{:020}-{:020}.snap", 50, 1)));
    let error = try_open(&scratch.dir).expect_err("nothing to start from");
    assert!(matches!(error, Error::NoSnapshot { base: Index(40), .. }), "{error}");
}

#[test]
fn senseless_options_are_refused() {
    for segment_bytes in [0, 100, SEGMENT + 1, 2 << 30] {
        let options = Options { segment_bytes, ..options() };
        assert!(options.validate().is_err(), "{segment_bytes}");
    }
    assert_eq!(Options::new(CLUSTER).validate(), Ok(()));
}
