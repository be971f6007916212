//! The node: what goes in. What comes out is in [`crate::Ready`].

use std::collections::BTreeSet;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb as pb;
use raft::{Changer, RaftState, RawNode, SnapshotStatus, StateRole};
use thiserror::Error as ThisError;

use crate::boot::{self, Boot};
use crate::config::{self, Config};
use crate::entry::{Entry, EntryKind, HardState, Snapshot};
use crate::guard;
use crate::ids::{Index, MemberId, Position, ReadId, Term};
use crate::log::MemoryLog;
use crate::membership::{Change, Membership, decode_change};
use crate::ready::Ready;
use crate::refusal::{
    ChangeError, CompactError, ElectionError, ProposeError, ReadError, SupplyError,
};
use crate::status::{Standing, Status};
use crate::timeout::election_ticks;

/// Why a node cannot start.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// What was recovered is not the state of a healthy member.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// Raft itself refuses.
    #[error("Raft cannot start: {0}")]
    Raft(String),
}

/// How the sending of a snapshot to a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// The member has it.
    Delivered,
    /// The member does not have it, or nobody knows.
    Failed,
}

/// A follower needs a snapshot, because the entries it lacks were compacted away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Who needs it.
    pub members: BTreeSet<MemberId>,
    /// It must stand at this entry or later, so that its membership names them.
    pub at_least: Index,
}

/// One member of the Raft group: inputs are method calls, outputs come from [`Node::ready`].
///
/// Equal calls in equal order have equal outputs, on every machine.
pub struct Node {
    pub(crate) raw: RawNode<MemoryLog>,
    pub(crate) config: Config,
    /// What was last told through [`Ready::standing`].
    pub(crate) told: Standing,
    /// What was last handed out to be written.
    pub(crate) written: HardState,
    /// The entry or snapshot that brought the present membership.
    pub(crate) membership_since: Index,
    /// Set when a [`Ready`] was dropped: what it carried is lost, so the node falls silent.
    pub(crate) stopped: bool,
}

// === impl Node: starting ===

impl Node {
    /// Starts a member from what its store recovered.
    ///
    /// The only voter of a cluster becomes leader at once; its first [`Ready`] writes the new term
    /// and the first entry of it.
    ///
    /// # Errors
    /// When the configuration cannot work, or the recovered state is not that of a healthy member.
    pub fn new(config: Config, boot: Boot) -> Result<Self, Error> {
        config.validate()?;
        boot.validate()?;
        let hard_state = HardState { commit: boot.commit(), ..boot.hard_state };
        let snapshot = boot.snapshot;
        let start = RaftState::new(hard_state.to_raft(), snapshot.membership.to_raft());
        let entries = boot.entries.iter().map(Entry::to_raft).collect();
        let log = MemoryLog::new(start, boot.base, entries);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config(&config, boot.applied), log, &logger)
            .map_err(|error| Error::Raft(error.to_string()))?;
        let told = Standing::of(&raw);
        let mut node = Self {
            raw,
            config,
            told,
            written: boot.hard_state,
            membership_since: snapshot.at.index,
            stopped: false,
        };
        // The state already contains the entries up to `applied`; the membership has yet to follow.
        let applied = |entry: &&Entry| {
            entry.kind == EntryKind::Membership
                && entry.index > snapshot.at.index
                && entry.index <= boot.applied
        };
        for entry in boot.entries.iter().filter(applied) {
            node.change_membership(entry.index, &entry.data);
        }
        node.campaign_when_alone();
        node.pin_timeout();
        Ok(node)
    }
}

// === impl Node: inputs ===

impl Node {
    /// Time passes: one tick.
    pub fn tick(&mut self) {
        // A sole voter would win at once, and a leader's log must be durable up to its election.
        let wins = guard::is_alone(&self.raw) && self.raw.raft.state != StateRole::Leader;
        if self.stopped || (wins && !guard::settled(&self.raw)) {
            return;
        }
        self.raw.tick();
        self.pin_timeout();
    }

