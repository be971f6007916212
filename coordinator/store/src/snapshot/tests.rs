use super::*;

const CLUSTER: ClusterId = ClusterId([3; 16]);

fn at(index: u64) -> Position {
    Position::new(Index(index), Term(2))
}

fn open(dir: &Path) -> Snapshots {
    Snapshots::open(dir, CLUSTER).expect("a directory")
}

fn write(snapshots: &Snapshots, index: u64, state: &[u8]) -> PathBuf {
    let meta = SnapshotMeta { at: at(index), meta: Bytes::from_static(b"who belongs to it") };
    let mut writer = snapshots.begin(&meta).expect("room");
    state.chunks(1000).for_each(|piece| writer.add(piece).expect("room"));
    assert_eq!(writer.finish().expect("room"), at(index));
    snapshots.path(at(index))
}

fn state(length: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte * 7 % 251) as u8).collect()
}

#[test]
fn a_snapshot_of_any_size_reads_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    for (index, length) in (1..).zip([0, 1, format::CHUNK, format::CHUNK + 1, 700_000]) {
        write(&snapshots, index, &state(length));
        let reader = open(dir.path()).read(at(index)).expect("it is there");
        assert_eq!(reader.meta().at, at(index));
        assert_eq!(&reader.meta().meta[..], b"who belongs to it");
        assert!(reader.read_all().expect("it is intact") == state(length));
    }
}

#[test]
fn any_flipped_bit_and_any_cut_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    let path = write(&snapshots, 5, &state(300));
    let whole = fs::read(&path).expect("a file");
    let is_damaged = |content: &[u8]| {
        fs::write(&path, content).expect("room");
        snapshots.read(at(5)).and_then(SnapshotReader::verify).is_err()
    };
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(is_damaged(&flipped), "bit {bit}");
    }
    for length in 0..whole.len() {
        assert!(is_damaged(&whole[..length]), "length {length}");
    }
    assert!(is_damaged(&[&whole[..], &[0]].concat()));
    assert!(!is_damaged(&whole));
}

#[test]
fn chunks_in_another_order_are_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    let path = write(&snapshots, 5, &state(2 * format::CHUNK));
    let mut content = fs::read(&path).expect("a file");
    let first = format::HEAD + b"who belongs to it".len();
    let length = format::CHUNK + 8;
    let (a, b) = content[first..first + 2 * length].split_at_mut(length);
    a.swap_with_slice(b);
    fs::write(&path, content).expect("room");
    let error = snapshots.read(at(5)).and_then(SnapshotReader::verify).expect_err("swapped");
    assert!(matches!(error, Error::DamagedSnapshot { .. }));
}

#[test]
fn the_newest_two_and_the_anchor_are_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    write(&snapshots, 1, b"a");
    snapshots.set_anchor(at(1));
    (2..6).for_each(|index| drop(write(&snapshots, index, b"b")));
    assert_eq!(snapshots.positions(), [at(1), at(4), at(5)]);
    snapshots.set_anchor(at(4));
    assert_eq!(snapshots.positions(), [at(4), at(5)]);
    assert_eq!(open(dir.path()).positions(), [at(4), at(5)]);
}

#[test]
fn a_damaged_snapshot_is_skipped_for_an_older_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    write(&snapshots, 1, b"old");
    let newest = write(&snapshots, 2, b"new");
    let anchor = |limit| {
        let found = open(dir.path()).anchor(|at| at.index <= Index(limit)).expect("a directory");
        found.map(|meta| meta.at.index.0)
    };
    assert_eq!((anchor(2), anchor(1), anchor(0)), (Some(2), Some(1), None));
    fs::write(&newest, b"rubbish").expect("room");
    assert_eq!(anchor(2), Some(1));
}

#[test]
fn what_was_not_finished_is_not_a_snapshot() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    let meta = SnapshotMeta { at: at(3), meta: Bytes::new() };
    let mut writer = snapshots.begin(&meta).expect("room");
    writer.add(b"half").expect("room");
    drop(writer);
    assert_eq!(list(dir.path()).expect("a directory").len(), 0);
    fs::write(dir.path().join("1-1.tmp"), b"of a crash").expect("room");
    assert_eq!(open(dir.path()).positions(), []);
    assert_eq!(list(dir.path()).expect("a directory").len(), 0);
}

#[test]
fn a_newer_format_and_another_cluster_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshots = open(dir.path());
    let path = write(&snapshots, 1, b"state");
    let other = Snapshots::open(dir.path(), ClusterId([4; 16])).expect("a directory");
    assert!(matches!(other.read(at(1)), Err(Error::WrongCluster { .. })));
    let mut content = fs::read(&path).expect("a file");
    content[8] = 2;
    fs::write(&path, content).expect("room");
    assert!(matches!(snapshots.read(at(1)), Err(Error::NewerFormat { found: 2, .. })));
}
