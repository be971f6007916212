//! The member: inputs, and the rounds of work between them.

use std::collections::VecDeque;

use bytes::Bytes;
use muster_consensus::{
    Committed, ElectionError, MemberId, Node, Payload, Position, ProposeError, Role, SnapshotMeta,
    SnapshotOutcome, Standing, StepError,
};
use muster_model::{RequestId, Timestamp};
use muster_state::{Body, Changes, CodecError, Index, Policy, State, effects};
use thiserror::Error;

use crate::batch::{Batch, Waiting};
use crate::host::{Host, Note};
use crate::membership;
use crate::reads::Reads;
use crate::refused::Refused;

/// Why a member cannot go on. The process must end: what is in memory may not be what is on disk.
#[derive(Debug, Error)]
pub enum Fatal<E: std::error::Error> {
    /// The disk.
    #[error(transparent)]
    Host(E),
    /// A committed entry does not decode.
    #[error("entry {index} cannot be read: {source}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why.
        source: CodecError,
    },
    /// An entry came back at another place than it was decided for.
    #[error("an entry was decided for index {decided} and proposed at {proposed}")]
    Index {
        /// Where it was meant to be.
        decided: u64,
        /// Where it is.
        proposed: u64,
    },
}

/// Which role a member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleView {
    /// This member.
    pub member: u64,
    /// The member that leads, if one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// Whether this member leads and has applied everything that was committed before.
    pub leads: bool,
}

/// How long due timers wait on a full disk before room is looked for again, in milliseconds.
const FULL: u64 = 500;

/// What one round of consensus has made possible: entries to apply, and a changed standing.
type Round = (Vec<Committed>, Option<Standing>);

/// An entry that is proposed and not committed yet.
struct Flight<R> {
    position: Position,
    batch: Batch<R>,
}

/// What a member is made of.
pub struct Parts {
    /// Consensus, as it was recovered.
    pub node: Node,
    /// The applied state.
    pub state: State,
    /// The position of the entry that was applied last.
    pub applied: Position,
    /// The leader's numbers.
    pub policy: Policy,
}

/// One member of the coordinator. See the crate's documentation.
pub struct Member<R, L> {
    pub(crate) node: Node,
    /// The committed state or, while an entry is in flight, that with the entry applied.
    pub(crate) state: State,
    applied: Position,
    policy: Policy,
    pub(crate) waiting: VecDeque<Waiting<R>>,
    reads: Reads<L>,
    flight: Option<Flight<R>>,
    role: RoleView,
    /// The entry that a new leader must have applied before it decides anything.
    leads_from: Option<u64>,
    /// The disk is full: timers that are due wait until then.
    full_until: Option<Timestamp>,
    /// It hands its leadership over and takes no more commands.
    retiring: bool,
}

// === impl Member: inputs ===

impl<R, L> Member<R, L> {
    /// A member that has been recovered.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { node, state, applied, policy } = parts;
        Self {
            node,
            state,
            applied,
            policy,
            waiting: VecDeque::new(),
            reads: Reads::new(),
            flight: None,
            role: RoleView::default(),
            leads_from: None,
            full_until: None,
            retiring: false,
        }
    }

    /// Somebody asks for a change.
    pub fn command(&mut self, request: Option<RequestId>, body: Body, reply: R) {
        self.waiting.push_back(Waiting { request, body, reply: Some(reply) });
    }

    /// Somebody wants to look at the state.
    pub fn look(&mut self, look: L) {
        self.reads.add(look);
    }

    /// Time passes: one tick of consensus.
    pub fn tick(&mut self) {
        self.node.tick();
    }

    /// A message from a peer, whom the transport has authenticated.
    ///
    /// # Errors
    /// The message was not taken. See [`StepError`].
    pub fn step(&mut self, message: &Bytes) -> Result<(), StepError> {
        self.node.step(message)
    }

    /// The transport could not deliver to a member.
    pub fn unreachable(&mut self, member: MemberId) {
        self.node.report_unreachable(member);
    }

    /// The sending of a snapshot to a member has ended.
    pub fn snapshot_sent(&mut self, member: MemberId, outcome: SnapshotOutcome) {
        self.node.report_snapshot(member, outcome);
    }

    /// The member is about to stop: it hands the leadership to the member that is furthest, if there is one. Answers
    /// whether it has to be waited for.
    pub fn retire(&mut self) -> bool {
        self.retiring = true;
        self.hand_over()
    }

    fn hand_over(&mut self) -> bool {
        let is_under_way = self.node.status().transferring.is_some();
        is_under_way || self.transfer(None).is_ok()
    }

    /// Gives the leadership to a certain voter, or to the one that is furthest.
    ///
    /// # Errors
    /// Nothing was started.
    pub fn transfer(&mut self, to: Option<MemberId>) -> Result<(), ElectionError> {
        let status = self.node.status();
        let voters = &status.membership.voters;
        let fit = status.peers.iter().filter(|peer| peer.active && voters.contains(&peer.id));
        let furthest = fit.max_by_key(|peer| (peer.matched, std::cmp::Reverse(peer.id)));
        let to = to.or(furthest.map(|peer| peer.id));
        // Without anybody else it is this member itself, which is refused.
        self.node.transfer_leader(to.unwrap_or(MemberId(0)))
    }
}