    /// Takes a message from a peer, as its node encoded it.
    ///
    /// # Errors
    /// The message was not taken and the node is as before. [`guard::Error::LogLost`] asks for a
    /// person; the others are worth a counter.
    pub fn step(&mut self, message: &Bytes) -> Result<(), guard::Error> {
        if self.stopped {
            return Err(guard::Error::Stopped);
        }
        let message = guard::decode(message, self.config.max_receive_bytes)?;
        guard::check(&self.raw, &message)?;
        let from = MemberId(message.from);
        let result = self.raw.step(message);
        self.pin_timeout();
        // The guard has refused what Raft would answer with another error.
        result.map_err(|_| guard::Error::Stranger(from))
    }

    /// Proposes an entry. It has come true when it is handed out as committed at the returned
    /// position; when another entry is handed out at that index, it is lost.
    ///
    /// # Errors
    /// The entry is not in the log, and never will be.
    pub fn propose(&mut self, data: Bytes, context: Bytes) -> Result<Position, ProposeError> {
        self.check_leader()?;
        let bytes = data.len() + context.len();
        let limit = self.config.max_entry_bytes;
        if bytes == 0 {
            return Err(ProposeError::Empty);
        }
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        self.propose_entry(pb::Entry { data, context, ..pb::Entry::default() })
    }

    /// Proposes a change of the membership. It takes effect on each node when that node hands the
    /// entry out.
    ///
    /// # Errors
    /// The change is not in the log, and never will be.
    pub fn propose_membership(
        &mut self,
        change: &Change,
        context: Bytes,
    ) -> Result<Position, ChangeError> {
        // Who does not lead knows neither whether a change is pending nor how things stand.
        self.check_leader()?;
        let raft = &self.raw.raft;
        if raft.has_pending_conf() {
            return Err(ChangeError::Pending { until: Index(raft.pending_conf_index) });
        }
        let change_entry = change.to_raft();
        let changer = || Changer::new(raft.prs());
        let possible = change.check().map_err(str::to_owned).and_then(|()| {
            let result = match change_entry.enter_joint() {
                _ if *change == Change::LeaveJoint => changer().leave_joint(),
                Some(auto_leave) => changer().enter_joint(auto_leave, &change_entry.changes),
                None => changer().simple(&change_entry.changes),
            };
            result.map_err(|error| error.to_string())
        });
        possible.map_err(ChangeError::Impossible)?;
        let data = change_entry.write_to_bytes().expect("encoding into memory cannot fail");
        let mut entry = pb::Entry::default();
        entry.set_entry_type(pb::EntryType::EntryConfChangeV2);
        entry.data = data.into();
        entry.context = context;
        Ok(self.propose_entry(entry)?)
    }

