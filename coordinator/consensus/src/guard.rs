//! What a peer message must satisfy before Raft sees it.
//!
//! The `raft` crate treats an impossible message as a bug and panics. Peers are authenticated, yet
//! one with a damaged disk, a lost log or an old program must not take this process down with it.
//! So every message is checked here against the rules that a correct peer keeps:
//!
//! - only messages that travel between members, addressed to us, with a real sender and term;
//!   proposals, reads and transfers are never forwarded, and snapshots are never requested;
//! - appends are one run of entries with growing terms after a named position;
//! - nobody claims to know more of a log than that log holds;
//! - snapshots name a possible membership.
//!
//! **Trusted**, because only a lie could break it: that a message tells the truth about votes,
//! matches and commits. Raft is not a Byzantine protocol; peers must authenticate (mutual TLS).

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{self as pb, MessageType};
use raft::{RawNode, StateRole};
use thiserror::Error as ThisError;

use crate::ids::{Index, MemberId};
use crate::log::MemoryLog;
use crate::membership::{Membership, decode_change};
use crate::wire;

/// Terms and indexes beyond this are nonsense; the margin keeps sums from overflowing.
const MAX_NUMBER: u64 = 1 << 62;

/// Why a peer message was not taken. None of these changed the node.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// Refused unread.
    #[error("a message of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`crate::Config::max_receive_bytes`].
        limit: usize,
    },
    /// The bytes do not decode, or no correct peer sends this.
    #[error("not a message of a correct peer: {0}")]
    Malformed(&'static str),
    /// Delivered to the wrong member: addresses and member numbers are mixed up.
    #[error("a message for member {to} from member {from} arrived here: check the peer addresses")]
    Misdelivered {
        /// For whom it was.
        to: MemberId,
        /// Who sent it.
        from: MemberId,
    },
    /// An answer of somebody who is not a member (any more).
    #[error("an answer from {0}, who is not a member")]
    Stranger(MemberId),
    /// The leader knows this member to hold entries that are not here.
    #[error(
        "the leader says that this member holds entry {commit}, but its log ends at {last}: acknowledged entries were lost; remove this member, empty its directory and add it again"
    )]
    LogLost {
        /// What the leader takes as stored here.
        commit: Index,
        /// The last entry.
        last: Index,
    },
    /// Votes are counted only while nothing waits to be written. As harmless as a lost message.
    #[error("a vote arrived while a write was owed")]
    Unsettled,
    /// The node stopped because a write was not completed.
    #[error("this node has stopped")]
    Stopped,
}

/// Decodes a message and checks what can be checked without knowing the node.
pub(crate) fn decode(bytes: &Bytes, limit: usize) -> Result<pb::Message, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLarge { bytes: bytes.len(), limit });
    }
    wire::check_message(bytes).map_err(Error::Malformed)?;
    let message = pb::Message::parse_from_carllerche_bytes(bytes)
        .map_err(|_| Error::Malformed("the bytes do not decode"))?;
    check_form(&message).map_err(Error::Malformed)?;
    Ok(message)
}

/// Checks a decoded message against the node that is to take it.
pub(crate) fn check(node: &RawNode<MemoryLog>, message: &pb::Message) -> Result<(), Error> {
    let raft = &node.raft;
    let from = MemberId(message.from);
    if message.to != raft.id || message.from == raft.id {
        return Err(Error::Misdelivered { to: MemberId(message.to), from });
    }
    let current = message.term >= raft.term;
    match message.get_msg_type() {
        MessageType::MsgHeartbeat if current => {
            let last = raft.raft_log.last_index();
            if message.commit > last {
                return Err(Error::LogLost { commit: Index(message.commit), last: Index(last) });
            }
        }
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
            if raft.prs().get(message.from).is_none() {
                return Err(Error::Stranger(from));
            }
            let ours = message.term == raft.term && raft.state == StateRole::Leader;
            if ours && !message.reject && message.index > raft.raft_log.last_index() {
                return Err(Error::Malformed("acknowledges entries that were never sent"));
            }
        }
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            if raft.prs().get(message.from).is_none() {
                return Err(Error::Stranger(from));
            }
            // Raft asserts that a new leader's log is durable, which is so when its own vote
            // requests went out first. An answer to a request that was not sent yet is no answer.
            if !settled(node) {
                return Err(Error::Unsettled);
            }
        }
        MessageType::MsgTimeoutNow if is_alone(node) && !settled(node) => {
            return Err(Error::Unsettled);
        }
        _ => {}
    }
    Ok(())
}

/// Whether everything in Raft's log is durable.
pub(crate) fn settled(node: &RawNode<MemoryLog>) -> bool {
    let log = &node.raft.raft_log;
    log.unstable_snapshot().is_none() && log.persisted == log.last_index()
}

/// Whether this member wins an election with its own vote: nobody else has one, in the joint
/// membership neither.
pub(crate) fn is_alone(node: &RawNode<MemoryLog>) -> bool {
    let raft = &node.raft;
    raft.promotable() && raft.prs().conf().voters().ids().iter().all(|id| id == raft.id)
}

fn check_form(message: &pb::Message) -> Result<(), &'static str> {
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
    ];
    if numbers.iter().any(|number| *number > MAX_NUMBER) {
        return Err("a term or index beyond all bounds");
    }
    if message.from == 0 || message.term == 0 {
        return Err("no sender or no term");
    }
    if message.request_snapshot != 0 || message.priority != 0 || message.deprecated_priority != 0 {
        return Err("a feature that members do not use");
    }
    if message.get_msg_type() != MessageType::MsgSnapshot && message.snapshot.is_some() {
        return Err("a snapshot in a message that carries none");
    }
    if message.get_msg_type() != MessageType::MsgAppend && !message.entries.is_empty() {
        return Err("entries in a message that carries none");
    }
    match message.get_msg_type() {
        MessageType::MsgAppend => check_append(message),
        MessageType::MsgSnapshot => check_snapshot(message),
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => Ok(()),
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => Err("a kind that does not travel"),
    }
}

fn check_append(message: &pb::Message) -> Result<(), &'static str> {
    // Raft reads "term 0" at any index beyond the log, so that such a message would match there.
    if (message.index == 0) != (message.log_term == 0) || message.log_term > message.term {
        return Err("an append after an impossible position");
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.get_entries() {
        if entry.index != index + 1 || entry.index > MAX_NUMBER {
            return Err("entries that are not one run");
        }
        if entry.term < term || entry.term == 0 || entry.term > message.term {
            return Err("entries whose terms do not fit");
        }
        match entry.get_entry_type() {
            pb::EntryType::EntryNormal => {}
            pb::EntryType::EntryConfChangeV2 if decode_change(&entry.data).is_some() => {}
            _ => return Err("a membership entry that does not decode"),
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

fn check_snapshot(message: &pb::Message) -> Result<(), &'static str> {
    let meta = message.get_snapshot().get_metadata();
    if meta.index == 0 || meta.index > MAX_NUMBER || meta.term == 0 || meta.term > message.term {
        return Err("a snapshot at an impossible position");
    }
    let state = meta.get_conf_state();
    let membership = Membership::from_raft(state);
    if membership.voters.is_empty() || membership.validate().is_err() {
        return Err("a snapshot with an impossible membership");
    }
    // A set drops what Raft's lists may repeat.
    if membership.to_raft().compute_size() != state.compute_size() {
        return Err("a snapshot that names a member twice");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