// === impl Member: what it is ===

impl<R, L> Member<R, L> {
    /// Whether this member leads and has applied everything that was committed before.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads_from.is_some_and(|index| self.state.applied().0 >= index)
    }

    /// How consensus stands.
    #[must_use]
    pub fn status(&self) -> muster_consensus::Status {
        self.node.status()
    }

    /// The state as far as this member has applied it; `None` while it contains an entry that is not committed.
    #[must_use]
    pub fn committed_state(&self) -> Option<&State> {
        self.flight.is_none().then_some(&self.state)
    }

    /// When the next timer is due, if this member would act on it.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let idle = self.flight.is_none() && self.leads();
        let due = self.state.next_due().filter(|_| idle)?;
        Some(self.full_until.map_or(due, |until| due.max(until)))
    }

    /// Whether commands or reads wait.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.reads.is_empty() && self.flight.is_none()
    }

    /// Whether every entry of the log is applied. Only then may a batch be decided: its state is that with the entry
    /// applied, so nothing may be committed in between, neither a membership change nor what raft appends to end one.
    fn is_settled(&self) -> bool {
        self.node.last() == self.applied.index
    }

    fn not_leader(&self) -> Refused {
        Refused::NotLeader { leader: self.node.standing().leader }
    }
}

// === impl Member: work ===

impl<R, L> Member<R, L> {
    /// Does everything that can be done without waiting.
    ///
    /// # Errors
    /// The member must stop. See [`Fatal`].
    pub fn work<H>(&mut self, now: Timestamp, host: &mut H) -> Result<(), Fatal<H::Error>>
    where
        H: Host<Reply = R, Look = L>,
    {
        loop {
            self.ask_for_reads(host);
            self.drive(host)?;
            #[cfg(sim_bug = "read_in_flight")]
            self.answer_reads(host);
            if self.flight.is_some() {
                break;
            }
            self.answer_reads(host);
            if self.is_settled() {
                membership::reconcile(self);
            }
            if !self.propose(now, host)? && !self.node.has_ready() {
                break;
            }
        }
        if self.flight.is_none() {
            self.snapshots(host)?;
        }
        host.note(Note::Waiting(self.waiting.len()));
        Ok(())
    }

    /// Answers everybody who waits; the member stops.
    pub fn stop<H: Host<Reply = R, Look = L>>(&mut self, host: &mut H) {
        if let Some(flight) = self.flight.take() {
            flight.batch.fail(&Refused::Stopping, host);
        }
        for waiting in self.waiting.drain(..) {
            if let Some(reply) = waiting.reply {
                host.answer(reply, Err(Refused::Stopping));
            }
        }
        for read in self.reads.take_all() {
            host.look(read, Err(Refused::Stopping));
        }
    }

    /// Handles what consensus has to do until it has nothing more.
    fn drive<H: Host<Reply = R, Look = L>>(&mut self, host: &mut H) -> Result<(), Fatal<H::Error>> {
        while let Some((committed, standing)) = self.round(host)? {
            if let Some(standing) = standing {
                self.standing_changed(standing.role == Role::Leader, host)?;
            }
            for entry in committed {
                self.commit(entry, host)?;
            }
        }
        self.publish_role(host);
        Ok(())
    }

