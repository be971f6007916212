//! What a node has for its driver to do, in an order that the types enforce.
//!
//! A [`Ready`] borrows the node, so nothing can be put in while it is worked on. It is used up by
//! [`Ready::persisted`], which is the driver's word that [`Write`] is durable, and which alone gives
//! out what may only happen after that. A driver that cannot keep its word drops the [`Ready`]
//! instead: the node then falls silent, as if it had crashed, and has to be started again from disk.

use bytes::Bytes;
use raft::eraftpb as pb;

use crate::entry::{Committed, Entry, HardState, Payload, Snapshot};
use crate::ids::{Index, Position, ReadId, Term};
use crate::message::{Message, encode_all};
use crate::node::Node;
use crate::status::{Role, Standing};

/// What has to be made durable, all of it before [`Ready::persisted`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    /// A snapshot of the leader, which replaces the whole log and the application's state. It comes
    /// before the entries.
    pub snapshot: Option<Snapshot>,
    /// Entries to append. The first may overwrite what is already there, which then drops everything
    /// after it as well.
    pub entries: Vec<Entry>,
    /// The hard state, when it has changed.
    pub hard_state: Option<HardState>,
    /// Whether it must have reached the disk. When not, only the commit index has moved, and the
    /// write may be late, or lost, or left out.
    pub sync: bool,
}

/// A read that may be answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadReady {
    /// The caller's number for it.
    pub id: ReadId,
    /// Answer it from a state that has applied this entry.
    pub index: Index,
}

/// Work for the driver. See the module and the crate for the order of things.
#[must_use = "dropping a Ready stops the node; call `persisted` when its write is durable"]
pub struct Ready<'n> {
    node: &'n mut Node,
    /// Raft's own record of this round; taken when the driver has kept its word.
    round: Option<raft::Ready>,
    messages: Vec<Message>,
    committed: Vec<Committed>,
    reads: Vec<ReadReady>,
    standing: Option<Standing>,
    write: Write,
    /// Messages that must not overtake the write.
    held: Vec<pb::Message>,
    /// Committed entries that wait because one of them changes the membership.
    deferred: Vec<pb::Entry>,
}

/// What may happen now that the write is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "messages must be sent and committed entries applied"]
pub struct Persisted {
    /// Messages to send.
    pub messages: Vec<Message>,
    /// Entries to apply, after those of [`Ready::take_committed`] and after any snapshot.
    pub committed: Vec<Committed>,
}

// === impl Write ===

impl Write {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_none() && self.entries.is_empty() && self.hard_state.is_none()
    }
}

// === impl Ready ===

impl<'n> Ready<'n> {
    /// The node has something to do.
    pub(crate) fn take(node: &'n mut Node) -> Self {
        let mut round = node.raw.ready();
        let hard_state = HardState::from_raft(&node.raw.raft.hard_state());
        let last = node.written;
        let new_vote = (hard_state.term, hard_state.vote) != (last.term, last.vote);
        let write = write(&round, (hard_state != last).then_some(hard_state));
        if write.hard_state.is_some() {
            node.written = hard_state;
        }
        let standing = Standing::of(&node.raw);
        let told = (standing != node.told).then_some(standing);
        node.told = standing;
        if standing.role != Role::Leader {
            node.raw.mut_store().forget_wants();
        }
        // Raft lets a leader send before it has written. It may, because its term is durable by
        // then; but the only voter of a cluster (with learners) starts to lead in the same round
        // that brings the term. Forgetting that term in a crash, it could use it twice.
        let (mut now, mut held) = (round.take_messages(), round.take_persisted_messages());
        if new_vote {
            held.splice(..0, now.drain(..));
        }
        let mut deferred = round.take_committed_entries();
        let mut committed = Vec::new();
        let plain = |entry: &pb::Entry| entry.get_entry_type() == pb::EntryType::EntryNormal;
        if deferred.iter().all(plain) {
            committed = deferred.drain(..).map(data_entry).collect();
        }
        let reads = round
            .take_read_states()
            .iter()
            .filter_map(|read| {
                let id = ReadId::from_context(&read.request_ctx)?;
                Some(ReadReady { id, index: Index(read.index) })
            })
            .collect();
        let messages = encode_all(now, node.config.max_message_bytes);
        Self {
            node,
            round: Some(round),
            messages,
            committed,
            reads,
            standing: told,
            write,
            held,
            deferred,
        }
    }

    /// Messages to send, at best before or while writing: they carry nothing that the write must
    /// precede.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    /// Entries to apply; they are durable already. There are none when a snapshot is to be
    /// installed.
    pub fn take_committed(&mut self) -> Vec<Committed> {
        std::mem::take(&mut self.committed)
    }

    /// Reads that may be answered.
    pub fn take_reads(&mut self) -> Vec<ReadReady> {
        std::mem::take(&mut self.reads)
    }

    /// Role, term and leader, when any of them has changed.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing
    }

    /// What has to be made durable.
    #[must_use]
    pub fn write(&self) -> &Write {
        &self.write
    }

    /// The driver's word that the write is durable (or that there was nothing to sync).
    pub fn persisted(mut self) -> Persisted {
        let round = self.round.take().expect("only this method takes the round, and it takes self");
        let node = &mut *self.node;
        let log = node.raw.mut_store();
        let snapshot = round.snapshot();
        if !snapshot.is_empty() {
            let meta = snapshot.get_metadata();
            log.reset(Position::new(Index(meta.index), Term(meta.term)));
            node.membership_since = Index(meta.index);
        }
        node.raw.mut_store().append(round.entries());
        let mut after = node.raw.advance_append(round);
        let mut messages = std::mem::take(&mut self.held);
        messages.extend(after.take_messages());
        let mut entries = std::mem::take(&mut self.deferred);
        entries.extend(after.take_committed_entries());
        let committed = entries.into_iter().map(|entry| commit(node, entry)).collect();
        // The order matters: Raft leaves a joint membership when the entry that entered it is both
        // in effect and counted as applied.
        node.raw.advance_apply();
        node.step_down_without_vote();
        node.campaign_when_alone();
        node.pin_timeout();
        Persisted { messages: encode_all(messages, node.config.max_message_bytes), committed }
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if self.round.is_some() {
            self.node.stopped = true;
        }
    }
}

fn write(round: &raft::Ready, hard_state: Option<HardState>) -> Write {
    let snapshot = round.snapshot();
    let mut write = Write {
        snapshot: (!snapshot.is_empty()).then(|| Snapshot::from_raft(snapshot)),
        entries: round.entries().iter().map(Entry::from_raft).collect(),
        hard_state: None,
        sync: round.must_sync(),
    };
    // The commit index may have moved after the last round, which Raft does not tell. It rides along
    // with the next write, so that what is on disk does not lag for long.
    if round.hs().is_some() || !write.is_empty() {
        write.hard_state = hard_state;
    }
    write
}

fn commit(node: &mut Node, entry: pb::Entry) -> Committed {
    if entry.get_entry_type() == pb::EntryType::EntryNormal {
        return data_entry(entry);
    }
    node.change_membership(Index(entry.index), &entry.data);
    let payload = Payload::Membership { now: node.membership(), context: entry.context };
    Committed { index: Index(entry.index), term: Term(entry.term), payload }
}

fn data_entry(entry: pb::Entry) -> Committed {
    let (index, term) = (Index(entry.index), Term(entry.term));
    let (data, context): (Bytes, Bytes) = (entry.data, entry.context);
    let payload = if data.is_empty() && context.is_empty() {
        Payload::Nothing
    } else {
        Payload::Data { data, context }
    };
    Committed { index, term, payload }
}
