//! How rows of the state lie in snapshots and in the record store.
//!
//! A record's value begins with the index that wrote it (8 bytes, big-endian). A snapshot is a head (format
//! version, digest) and then each row with its length in front.

use bytes::{BufMut, Bytes, BytesMut};
use muster_state::{Index, State, Write};
use muster_store::{Record, RecordWrite};

/// The version of the snapshot format.
const FORMAT: u32 = 1;

/// A row as a record.
pub(super) fn record(version: Index, write: &Write) -> Record {
    Record {
        table: write.table,
        key: Bytes::copy_from_slice(&write.key),
        value: value(version, write.value.as_deref().unwrap_or_default()),
    }
}

/// A change as a change of a record.
pub(super) fn record_write(version: Index, write: &Write) -> RecordWrite {
    RecordWrite {
        table: write.table,
        key: Bytes::copy_from_slice(&write.key),
        value: write.value.as_deref().map(|bytes| value(version, bytes)),
    }
}

fn value(version: Index, bytes: &[u8]) -> Bytes {
    let mut value = BytesMut::with_capacity(8 + bytes.len());
    value.put_u64(version.0);
    value.put_slice(bytes);
    value.freeze()
}

/// A record as a row. A value that is too short for its version is no row.
pub(super) fn row(record: &Record) -> Option<(Index, Write)> {
    let (version, value) = record.value.split_at_checked(8)?;
    let version = u64::from_be_bytes(version.try_into().ok()?);
    let write =
        Write { table: record.table, key: record.key.to_vec(), value: Some(value.to_vec()) };
    Some((Index(version), write))
}

/// The bytes of a snapshot, in pieces.
pub(crate) fn snapshot_pieces(state: &State) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut head = BytesMut::new();
    let digest = state.digest().to_string();
    head.put_u32(FORMAT);
    head.put_u8(u8::try_from(digest.len()).expect("a digest is 32 characters"));
    head.put_slice(digest.as_bytes());
    let rows = state.export().map(|(version, write)| {
        let value = write.value.unwrap_or_default();
        let mut row = BytesMut::with_capacity(value.len() + write.key.len() + 32);
        row.put_u64(version.0);
        row.put_u8(write.table);
        row.put_u32(length(&write.key));
        row.put_slice(&write.key);
        row.put_u32(length(&value));
        row.put_slice(&value);
        row.to_vec()
    });
    std::iter::once(head.to_vec()).chain(rows)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a record is smaller than a Raft entry, which is capped")
}

/// Reads a snapshot.
pub(crate) fn from_snapshot(applied: Index, bytes: &[u8]) -> Result<State, String> {
    let mut reader = Reader(bytes);
    let format = reader.u32()?;
    if format != FORMAT {
        return Err(format!("has format {format}, and this version of Muster reads {FORMAT}"));
    }
    let digest_length = usize::from(reader.take(1)?[0]);
    let digest = reader.take(digest_length)?.to_vec();
    let mut rows = Vec::new();
    while !reader.0.is_empty() {
        let version = Index(reader.u64()?);
        let table = reader.take(1)?[0];
        let key = reader.block()?;
        let value = Some(reader.block()?);
        rows.push((version, Write { table, key, value }));
    }
    let state = State::import(applied, rows).map_err(|error| error.to_string())?;
    if state.digest().to_string().as_bytes() == &digest[..] {
        Ok(state)
    } else {
        Err("has another digest than the state that was written".into())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?.try_into().map_err(|_| "ends too early")?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, String> {
        let bytes = self.take(8)?.try_into().map_err(|_| "ends too early")?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn block(&mut self) -> Result<Vec<u8>, String> {
        let length = usize::try_from(self.u32()?).map_err(|error| error.to_string())?;
        Ok(self.take(length)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_model::{NodeName, Resources, Timestamp};
    use muster_state::{Body, Command, Policy, RegisterNode, decide};

    use super::*;

    fn state() -> State {
        let mut state = State::new();
        for (index, name) in (5..).zip(["a", "b", "c"]) {
            let body = Body::RegisterNode(RegisterNode {
                name: NodeName::new(name).unwrap(),
                address: "10.0.0.1".into(),
                capacity: Resources::new().with("cpu", 4000),
                labels: BTreeMap::new(),
                version: "0".into(),
                agent: String::new(),
                cut_off: None,
                witness: String::new(),
                members: Vec::new(),
            });
            let command = Command { request: None, at: Timestamp(index), body };
            let decision = decide(&state, &Policy::default(), &command);
            state.apply(Index(index), &decision.changes);
        }
        state
    }

    #[test]
    fn a_snapshot_brings_the_same_state_back() {
        let state = state();
        let bytes: Vec<u8> = snapshot_pieces(&state).flatten().collect();
        assert_eq!(from_snapshot(Index(7), &bytes), Ok(state));
    }

    #[test]
    fn a_snapshot_that_was_cut_or_changed_is_refused() {
        let bytes: Vec<u8> = snapshot_pieces(&state()).flatten().collect();
        for cut in 0..bytes.len() {
            assert!(from_snapshot(Index(7), &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(from_snapshot(Index(7), &changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn records_bring_the_same_state_back() {
        let state = state();
        let records: Vec<Record> = state.export().map(|(v, write)| record(v, &write)).collect();
        let again = State::import(state.applied(), records.iter().filter_map(row)).unwrap();
        assert_eq!(again, state);
    }
}