    /// One round of consensus: write, then hear what that has made possible.
    fn round<H: Host<Reply = R, Look = L>>(
        &mut self,
        host: &mut H,
    ) -> Result<Option<Round>, Fatal<H::Error>> {
        let Some(mut ready) = self.node.ready() else { return Ok(None) };
        host.send(ready.take_messages());
        let mut committed = ready.take_committed();
        self.reads.confirmed(&ready.take_reads());
        let standing = ready.standing();
        let write = ready.write();
        let mut installed = None;
        if let Some(snapshot) = &write.snapshot {
            installed = Some(snapshot.meta.at);
            self.state = host.install(snapshot, write).map_err(Fatal::Host)?;
        } else if !write.is_empty() {
            #[cfg(sim_bug = "persist_without_sync")]
            let write = &muster_consensus::Write { sync: false, ..write.clone() };
            host.persist(write).map_err(Fatal::Host)?;
        }
        let persisted = ready.persisted();
        host.send(persisted.messages);
        committed.extend(persisted.committed);
        if let Some(at) = installed {
            self.applied = at;
            if let Some(flight) = self.flight.take() {
                flight.batch.fail(&self.not_leader(), host);
            }
        }
        Ok(Some((committed, standing)))
    }

    fn standing_changed<H: Host<Reply = R, Look = L>>(
        &mut self,
        leader: bool,
        host: &mut H,
    ) -> Result<(), Fatal<H::Error>> {
        if leader {
            if self.leads_from.is_none() {
                self.leads_from = Some(self.node.status().last.0);
            }
            return Ok(());
        }
        self.leads_from = None;
        let error = self.not_leader();
        for read in self.reads.take_all() {
            host.look(read, Err(error.clone()));
        }
        if let Some(flight) = self.flight.take() {
            host.note(Note::FlightLost);
            flight.batch.fail(&error, host);
            if !cfg!(sim_bug = "keep_lost_flight") {
                self.state = host.reload().map_err(Fatal::Host)?;
            }
        }
        Ok(())
    }

    fn publish_role<H: Host<Reply = R, Look = L>>(&mut self, host: &mut H) {
        let standing = self.node.standing();
        let view = RoleView {
            member: self.node.id().0,
            leader: standing.leader.map(|member| member.0),
            term: standing.term.0,
            leads: self.leads(),
        };
        if self.role != view {
            self.role = view;
            host.role_changed(view);
        }
    }

    /// Applies a committed entry; one of our own is applied already.
    fn commit<H: Host<Reply = R, Look = L>>(
        &mut self,
        entry: Committed,
        host: &mut H,
    ) -> Result<(), Fatal<H::Error>> {
        let index = Index(entry.index.0);
        let position = Position::new(entry.index, entry.term);
        let flight = self.flight.take_if(|flight| flight.position == position);
        let ours = flight.is_some();
        if let Some(Flight { batch, .. }) = flight {
            host.applied(position, &batch.changes, &self.state);
            host.publish(&batch.effects);
            batch.answer(host);
        } else {
            debug_assert!(
                self.flight.is_none(),
                "nothing is committed between a decision and its entry"
            );
            let changes = match &entry.payload {
                Payload::Data { data, .. } => Changes::decode(data)
                    .map_err(|source| Fatal::Entry { index: index.0, source })?,
                Payload::Nothing | Payload::Membership { .. } => Changes::default(),
            };
            let found = effects(&self.state, &changes);
            self.state.apply(index, &changes);
            host.applied(position, &changes, &self.state);
            host.publish(&found);
        }
        self.applied = position;
        host.note(Note::Committed { index: entry.index, ours });
        Ok(())
    }

