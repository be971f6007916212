//! Messages on their way to peers.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{self as pb, MessageType};

use crate::ids::{Index, MemberId};
use crate::wire::MAX_ENTRIES;

/// A message for one peer. Raft survives its loss, delay, reordering and duplication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub to: MemberId,
    /// The encoded message; the receiver's [`crate::Node::step`] takes it.
    pub bytes: Bytes,
    /// When it carries a snapshot: that snapshot's index. The leader sends this peer nothing else
    /// until the driver calls [`crate::Node::report_snapshot`].
    pub snapshot: Option<Index>,
}

/// Encodes messages; appends larger than `max_bytes` are split.
pub(crate) fn encode_all(messages: Vec<pb::Message>, max_bytes: usize) -> Vec<Message> {
    let mut encoded = Vec::with_capacity(messages.len());
    for message in messages {
        if message.get_msg_type() == MessageType::MsgAppend {
            split(message, max_bytes, &mut encoded);
        } else {
            encoded.push(encode(&message));
        }
    }
    encoded
}

fn encode(message: &pb::Message) -> Message {
    let bytes = message.write_to_bytes().expect("encoding into memory cannot fail");
    let carries_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
    Message {
        to: MemberId(message.to),
        bytes: bytes.into(),
        snapshot: carries_snapshot.then(|| Index(message.get_snapshot().get_metadata().index)),
    }
}

/// Raft adds new entries to an append that still waits to be sent, without regard to its size.
/// Cutting it into consecutive appends says the same: each part names the entry before it.
fn split(mut message: pb::Message, max_bytes: usize, encoded: &mut Vec<Message>) {
    let mut entries = message.take_entries().into_iter().peekable();
    loop {
        let (mut part, mut size) = (Vec::new(), 0);
        while let Some(entry) = entries.peek() {
            size += entry.compute_size() as usize;
            if !part.is_empty() && (size > max_bytes || part.len() == MAX_ENTRIES) {
                break;
            }
            part.extend(entries.next());
        }
        let end = part.last().map(|entry| (entry.index, entry.term));
        message.set_entries(part.into());
        encoded.push(encode(&message));
        match end {
            Some((index, term)) if entries.peek().is_some() => {
                message.index = index;
                message.log_term = term;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(sizes: &[usize]) -> pb::Message {
        let mut message = pb::Message { to: 2, index: 10, log_term: 3, ..Default::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.commit = 9;
        for (size, index) in sizes.iter().zip(11..) {
            let data = vec![0; *size].into();
            message.mut_entries().push(pb::Entry { index, term: 4, data, ..Default::default() });
        }
        message
    }

    fn parts(message: pb::Message, max_bytes: usize) -> Vec<(u64, u64, Vec<u64>)> {
        encode_all(vec![message], max_bytes)
            .iter()
            .map(|part| {
                let part = pb::Message::parse_from_carllerche_bytes(&part.bytes).expect("encoded");
                assert_eq!((part.to, part.commit), (2, 9));
                let indexes = part.get_entries().iter().map(|entry| entry.index).collect();
                (part.index, part.log_term, indexes)
            })
            .collect()
    }

    #[test]
    fn a_large_append_becomes_several_that_follow_each_other() {
        assert_eq!(
            parts(append(&[100, 100, 100, 500, 1]), 250),
            [(10, 3, vec![11, 12]), (12, 4, vec![13]), (13, 4, vec![14]), (14, 4, vec![15])]
        );
    }

    #[test]
    fn a_small_or_empty_append_stays_one() {
        assert_eq!(parts(append(&[100, 100]), 250), [(10, 3, vec![11, 12])]);
        assert_eq!(parts(append(&[]), 250), [(10, 3, vec![])]);
    }

    #[test]
    fn no_part_has_more_entries_than_a_receiver_takes() {
        let sizes = vec![0; MAX_ENTRIES + 2];
        let lengths: Vec<_> =
            parts(append(&sizes), usize::MAX).iter().map(|part| part.2.len()).collect();
        assert_eq!(lengths, [MAX_ENTRIES, 2]);
    }
}
