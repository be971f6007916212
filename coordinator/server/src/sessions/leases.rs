//! Whether agents are heard, as far as only the leader can know, and what follows from it: nodes whose leases have ended are
//! declared unreachable, and what they hold up is given up once their agents must have stopped it. See
//! `docs/adr/0014-cut-off-agents.md`, and [`Contacts`] for the rules.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_coordinator_core::{Beat, Contacts};
use muster_model::{Millis, NodeId};
use muster_state::{Body, CutOff, HeldUp, NodeUnreachable};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::brain::{Brain, BrainError};
use crate::hub::Hub;

/// How often leases are looked at in the length of one, while any agent has no session.
const LOOKS_PER_LEASE: u32 = 8;
/// How often is looked at what unreachable nodes hold up.
const HELD_UP_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Leases {
    span: Duration,
    /// What the moments of `contacts` are counted from.
    zero: Instant,
    contacts: Mutex<Contacts>,
    changed: Notify,
}

impl Leases {
    /// Leases of the given length.
    pub(crate) fn new(span: Duration) -> Self {
        let contacts = Mutex::new(Contacts::new(span.into()));
        Self { span, zero: Instant::now(), contacts, changed: Notify::new() }
    }

    /// The length of a lease.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// A node's session has ended.
    pub(crate) fn absent(&self, node: NodeId) {
        self.lock().detached(node, self.now());
        self.changed.notify_one();
    }

    /// A node has a session.
    pub(crate) fn present(&self, node: NodeId) {
        self.lock().attached(node);
    }

    /// A heartbeat has come.
    pub(crate) fn heard(&self, node: NodeId, beat: Beat) {
        self.lock().heard(node, beat, self.now());
    }

    /// A heartbeat is answered, as [`Contacts::answers`] demands.
    pub(crate) fn answers(&self, node: NodeId, number: u64) {
        self.lock().answers(node, number, self.now());
    }

    fn now(&self) -> Millis {
        self.zero.elapsed().into()
    }

    fn lock(&self) -> MutexGuard<'_, Contacts> {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the conclusions whenever this member leads, until the brain stops.
    pub(crate) async fn run(&self, brain: &Brain, hub: &Hub) -> Result<Infallible, BrainError> {
        loop {
            brain.leads().await?;
            let ended = tokio::select! {
                deposed = brain.deposed() => deposed,
                ended = self.lead(brain, hub) => match ended {
                    Ok(never) => match never {},
                    Err(error) => error,
                },
            };
            if matches!(ended, BrainError::Stopping) {
                return Err(ended);
            }
            // What it knew of agents belongs to the leadership that is over.
            *self.lock() = Contacts::new(self.span.into());
        }
    }

    /// As long as this member leads.
    async fn lead(&self, brain: &Brain, hub: &Hub) -> Result<Infallible, BrainError> {
        let nodes = brain
            .read(|state| {
                let nodes = state.tables().nodes.iter();
                nodes.map(|(id, node)| (*id, node.phase.is_ready())).collect::<Vec<_>>()
            })
            .await?;
        {
            let mut contacts = self.lock();
            // Sessions that were opened before this began to look.
            for node in hub.connected() {
                if !contacts.is_present(node) {
                    contacts.attached(node);
                }
            }
            contacts.began(nodes, self.now());
        }
        let mut held_up_at = Instant::now();
        loop {
            if self.lock().any_absent() {
                tokio::time::sleep(self.span / LOOKS_PER_LEASE).await;
            } else {
                self.changed.notified().await;
            }
            let ended = self.lock().ended(self.now());
            for node in ended {
                self.declare(brain, node).await?;
            }
            if held_up_at.elapsed() >= HELD_UP_EVERY {
                held_up_at = Instant::now();
                self.give_up(brain).await?;
            }
        }
    }

    async fn declare(&self, brain: &Brain, node: NodeId) -> Result<(), BrainError> {
        // It may have come back while others were declared.
        if self.lock().is_present(node) {
            return Ok(());
        }
        info!(muster.node.id = %node, "no session within the lease");
        let body = Body::NodeUnreachable(NodeUnreachable { node });
        if !commit(brain, body).await? {
            self.lock().not_declared(node);
        }
        Ok(())
    }

    /// Gives up what unreachable agents must have stopped by now.
    async fn give_up(&self, brain: &Brain) -> Result<(), BrainError> {
        let declared: Vec<NodeId> = self.lock().declared().collect();
        if declared.is_empty() {
            return Ok(());
        }
        let found = brain
            .read(move |state| {
                let look = |node: NodeId| (node, state.node(node).map(|_| state.held_up(node)));
                declared.into_iter().map(look).collect::<Vec<_>>()
            })
            .await?;
        for (node, held_up) in found {
            match held_up {
                None => self.lock().removed(node),
                Some(None) => {}
                Some(Some(held_up)) => self.cut_off(brain, (node, held_up)).await?,
            }
        }
        Ok(())
    }

    async fn cut_off(
        &self,
        brain: &Brain,
        (node, held_up): (NodeId, HeldUp),
    ) -> Result<(), BrainError> {
        let HeldUp { since, cut_off, jobs } = held_up;
        let jobs = {
            let (contacts, now) = (self.lock(), self.now());
            let stopped = |witnesses: &[NodeId]| {
                contacts.stopped_at(node, cut_off, witnesses).is_some_and(|at| at <= now)
            };
            jobs.into_iter()
                .filter(|(_, witnesses)| stopped(witnesses))
                .map(|(job, _)| job)
                .collect::<Vec<_>>()
        };
        if jobs.is_empty() {
            return Ok(());
        }
        info!(muster.node.id = %node, jobs = jobs.len(), "cut off for so long that its agent has stopped what it ran");
        commit(brain, Body::CutOff(CutOff { node, since, jobs })).await.map(|_| ())
    }
}

/// Commits what follows from a lost lease. Answers whether that was possible; if not, it is to be tried again. An error
/// ends the leadership.
async fn commit(brain: &Brain, body: Body) -> Result<bool, BrainError> {
    match brain.submit(None, body).await {
        Ok(_) => Ok(true),
        Err(error @ (BrainError::Stopping | BrainError::NotLeader { .. })) => Err(error),
        Err(error) => {
            warn!(%error, "what follows from a lost lease was not committed; trying again");
            Ok(false)
        }
    }
}
