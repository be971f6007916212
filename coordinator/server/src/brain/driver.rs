//! One member's work between two waits: proposals in, readies out, entries applied.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use muster_consensus::{Committed, Node, Payload, Position, ProposeError, Role, Standing};
use muster_model::Timestamp;
use muster_state::{Changes, CodecError, Index, Policy, State, effects};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::batch::{Batch, Waiting};
use super::disk::{Disk, DiskError};
use super::handle::{BrainError, Input, Look, RoleView, SharedHub};
use crate::clock::Clock;
use crate::metrics::{Metrics, PhaseLabel};

/// Why a member cannot go on. The process must end: what is in memory may not be what is on disk.
#[derive(Debug, Error)]
pub(crate) enum Fatal {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
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
    /// The thread panicked.
    #[error("the brain's thread panicked; the coordinator must be started again")]
    Panicked,
}

/// What one round of consensus has made possible.
struct Round {
    committed: Vec<Committed>,
    standing: Option<Standing>,
}

/// An entry that is proposed and not committed yet.
struct Flight {
    position: Position,
    batch: Batch,
    since: Instant,
}

/// What the thread drives.
pub(super) struct Driver {
    pub(super) node: Node,
    disk: Disk,
    /// The committed state or, while an entry is in flight, that with the entry applied.
    state: State,
    policy: Policy,
    hub: SharedHub,
    metrics: Metrics,
    clock: Clock,
    waiting: VecDeque<Waiting>,
    reads: Vec<Look>,
    flight: Option<Flight>,
    role: watch::Sender<RoleView>,
    /// The entry that a new leader must have applied before it decides anything.
    leads_from: Option<u64>,
    /// The disk is full: timers that are due wait until then.
    full_until: Option<Timestamp>,
}

/// How long due timers wait on a full disk before room is looked for again, in milliseconds.
const FULL: u64 = 500;

