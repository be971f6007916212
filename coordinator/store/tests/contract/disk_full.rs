//! A disk without room: a small tmpfs, mounted by the test binary for itself in a namespace of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use muster_store::{Batch, Entry, Error, Index, LogStore, Options};

use crate::scratch::{
    Scratch, append, at, bootstrap, entries, entry, meta, options, snapshot, state, vote,
};

/// The test that is the child, and how it learns that it is.
const CHILD: &str = "disk_full::a_full_disk_is_a_retryable_error_and_votes_are_still_written";
const DISK: &str = "MUSTER_STORE_FULL_DISK";

const SEGMENT: u64 = 64 << 10;

fn open(dir: &Path) -> (LogStore, Option<muster_store::Recovered>) {
    let options = Options { segment_bytes: SEGMENT, ..options() };
    LogStore::open(dir, &options).expect("a sound directory")
}

/// Appends until there is no room. Returns what was appended.
fn fill(store: &mut LogStore) -> Vec<Entry> {
    let mut all = Vec::new();
    loop {
        let next = store.last().index.next().0;
        let new = entries(next..next + 20, 1);
        match store.append(&Batch { entries: &new, sync: true, ..Batch::default() }) {
            Ok(()) => all.extend(new),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                let Error::DiskFull { dir, needed, free } = &error else { panic!("{error}") };
                assert!(dir.ends_with("wal") && *needed == SEGMENT && free < needed, "{error}");
                assert!(error.to_string().contains("make room there"), "{error}");
                assert_eq!(store.last().index.next().0, next, "the log is as before");
                return all;
            }
        }
    }
}

fn on_a_full_disk(disk: &Path) {
    let dir = disk.join("member");
    let (mut store, _) = open(&dir);
    bootstrap(&mut store);
    let mut all = entries(2..400, 1);
    // Two batches, so that the first segment holds nothing but what is forgotten later.
    append(&mut store, &all[..248]);
    append(&mut store, &all[248..]);
    snapshot(&store, at(300, 1));
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![7; 1 << 20]).expect("room for the ballast");
    all.extend(fill(&mut store));
    assert!(fill(&mut store).is_empty() && all.len() > 500);
    // Terms and votes go on, also beyond the segment that was begun for entries.
    for term in 2..900 {
        vote(&mut store, state(term, term % 3, 1));
    }
    // They live on the reserve now, of which entries get nothing.
    assert!(fill(&mut store).is_empty());
    drop(store);

    let (mut store, recovered) = open(&dir);
    let recovered = recovered.expect("a log");
    assert_eq!((recovered.entries.len(), recovered.cut), (all.len(), None));
    assert!(recovered.entries == all);
    assert_eq!(recovered.hard_state, state(899, 899 % 3, 1));
    assert!(fill(&mut store).is_empty());
    vote(&mut store, state(900, 1, 1));

    // A snapshot finds no room either, and leaves nothing behind.
    let mut writer = store.snapshots().begin(&meta(at(350, 1))).expect("room for a head");
    let full = (0..).find_map(|_| writer.add(&[7; 64 << 10]).err()).expect("there is an end");
    assert!(full.is_retryable(), "{full}");
    drop(writer);
    let snapshots: Vec<_> = fs::read_dir(dir.join("snapshots")).expect("a directory").collect();
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");

    // Forgetting what the snapshot contains makes room, without any.
    store.compact(Index(300)).expect("a mark is small");
    let more = fill(&mut store);
    assert!(!more.is_empty());
    all.extend(more);

    // And when somebody else makes room, the very call that failed succeeds.
    fs::remove_file(&ballast).expect("the ballast");
    let next = store.last().index.next().0;
    append(&mut store, &[entry(next, 1)]);
    all.push(entry(next, 1));
    drop(store);
    let recovered = open(&dir).1.expect("a log");
    assert_eq!((recovered.base, recovered.hard_state), (at(300, 1), state(900, 1, 1)));
    assert!(recovered.entries == all[299..]);
}

/// As the child: does it. Otherwise: mounts the disk and starts the child.
#[test]
fn a_full_disk_is_a_retryable_error_and_votes_are_still_written() {
    if let Some(disk) = std::env::var_os(DISK) {
        return on_a_full_disk(Path::new(&disk));
    }
    let unshare = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]).args(args);
        command
    };
    let scratch = Scratch::new();
    let disk = scratch.dir.parent().expect("a scratch directory has a parent");
    let mount = "mount -t tmpfs -o size=2m tmpfs \"$0\"";
    let disk_text = disk.to_str().expect("a plain path");
    match unshare(&["sh", "-c", mount, disk_text]).output() {
        Ok(tried) if tried.status.success() => {}
        tried => {
            eprintln!(
                "skipped: a full disk needs a mount namespace, which this user cannot have: {tried:?}"
            );
            return;
        }
    }
    let exe = std::env::current_exe().expect("this test");
    let run = format!("{mount} && exec \"$1\" \"$2\" --exact --nocapture");
    let output =
        unshare(&["sh", "-c", &run, disk_text, exe.to_str().expect("a plain path"), CHILD])
            .env(DISK, disk)
            .output()
            .expect("it ran a moment ago");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{said}");
}
