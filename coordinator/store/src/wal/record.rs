//! What is inside of a batch: a row of records, each a tag and its fields, little endian.
//!
//! ```text
//!   1 entry       index u64, term u64, kind u8, data length u32, context length u32, data, context
//!   2 hard state  term u64, vote u64, commit u64
//!   3 reset       index u64, term u64                the log starts over after a snapshot
//!   4 compact     index u64, term u64                entries up to here are forgotten
//!   5 checkpoint  index u64, term u64, hard state    first in every segment: base and hard state
//! ```

use bytes::Bytes;

use crate::types::{Entry, HardState, Index, Position, Term};

/// One record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Entry(Entry),
    HardState(HardState),
    Reset(Position),
    Compact(Position),
    Checkpoint(Position, HardState),
}

/// Bytes of a checkpoint.
pub(crate) const CHECKPOINT_BYTES: usize = 1 + 16 + 24;

/// Bytes of an entry beside its data and context.
pub(crate) const ENTRY_BYTES: usize = 1 + 8 + 8 + 1 + 4 + 4;

pub(crate) fn put_entry(buffer: &mut Vec<u8>, entry: &Entry) {
    buffer.push(1);
    put_position(buffer, entry.position());
    buffer.push(entry.kind);
    for part in [&entry.data, &entry.context] {
        let length = u32::try_from(part.len()).expect("the log refuses batches over a gibibyte");
        buffer.extend_from_slice(&length.to_le_bytes());
    }
    buffer.extend_from_slice(&entry.data);
    buffer.extend_from_slice(&entry.context);
}

pub(crate) fn put_hard_state(buffer: &mut Vec<u8>, state: HardState) {
    buffer.push(2);
    put_state(buffer, state);
}

pub(crate) fn put_reset(buffer: &mut Vec<u8>, at: Position) {
    buffer.push(3);
    put_position(buffer, at);
}

pub(crate) fn put_compact(buffer: &mut Vec<u8>, to: Position) {
    buffer.push(4);
    put_position(buffer, to);
}

pub(crate) fn put_checkpoint(buffer: &mut Vec<u8>, base: Position, state: HardState) {
    buffer.push(5);
    put_position(buffer, base);
    put_state(buffer, state);
}

/// Reads all records of a batch. `None` when they do not fill it exactly, which a matching CRC
/// makes a bug or a newer program, never bad luck.
pub(crate) fn read_all(payload: &[u8]) -> Option<Vec<Record>> {
    // One allocation a batch; data and contexts are slices of it.
    let payload = Bytes::copy_from_slice(payload);
    let mut reader = Reader { payload: &payload, at: 0 };
    let mut records = Vec::new();
    while reader.at < payload.len() {
        records.push(reader.record()?);
    }
    Some(records)
}

fn put_position(buffer: &mut Vec<u8>, at: Position) {
    buffer.extend_from_slice(&at.index.0.to_le_bytes());
    buffer.extend_from_slice(&at.term.0.to_le_bytes());
}

fn put_state(buffer: &mut Vec<u8>, state: HardState) {
    buffer.extend_from_slice(&state.term.0.to_le_bytes());
    buffer.extend_from_slice(&state.vote.to_le_bytes());
    buffer.extend_from_slice(&state.commit.0.to_le_bytes());
}

struct Reader<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Option<Record> {
        let [tag] = self.take::<1>()?;
        Some(match tag {
            1 => {
                let at = self.position()?;
                let [kind] = self.take::<1>()?;
                let data = self.length()?;
                let context = self.length()?;
                let (data, context) = (self.bytes(data)?, self.bytes(context)?);
                Record::Entry(Entry { index: at.index, term: at.term, kind, data, context })
            }
            2 => Record::HardState(self.state()?),
            3 => Record::Reset(self.position()?),
            4 => Record::Compact(self.position()?),
            5 => Record::Checkpoint(self.position()?, self.state()?),
            _ => return None,
        })
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position::new(Index(self.number()?), Term(self.number()?)))
    }

    fn state(&mut self) -> Option<HardState> {
        let (term, vote) = (Term(self.number()?), self.number()?);
        Some(HardState { term, vote, commit: Index(self.number()?) })
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.take().map(u32::from_le_bytes)?).ok()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.payload.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.payload.len())?;
        let bytes = self.payload.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_record_reads_back_and_the_bytes_are_pinned() {
        let at = Position::new(Index(0x0102), Term(3));
        let state = HardState { term: Term(4), vote: 5, commit: Index(6) };
        let (data, context) = (Bytes::from_static(b"da"), Bytes::from_static(b"c"));
        let entry = Entry { index: Index(7), term: Term(8), kind: 9, data, context };
        let mut bytes = Vec::new();
        put_checkpoint(&mut bytes, at, state);
        assert_eq!(bytes.len(), CHECKPOINT_BYTES);
        put_reset(&mut bytes, at);
        put_compact(&mut bytes, at);
        put_hard_state(&mut bytes, state);
        let before = bytes.len();
        put_entry(&mut bytes, &entry);
        assert_eq!(bytes.len() - before, ENTRY_BYTES + 3);
        let golden = "05020100000000000003000000000000000400000000000000050000000000000006000000\
                      00000000\
                      0302010000000000000300000000000000\
                      0402010000000000000300000000000000\
                      02040000000000000005000000000000000600000000000000\
                      01070000000000000008000000000000000902000000010000006461\
                      63";
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        let records = [
            Record::Checkpoint(at, state),
            Record::Reset(at),
            Record::Compact(at),
            Record::HardState(state),
            Record::Entry(entry),
        ];
        assert_eq!(read_all(&bytes).as_deref(), Some(records.as_slice()));
        for length in [1, 40, 42, 60, bytes.len() - 1] {
            assert_eq!(read_all(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(read_all(&[6]), None, "an unknown tag");
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_all(&payload);
        }
    }
}
