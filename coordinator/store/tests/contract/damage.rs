//! Torn ends are cut, damage is refused, and what was cut never comes back.

use std::fs;

use muster_store::{Batch, Error};

use crate::scratch::{Scratch, append, at, bootstrap, entries, entry, state, try_open, vote};

/// A log of one segment with so many small batches. Returns where each begins and the last one ends,
/// beginning with the first of them.
fn log_of_batches(scratch: &Scratch, batches: u64) -> Vec<usize> {
    let mut store = scratch.begin();
    for index in 2..2 + batches {
        let mut small = entry(index, 1);
        small.data.truncate(40);
        append(&mut store, &[small]);
    }
    assert_eq!(scratch.segments().len(), 1, "the test wants one segment");
    scratch.borders().split_off(1)
}

#[test]
fn a_batch_torn_at_any_byte_is_cut_and_everything_before_it_stays() {
    let scratch = Scratch::new();
    let borders = log_of_batches(&scratch, 6);
    let (begin, end) = (borders[borders.len() - 2], borders[borders.len() - 1]);
    let (path, _) = scratch.tail();
    let whole = fs::read(&path).expect("a segment");
    let all = scratch.open().1.entries;
    for torn in begin..end {
        let garbage = |byte: u8| {
            let mut content = whole.clone();
            content[torn..end].iter_mut().for_each(|b| *b = byte.wrapping_add(b.rotate_left(3)));
            content
        };
        let mut zeros = whole.clone();
        zeros[torn..end].fill(0);
        let short = whole[..torn].to_vec();
        // The other way round: only the later blocks made it.
        let mut headless = whole.clone();
        headless[begin..=torn].fill(0);
        for content in [zeros, short, garbage(0x5b), headless] {
            fs::write(&path, &content).expect("room");
            let (_, recovered) = scratch.open();
            if recovered.entries == all {
                // Only zeros were torn off.
                assert!(content.len() < whole.len() || content == whole, "byte {torn}");
                continue;
            }
            assert_eq!(recovered.entries, all[..all.len() - 1], "byte {torn}");
            let now = fs::read(&path).expect("a segment");
            assert_eq!(now.len(), whole.len());
            assert!(now[begin..].iter().all(|byte| *byte == 0), "byte {torn}: not wiped");
        }
    }
}

#[test]
fn any_flipped_bit_before_the_last_batch_is_refused() {
    let scratch = Scratch::new();
    let borders = log_of_batches(&scratch, 5);
    let (path, end) = scratch.tail();
    let whole = fs::read(&path).expect("a segment");
    let last = borders[borders.len() - 2];
    for bit in (0..last * 8).filter(|bit| bit / 8 >= 64 || bit % 8 == 0) {
        let mut content = whole.clone();
        content[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &content).expect("room");
        let error = try_open(&scratch.dir).expect_err("damage");
        let expected = matches!(
            error,
            Error::Damaged { .. } | Error::NewerFormat { .. } | Error::WrongCluster { .. }
        );
        assert!(expected, "bit {bit}: {error}");
        let now = fs::read(&path).expect("a segment");
        assert!(now == content, "bit {bit}: a refused log must not be touched");
    }
    assert!(end > last);
    fs::write(&path, &whole).expect("room");
    assert_eq!(scratch.open().1.entries.len(), 5);
}

#[test]
fn a_lost_block_in_the_middle_is_refused_with_file_offset_and_advice() {
    let scratch = Scratch::new();
    let borders = log_of_batches(&scratch, 6);
    let (path, _) = scratch.tail();
    let mut content = fs::read(&path).expect("a segment");
    content[borders[2]..borders[3]].fill(0);
    fs::write(&path, content).expect("room");
    let error = try_open(&scratch.dir).expect_err("damage");
    let Error::Damaged { file, offset, .. } = &error else { panic!("{error}") };
    assert_eq!((file, *offset), (&path, borders[2] as u64));
    let text = error.to_string();
    for needed in ["0000000000000001.wal", &offset.to_string(), "Do not delete", "backup"] {
        assert!(text.contains(needed), "{text}");
    }
}