    /// Starts a linearizable read. When [`Ready::take_reads`] brings the number back, the state that
    /// has applied the index told there is fresh enough. Reads are forgotten when this node stops
    /// leading; a number that is still in use is ignored.
    ///
    /// # Errors
    /// The read was not started.
    pub fn read_index(&mut self, read: ReadId) -> Result<(), ReadError> {
        if self.stopped {
            return Err(ReadError::Stopped);
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ReadError::NotLeader { leader: self.leader() });
        }
        if !self.raw.raft.commit_to_current_term() {
            return Err(ReadError::NotYet);
        }
        self.raw.read_index(read.to_context());
        self.pin_timeout();
        Ok(())
    }

    /// Hands leadership to another voter: it is brought up to date, then told to campaign. If that
    /// takes longer than an election timeout, this node goes on leading.
    ///
    /// # Errors
    /// Nothing was started.
    pub fn transfer_leader(&mut self, to: MemberId) -> Result<(), ElectionError> {
        if self.stopped {
            return Err(ElectionError::Stopped);
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ElectionError::NotLeader { leader: self.leader() });
        }
        if !self.raw.raft.prs().conf().voters().contains(to.0) {
            return Err(ElectionError::NotVoter(to));
        }
        self.raw.transfer_leader(to.0);
        self.pin_timeout();
        Ok(())
    }

    /// Seeks leadership now instead of after a timeout. Does nothing on a leader.
    ///
    /// # Errors
    /// The member cannot lead, or not yet.
    pub fn campaign(&mut self) -> Result<(), ElectionError> {
        if self.stopped {
            return Err(ElectionError::Stopped);
        }
        if !self.raw.raft.promotable() {
            return Err(ElectionError::NotVoter(self.config.id));
        }
        if !guard::settled(&self.raw) {
            return Err(ElectionError::Unsettled);
        }
        // Raft's only error here would be a message of a wrong kind.
        let _ = self.raw.campaign();
        self.pin_timeout();
        Ok(())
    }

    /// The transport could not deliver to a member: messages to it are probably lost.
    pub fn report_unreachable(&mut self, member: MemberId) {
        if !self.stopped {
            self.raw.report_unreachable(member.0);
            self.pin_timeout();
        }
    }

    /// The sending of a snapshot to a member has ended. Must follow every [`crate::Message`] that
    /// carries one: until then the member is sent nothing else.
    pub fn report_snapshot(&mut self, member: MemberId, outcome: SnapshotOutcome) {
        if !self.stopped {
            let status = match outcome {
                SnapshotOutcome::Delivered => SnapshotStatus::Finish,
                SnapshotOutcome::Failed => SnapshotStatus::Failure,
            };
            self.raw.report_snapshot(member.0, status);
            self.pin_timeout();
        }
    }

    /// Gives the node a durable snapshot to send to followers that need one, in place of any
    /// earlier one. It is kept until the log is compacted beyond it.
    ///
    /// # Errors
    /// A follower could not go on from it.
    pub fn supply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), SupplyError> {
        let at = snapshot.meta.at;
        let log = &self.raw.raft.raft_log;
        let (base, applied) = (log.store.base(), Index(log.applied));
        let fits = at.index <= applied && log.store.term_at(at.index) == Some(at.term);
        if !fits || at.index == Index(0) || snapshot.meta.membership.validate().is_err() {
            return Err(SupplyError { at, base, applied });
        }
        let asked = self.raw.mut_store().offer(snapshot);
        if self.raw.raft.state == StateRole::Leader && !self.stopped {
            for member in asked {
                if self.raw.raft.prs().get(member.0).is_some() {
                    self.raw.raft.send_append(member.0);
                }
            }
        }
        Ok(())
    }

    /// Forgets the entries up to and including `to`. The caller has a durable snapshot at or after
    /// it. Going back is no error and does nothing.
    ///
    /// # Errors
    /// Those entries are not even applied.
    pub fn compact(&mut self, to: Index) -> Result<(), CompactError> {
        let applied = Index(self.raw.raft.raft_log.applied);
        if to > applied {
            return Err(CompactError { to, applied });
        }
        let log = self.raw.mut_store();
        if to > log.base().index && to <= log.last().index {
            log.compact(to);
        }
        Ok(())
    }
}

// === impl Node: outputs ===

