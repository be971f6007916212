//! Leases of nodes whose agents have no session. They are known to the leader only, and a leader that starts
//! gives every node a full lease: it cannot know when the agents last spoke.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_model::NodeId;
use muster_state::{Body, NodeUnreachable};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::brain::{Brain, BrainError};
use crate::hub::Hub;

/// Nodes without a session and when their leases end.
#[derive(Debug)]
pub(crate) struct Leases {
    span: Duration,
    ends: Mutex<BTreeMap<NodeId, Instant>>,
    changed: Notify,
}

impl Leases {
    /// Leases of the given length.
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, ends: Mutex::default(), changed: Notify::new() }
    }

    /// The length of a lease.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// A node's session has ended, or it has none yet.
    pub(crate) fn absent(&self, node: NodeId) {
        self.lock().insert(node, Instant::now() + self.span);
        self.changed.notify_one();
    }

    /// A node has a session.
    pub(crate) fn present(&self, node: NodeId) {
        self.lock().remove(&node);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_end(&self) -> Option<Instant> {
        self.lock().values().min().copied()
    }

    fn take_ended(&self, now: Instant) -> Vec<NodeId> {
        let mut ends = self.lock();
        let ended: Vec<NodeId> =
            ends.iter().filter(|(_, end)| **end <= now).map(|(node, _)| *node).collect();
        for node in &ended {
            ends.remove(node);
        }
        ended
    }

    /// Declares nodes unreachable when their leases end, whenever this member leads, until the brain stops.
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
            // The next leader gives every node a full lease; so does this one, should it lead again.
            self.lock().clear();
        }
    }

    /// As long as this member leads.
    async fn lead(&self, brain: &Brain, hub: &Hub) -> Result<Infallible, BrainError> {
        let nodes = brain
            .read(|state| {
                let ready = state.tables().nodes.iter();
                ready
                    .filter(|(_, node)| node.phase.is_ready())
                    .map(|(id, _)| *id)
                    .collect::<Vec<_>>()
            })
            .await?;
        for node in nodes {
            if hub.sessions(Some(node)).is_empty() {
                let end = Instant::now() + self.span;
                self.lock().entry(node).or_insert(end);
            }
        }
        loop {
            match self.next_end() {
                Some(end) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(end) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
            for node in self.take_ended(Instant::now()) {
                // It may have come back while others were declared.
                if !hub.sessions(Some(node)).is_empty() {
                    continue;
                }
                info!(muster.node.id = %node, "no session within the lease");
                let body = Body::NodeUnreachable(NodeUnreachable { node });
                match brain.submit(None, body).await {
                    Ok(_) => {}
                    Err(error @ (BrainError::Stopping | BrainError::NotLeader { .. })) => {
                        return Err(error);
                    }
                    Err(error) => {
                        warn!(%error, "a lost lease was not committed; trying again");
                        self.absent(node);
                    }
                }
            }
        }
    }
}