/// What a driver is made of.
pub(super) struct Parts {
    pub(super) node: Node,
    pub(super) disk: Disk,
    pub(super) state: State,
    pub(super) hub: SharedHub,
    pub(super) metrics: Metrics,
    pub(super) role: watch::Sender<RoleView>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { node, disk, state, hub, metrics, role } = parts;
        Self {
            node,
            disk,
            state,
            policy: Policy::default(),
            hub,
            metrics,
            clock: Clock,
            waiting: VecDeque::new(),
            reads: Vec::new(),
            flight: None,
            role,
            full_until: None,
            leads_from: None,
        }
    }

    /// Takes an input.
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Command { request, body, reply } => {
                self.waiting.push_back(Waiting { request, body, reply });
            }
            Input::Read(read) => self.reads.push(read),
        }
    }

    /// Does everything that can be done without waiting.
    pub(super) fn work(&mut self) -> Result<(), Fatal> {
        loop {
            self.drive()?;
            if self.flight.is_some() || !self.propose()? {
                break;
            }
        }
        if self.flight.is_none() {
            self.answer_reads();
            self.snapshot_if_due()?;
        }
        self.metrics.queue_depth.set(i64::try_from(self.waiting.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// When the next timer is due, if this member would act on it.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let idle = self.flight.is_none() && self.leads();
        let due = self.state.next_due().filter(|_| idle)?;
        Some(self.full_until.map_or(due, |until| due.max(until)))
    }

    /// Answers everybody who waits; the member stops.
    pub(super) fn stop(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.batch.fail(&BrainError::Stopping);
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(BrainError::Stopping));
        }
        for read in self.reads.drain(..) {
            read(Err(BrainError::Stopping));
        }
        self.disk.close();
    }

    /// Whether this member leads and has applied everything that was committed before.
    pub(super) fn is_leading(&self) -> bool {
        self.leads()
    }

    fn leads(&self) -> bool {
        self.leads_from.is_some_and(|index| self.state.applied().0 >= index)
    }

    /// Handles what consensus has to do until it has nothing more.
    fn drive(&mut self) -> Result<(), Fatal> {
        while let Some(Round { committed, standing }) = self.round()? {
            if let Some(standing) = standing {
                self.role_changed(standing.role == Role::Leader)?;
            }
            for entry in committed {
                self.commit(entry)?;
            }
        }
        self.publish_role();
        Ok(())
    }

    /// One round of consensus: write, then hear what that has made possible.
    fn round(&mut self) -> Result<Option<Round>, Fatal> {
        let Some(mut ready) = self.node.ready() else { return Ok(None) };
        let mut committed = ready.take_committed();
        let standing = ready.standing();
        let write = ready.write();
        if !write.is_empty() {
            let started = Instant::now();
            self.disk.persist(write)?;
            if write.sync {
                self.metrics.fsync_seconds.observe(started.elapsed().as_secs_f64());
            }
        }
        // A sole member has nobody to send messages to.
        committed.extend(ready.persisted().committed);
        Ok(Some(Round { committed, standing }))
    }

    fn role_changed(&mut self, leader: bool) -> Result<(), Fatal> {
        self.metrics.leader_changes.inc();
        if leader {
            self.leads_from = Some(self.node.status().last.0);
            return Ok(());
        }
        self.leads_from = None;
        if let Some(flight) = self.flight.take() {
            warn!("lost the leadership with an entry in flight; reading the state again");
            let leader = self.node.standing().leader.map(|member| member.0);
            flight.batch.fail(&BrainError::NotLeader { leader });
            self.state = self.disk.reload()?;
        }
        Ok(())
    }

    fn publish_role(&self) {
        let standing = self.node.standing();
        let view = RoleView {
            member: self.node.status().id.0,
            leader: standing.leader.map(|member| member.0),
            term: standing.term.0,
            leads: self.leads(),
        };
        self.role.send_if_modified(|old| {
            let changed = *old != view;
            if changed && view.leads && !old.leads {
                info!(term = view.term, "this member leads");
                self.hub.ask_for_plan();
            }
            *old = view;
            changed
        });
        self.metrics.is_leader.set(i64::from(view.leads));
    }

    /// Applies a committed entry; one of our own is applied already.
    fn commit(&mut self, entry: Committed) -> Result<(), Fatal> {
        let index = Index(entry.index.0);
        let position = Position::new(entry.index, entry.term);
        let Payload::Data { data, .. } = entry.payload else {
            self.state.apply(index, &Changes::default());
            self.disk.record(position, &Changes::default(), &self.state);
            return Ok(());
        };
        let ours = self.flight.take_if(|flight| flight.position == position);
        if let Some(Flight { batch, since, .. }) = ours {
            self.disk.record(position, &batch.changes, &self.state);
            self.metrics.commit_seconds.observe(since.elapsed().as_secs_f64());
            self.metrics.batch_commands.observe(batch.len() as f64);
            self.hub.publish(&batch.effects);
            batch.answer();
        } else {
            let decoded = Changes::decode(&data);
            let changes = decoded.map_err(|source| Fatal::Entry { index: index.0, source })?;
            let found = effects(&self.state, &changes);
            self.state.apply(index, &changes);
            self.disk.record(position, &changes, &self.state);
            self.hub.publish(&found);
        }
        self.metrics.entries.inc();
        self.metrics.applied_index.set(i64::try_from(index.0).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Decides what waits and proposes it. Answers whether there is more to drive.
    fn propose(&mut self) -> Result<bool, Fatal> {
        if !self.leads() {
            let leader = self.node.standing().leader.map(|member| member.0);
            for waiting in self.waiting.drain(..) {
                let _ = waiting.reply.send(Err(BrainError::NotLeader { leader }));
            }
            return Ok(false);
        }
        let now = self.clock.now();
        let tick_is_due = self.state.next_due().is_some_and(|due| due <= now);
        if self.waiting.is_empty() && !tick_is_due {
            return Ok(false);
        }
        let room = self.disk.has_room();
        self.full_until = room.is_err().then(|| Timestamp(now.0 + FULL));
        if let Err(full) = room {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.reply.send(Err(BrainError::DiskFull(full.clone())));
            }
            return Ok(false);
        }
        let index = Index(self.node.status().last.0 + 1);
        let batch = Batch::decide(&mut self.waiting, &mut self.state, (&self.policy, index, now));
        if batch.changes.is_empty() {
            self.metrics.refused.inc_by(batch.len() as u64);
            batch.answer();
            return Ok(true);
        }
        let data = Bytes::from(batch.changes.encode());
        match self.node.propose(data, Bytes::new()) {
            Ok(position) if position.index.0 == index.0 => {
                self.flight = Some(Flight { position, batch, since: Instant::now() });
                Ok(true)
            }
            Ok(position) => Err(Fatal::Index { decided: index.0, proposed: position.index.0 }),
            Err(refused) => self.not_proposed(batch, &refused),
        }
    }

    /// The entry is not in the log and never will be: the state goes back to what is committed.
    fn not_proposed(&mut self, batch: Batch, refused: &ProposeError) -> Result<bool, Fatal> {
        debug!(%refused, "a proposal was refused");
        let leader = self.node.standing().leader.map(|member| member.0);
        batch.fail(&match refused {
            ProposeError::NotLeader { .. } => BrainError::NotLeader { leader },
            _ => BrainError::Overloaded,
        });
        self.state = self.disk.reload()?;
        Ok(false)
    }

    fn answer_reads(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        if self.leads() {
            for read in std::mem::take(&mut self.reads) {
                read(Ok(&self.state));
            }
            return;
        }
        let leader = self.node.standing().leader.map(|member| member.0);
        for read in self.reads.drain(..) {
            read(Err(BrainError::NotLeader { leader }));
        }
    }

    fn snapshot_if_due(&mut self) -> Result<(), Fatal> {
        if !self.disk.snapshot_is_due() {
            return Ok(());
        }
        match self.disk.snapshot(&self.state, &mut self.node) {
            Ok(()) => {
                self.metrics.snapshots.inc();
                Ok(())
            }
            // The log stays as it is; the next try comes with the next entries.
            Err(DiskError::Full(why)) => {
                error!(%why, "no snapshot could be written");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts jobs by phase and waiting gangs.
    pub(super) fn count_jobs(&self) {
        let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
        for phase in
            ["Suspended", "Queued", "Starting", "Running", "Restarting", "Succeeded", "Failed"]
        {
            counts.insert(phase, 0);
        }
        for (_, status) in self.state.tables().statuses.iter() {
            *counts.entry(status.phase.as_str()).or_default() += 1;
        }
        for (phase, count) in counts {
            self.metrics.jobs.get_or_create(&PhaseLabel { phase }).set(count);
        }
    }
}