    /// Decides what waits and proposes it. Answers whether there is more to drive.
    fn propose<H: Host<Reply = R, Look = L>>(
        &mut self,
        now: Timestamp,
        host: &mut H,
    ) -> Result<bool, Fatal<H::Error>> {
        if !self.leads() || self.retiring {
            let error = self.not_leader();
            self.refuse_waiting(&error, host);
            return Ok(false);
        }
        let tick_is_due = self.state.next_due().is_some_and(|due| due <= now);
        if self.waiting.is_empty() && !tick_is_due || !self.is_settled() {
            return Ok(false);
        }
        let room = host.room();
        self.full_until = room.is_err().then(|| Timestamp(now.0 + FULL));
        if let Err(full) = room {
            self.refuse_waiting(&Refused::DiskFull(full), host);
            // Somebody else may have room. What that sends makes for another round; nothing else may, or a timer that
            // is due would bring it here again and again.
            self.hand_over();
            return Ok(false);
        }
        let index = Index(self.node.last().0 + 1);
        let batch = Batch::decide(&mut self.waiting, &mut self.state, (&self.policy, index, now));
        if batch.changes.is_empty() {
            host.note(Note::Refused(batch.len()));
            batch.answer(host);
            return Ok(true);
        }
        let data = Bytes::from(batch.changes.encode());
        match self.node.propose(data, Bytes::new()) {
            Ok(position) if position.index.0 == index.0 => {
                host.note(Note::Proposed { commands: batch.len() });
                #[cfg(sim_bug = "answer_before_commit")]
                let batch = batch.answer_now(host);
                self.flight = Some(Flight { position, batch });
                Ok(true)
            }
            Ok(position) => Err(Fatal::Index { decided: index.0, proposed: position.index.0 }),
            Err(refused) => self.not_proposed((batch, &refused), host),
        }
    }

    fn refuse_waiting<H: Host<Reply = R, Look = L>>(&mut self, error: &Refused, host: &mut H) {
        for waiting in self.waiting.drain(..) {
            if let Some(reply) = waiting.reply {
                host.answer(reply, Err(error.clone()));
            }
        }
    }

    /// The entry is not in the log and never will be: the state goes back to what is committed.
    fn not_proposed<H: Host<Reply = R, Look = L>>(
        &mut self,
        (batch, refused): (Batch<R>, &ProposeError),
        host: &mut H,
    ) -> Result<bool, Fatal<H::Error>> {
        let error = match refused {
            ProposeError::NotLeader { .. } | ProposeError::Transferring { .. } => self.not_leader(),
            _ => Refused::Overloaded,
        };
        batch.fail(&error, host);
        self.state = host.reload().map_err(Fatal::Host)?;
        Ok(false)
    }

    fn ask_for_reads<H: Host<Reply = R, Look = L>>(&mut self, host: &mut H) {
        let Some(id) = self.reads.to_ask() else { return };
        #[cfg(sim_bug = "read_without_majority")]
        if self.leads() {
            self.reads.were_asked();
            let index = muster_consensus::Index(0);
            self.reads.confirmed(&[muster_consensus::ReadReady { id, index }]);
            return;
        }
        if self.leads() {
            // Otherwise it is asked again when the new leader's first entry is committed.
            if self.node.read_index(id).is_ok() {
                self.reads.were_asked();
            }
        } else if self.leads_from.is_none() {
            let error = self.not_leader();
            for read in self.reads.take_all() {
                host.look(read, Err(error.clone()));
            }
        }
    }

    /// Only between entries: the state must not contain what is not committed.
    fn answer_reads<H: Host<Reply = R, Look = L>>(&mut self, host: &mut H) {
        let applied = muster_consensus::Index(self.state.applied().0);
        for read in self.reads.take_ready(applied) {
            host.look(read, Ok(&self.state));
        }
    }

    /// Writes a snapshot when one is due or a follower needs one.
    fn snapshots<H: Host<Reply = R, Look = L>>(
        &mut self,
        host: &mut H,
    ) -> Result<(), Fatal<H::Error>> {
        let mut newest = host.newest_snapshot();
        let wanted = self.node.snapshot_wanted().map(|wanted| wanted.at_least);
        let is_missing =
            wanted.is_some_and(|least| newest.as_ref().is_none_or(|meta| meta.at.index < least));
        if host.snapshot_is_due() || is_missing {
            let meta = SnapshotMeta { at: self.applied, membership: self.node.membership() };
            if let Some(forget) = host.snapshot(&meta, &self.state).map_err(Fatal::Host)? {
                host.note(Note::SnapshotWritten);
                // Going back does nothing, and more than was applied is never forgotten.
                let _ = self.node.compact(forget);
                newest = Some(meta);
            }
        }
        if let (Some(_), Some(meta)) = (wanted, newest) {
            // A follower that cannot go on from it asks again, and the next one will be newer.
            let supplied =
                self.node.supply_snapshot(muster_consensus::Snapshot { meta, data: Bytes::new() });
            if supplied.is_ok() {
                self.drive(host)?;
            }
        }
        Ok(())
    }
}
