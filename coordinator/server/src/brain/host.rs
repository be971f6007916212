//! The machine that the member runs on: its disk, its peers, and everybody who waits for it.

use std::sync::Arc;
use std::time::Instant;

use muster_consensus::{Index, Message, Position, Snapshot, SnapshotMeta, Write};
use muster_coordinator_core::{Host, Note, Outcome, Refused, RoleView};
use muster_state::{Change, Changes, Effect, State};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use super::disk::{Disk, DiskError};
use super::handle::{AddressBook, Look};
use crate::access::Known;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::peers::Outbox;

/// See the module's documentation.
pub(super) struct Machine {
    pub(super) disk: Disk,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: Metrics,
    pub(super) outbox: Outbox,
    pub(super) role: watch::Sender<RoleView>,
    pub(super) book: watch::Sender<AddressBook>,
    pub(super) known: watch::Sender<Known>,
    /// When the entry in flight was proposed.
    pub(super) proposed: Option<Instant>,
}

impl Machine {
    /// Tells where the members are.
    pub(super) fn show_members(&self, state: &State) {
        let members = state.tables().members.iter();
        let book: AddressBook =
            members.map(|(id, member)| (id.0, member.address.clone())).collect();
        // A member that has just joined knows some addresses from its sponsor, until the state tells it all.
        if !book.is_empty() {
            self.book.send_if_modified(|old| {
                let changed = *old != book;
                *old = book;
                changed
            });
        }
    }
}

impl Host for Machine {
    type Reply = oneshot::Sender<Outcome>;
    type Look = Look;
    type Error = DiskError;

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.outbox.send(message);
        }
    }

    fn persist(&mut self, write: &Write) -> Result<(), DiskError> {
        let started = Instant::now();
        self.disk.persist(write)?;
        if write.sync {
            self.metrics.fsync_seconds.observe(started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn install(&mut self, snapshot: &Snapshot, write: &Write) -> Result<State, DiskError> {
        let state = self.disk.install(snapshot, write)?;
        info!(index = %snapshot.meta.at.index, "took the state over from the leader's snapshot");
        self.show_members(&state);
        self.known.send_replace(Known::of(&state));
        Ok(state)
    }

    fn applied(&mut self, at: Position, changes: &Changes, state: &State) {
        self.disk.record(at, changes, state);
        if changes.iter().any(|change| matches!(change, Change::Member(..))) {
            self.show_members(state);
        }
        let is_trust =
            |change: &Change| matches!(change, Change::Token(..) | Change::Revocation(..));
        if changes.iter().any(is_trust) {
            self.known.send_replace(Known::of(state));
        }
    }

    fn reload(&mut self) -> Result<State, DiskError> {
        self.disk.reload()
    }

    fn room(&mut self) -> Result<(), String> {
        self.disk.has_room()
    }

    fn snapshot_is_due(&self) -> bool {
        self.disk.snapshot_is_due()
    }

    fn snapshot(&mut self, meta: &SnapshotMeta, state: &State) -> Result<Option<Index>, DiskError> {
        match self.disk.snapshot(meta, state) {
            Ok(forget) => Ok(Some(forget)),
            // The log stays as it is; the next try comes with the next entries.
            Err(DiskError::Full(why)) => {
                error!(%why, "no snapshot could be written");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn newest_snapshot(&self) -> Option<SnapshotMeta> {
        self.disk.newest_snapshot()
    }

    fn answer(&mut self, reply: Self::Reply, outcome: Outcome) {
        // A caller that has gone away does not need an answer.
        let _ = reply.send(outcome);
    }

    fn look(&mut self, look: Look, state: Result<&State, Refused>) {
        look(state);
    }

    fn publish(&mut self, effects: &[Effect]) {
        self.hub.publish(effects);
    }

    fn role_changed(&mut self, view: RoleView) {
        let old = self.role.send_replace(view);
        self.metrics.is_leader.set(i64::from(view.leads));
        if old.leader != view.leader || old.leads != view.leads {
            self.metrics.leader_changes.inc();
        }
        if view.leads && !old.leads {
            info!(term = view.term, "this member leads");
            self.hub.ask_for_plan();
        } else if view.leader != old.leader && view.leader != Some(view.member) {
            info!(term = view.term, leader = view.leader, "another member leads, or none");
        }
    }

    fn note(&mut self, note: Note) {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        match note {
            Note::Proposed { commands } => {
                self.proposed = Some(Instant::now());
                self.metrics.batch_commands.observe(commands as f64);
            }
            Note::Committed { index, ours } => {
                if let Some(since) = self.proposed.take_if(|_| ours) {
                    self.metrics.commit_seconds.observe(since.elapsed().as_secs_f64());
                }
                self.metrics.entries.inc();
                self.metrics.applied_index.set(i64::try_from(index.0).unwrap_or(i64::MAX));
            }
            Note::Refused(count) => {
                self.metrics.refused.inc_by(count as u64);
            }
            Note::Waiting(count) => {
                self.metrics.queue_depth.set(whole(count));
            }
            Note::SnapshotWritten => {
                self.metrics.snapshots.inc();
            }
            Note::FlightLost => {
                warn!("lost the leadership with an entry in flight; reading the state again");
            }
        }
    }
}