#[test]
fn damage_in_an_earlier_segment_is_refused_even_at_its_end() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    for index in 2..150 {
        append(&mut store, &[entry(index, 1)]);
    }
    drop(store);
    let segments = scratch.segments();
    let first = fs::read(&segments[0]).expect("a segment");
    let end = first.iter().rposition(|byte| *byte != 0).expect("content");
    let mut torn = first.clone();
    torn[end] ^= 1;
    fs::write(&segments[0], &torn).expect("room");
    assert!(matches!(try_open(&scratch.dir), Err(Error::Damaged { .. })));
    fs::write(&segments[0], &first[..end / 2]).expect("room");
    assert!(matches!(try_open(&scratch.dir), Err(Error::Damaged { .. })));
    fs::write(&segments[0], &first).expect("room");
    drop(scratch.open());
    // One that is gone, and one that took its place.
    let aside = scratch.dir.join("aside");
    fs::rename(&segments[1], &aside).expect("a segment");
    let error = try_open(&scratch.dir).expect_err("a gap");
    assert!(error.to_string().contains("is missing"), "{error}");
    fs::copy(&segments[2], &segments[1]).expect("room");
    assert!(matches!(try_open(&scratch.dir), Err(Error::Damaged { .. })));
    fs::rename(&aside, &segments[1]).expect("a segment");
    assert_eq!(scratch.open().1.entries.len(), 148);
}

#[test]
fn unsynced_batches_of_which_a_crash_kept_only_the_later_are_cut_not_refused() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..4, 1));
    let lost = scratch.tail().1;
    let unsynced = |commit| Batch { hard_state: Some(state(1, 0, commit)), ..Batch::default() };
    store.append(&unsynced(2)).expect("room");
    let kept = scratch.tail().1;
    store.append(&unsynced(3)).expect("room");
    // This one is synced, but the power goes before that has ended, so it knows of no later sync.
    append(&mut store, &entries(4..5, 1));
    drop(store);
    let (path, _) = scratch.tail();
    let mut content = fs::read(&path).expect("a segment");
    content[lost..kept].fill(0);
    fs::write(&path, content).expect("room");
    let (_, recovered) = scratch.open();
    assert_eq!(recovered.entries, entries(2..4, 1));
    assert_eq!(recovered.hard_state, state(1, 0, 1));
    let cut = recovered.cut.expect("something was cut");
    assert_eq!((cut.file, cut.offset), (path, lost as u64));
}

#[test]
fn what_was_cut_never_comes_back() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    append(&mut store, &entries(2..4, 1));
    let begin = scratch.tail().1;
    // Three batches of equal size, none of them acknowledged.
    for commit in [2, 3, 4] {
        let hard_state = Some(state(1, 0, commit));
        store.append(&Batch { hard_state, ..Batch::default() }).expect("room");
    }
    drop(store);
    let (path, end) = scratch.tail();
    let mut content = fs::read(&path).expect("a segment");
    let length = (end - begin) / 3;
    content[begin..begin + length].fill(0);
    fs::write(&path, content).expect("room");
    let (mut store, recovered) = scratch.open();
    assert_eq!(recovered.hard_state, state(1, 0, 1));
    // A new batch of just that size: the old ones would follow it seamlessly.
    vote(&mut store, state(2, 9, 2));
    assert_eq!(scratch.tail().1, begin + length);
    drop(store);
    let (_, recovered) = scratch.open();
    assert_eq!((recovered.hard_state, recovered.cut), (state(2, 9, 2), None));
}

#[test]
fn a_bootstrap_that_a_crash_interrupted_is_done_again() {
    let scratch = Scratch::new();
    drop(scratch.begin());
    // The snapshot is there, the first batch of the log is not.
    let (path, end) = scratch.tail();
    let mut content = fs::read(&path).expect("a segment");
    content[64..end].fill(0);
    fs::write(&path, content).expect("room");
    let (mut store, recovered) = try_open(&scratch.dir).expect("a new directory");
    assert_eq!(recovered, None);
    bootstrap(&mut store);
    append(&mut store, &entries(2..3, 1));
    drop(store);
    assert_eq!(scratch.open().1.entries, entries(2..3, 1));
}

#[test]
fn a_crash_between_a_compaction_mark_and_its_deletions_is_finished_at_the_next_start() {
    let scratch = Scratch::new();
    let mut store = scratch.begin();
    for index in 2..120 {
        append(&mut store, &[entry(index, 1)]);
    }
    let before: Vec<_> =
        scratch.segments().iter().map(|path| (path.clone(), fs::read(path).expect("it"))).collect();
    crate::scratch::snapshot(&store, at(100, 1));
    store.compact(muster_store::Index(100)).expect("room");
    drop(store);
    let after = scratch.segments();
    // Deletions that were not durable: the files are back.
    for (path, content) in before.iter().filter(|(path, _)| !after.contains(path)) {
        fs::write(path, content).expect("room");
    }
    let (_, recovered) = scratch.open();
    assert_eq!((recovered.base, recovered.entries), (at(100, 1), entries(101..120, 1)));
    assert_eq!(scratch.segments(), after);
}