impl Node {
    /// What there is to do now, if anything. Call it after each input (or several) until it answers
    /// `None`. While the [`Ready`] lives, the node takes no input; dropping it without
    /// [`Ready::persisted`] stops the node for good.
    pub fn ready(&mut self) -> Option<Ready<'_>> {
        if self.stopped || !self.raw.has_ready() {
            return None;
        }
        Some(Ready::take(self))
    }

    /// Followers that wait for [`Node::supply_snapshot`], if this node leads and any do.
    #[must_use]
    pub fn snapshot_wanted(&self) -> Option<SnapshotRequest> {
        let members = self.raw.store().wanted_by();
        (!members.is_empty() && !self.stopped)
            .then_some(SnapshotRequest { members, at_least: self.membership_since })
    }

    /// Whether [`Node::ready`] would bring something.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.stopped && self.raw.has_ready()
    }

    /// This member.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// The last entry of the log, durable or not.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.raw.raft.raft_log.last_index())
    }

    /// How the node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.raw)
    }

    /// Role, term and leader.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of(&self.raw)
    }

    /// The membership as of the last entry handed out.
    #[must_use]
    pub fn membership(&self) -> Membership {
        Membership::from_raft(&self.raw.raft.prs().conf().to_conf_state())
    }

    /// Whether a write was not completed, so that the node fell silent.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.stopped
    }
}

// === impl Node: within the crate ===

impl Node {
    /// A committed membership entry takes effect. One that does not fit any more, or cannot be read,
    /// changes nothing; that depends on the log alone, so all members agree about it.
    pub(crate) fn change_membership(&mut self, at: Index, data: &[u8]) {
        let change = decode_change(data);
        if change.is_some_and(|change| self.raw.apply_conf_change(&change).is_ok()) {
            self.membership_since = at;
        }
    }

    /// A leader that lost its vote steps down. Raft would leave it in office and then trip over
    /// the missing record of itself.
    pub(crate) fn step_down_without_vote(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && !raft.prs().conf().voters().contains(raft.id) {
            // The others should learn at once that the entry which removed this member is committed.
            raft.bcast_append();
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// A sole voter needs nobody's leave and does not wait for a timeout.
    pub(crate) fn campaign_when_alone(&mut self) {
        let follows = self.raw.raft.state == StateRole::Follower;
        if follows && guard::is_alone(&self.raw) && guard::settled(&self.raw) {
            // Raft's only error here would be a message of a wrong kind.
            let _ = self.raw.campaign();
        }
    }

    /// Raft draws its election timeout at random whenever it changes state; this replaces it before
    /// it can matter, which is at the next tick.
    pub(crate) fn pin_timeout(&mut self) {
        let ticks = self.config.election_ticks as usize;
        let term = Term(self.raw.raft.term);
        let timeout = election_ticks(self.config.seed, self.config.id, term, ticks);
        self.raw.raft.set_randomized_election_timeout(timeout);
    }

    fn leader(&self) -> Option<MemberId> {
        MemberId::some(self.raw.raft.leader_id)
    }

    fn check_leader(&self) -> Result<(), ProposeError> {
        if self.stopped {
            return Err(ProposeError::Stopped);
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        match self.raw.raft.lead_transferee {
            Some(to) => Err(ProposeError::Transferring { to: MemberId(to) }),
            None => Ok(()),
        }
    }

    /// The caller has checked that this node leads.
    fn propose_entry(&mut self, entry: pb::Entry) -> Result<Position, ProposeError> {
        let mut message = pb::Message::default();
        message.set_msg_type(pb::MessageType::MsgPropose);
        message.from = self.config.id.0;
        message.mut_entries().push(entry);
        // A leader drops a proposal for one reason that is left: too much waits already.
        self.raw
            .raft
            .step(message)
            .map_err(|_| ProposeError::Busy { waiting: self.raw.raft.uncommitted_size() })?;
        let log = &self.raw.raft.raft_log;
        Ok(Position::new(Index(log.last_index()), Term(log.last_term())))
    }
}

fn raft_config(config: &Config, applied: Index) -> raft::Config {
    raft::Config {
        id: config.id.0,
        election_tick: config.election_ticks as usize,
        heartbeat_tick: config.heartbeat_ticks as usize,
        applied: applied.0,
        max_size_per_msg: config.max_message_bytes as u64,
        max_inflight_msgs: config.max_inflight,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        max_uncommitted_size: config.max_uncommitted_bytes as u64,
        max_committed_size_per_ready: config.max_apply_bytes as u64,
        ..raft::Config::default()
    }
}
