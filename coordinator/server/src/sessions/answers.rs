//! Answers to heartbeats. An agent takes one as proof that its leader led when the heartbeat was sent, so that nobody else
//! gives its replicas up; a leader that was cut off itself must not give it. So a majority is asked first, for
//! all heartbeats together that have come by then.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_model::NodeId;
use muster_proto::v1 as wire;
use muster_proto::v1::coordinator_message::Body as ToAgent;
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use super::Leases;
use crate::brain::{Brain, BrainError};

/// Heartbeats are collected for so long: a thousand agents cost the majority twenty rounds a second.
const TOGETHER: Duration = Duration::from_millis(50);

type Outbound = mpsc::Sender<Result<wire::CoordinatorMessage, Status>>;

/// The newest heartbeat of each agent that waits for its answer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    waiting: Mutex<BTreeMap<NodeId, (u64, Outbound)>>,
    came: Notify,
}

impl Answers {
    /// A heartbeat is to be answered; the answer to it is one to all before it.
    pub(super) fn ask(&self, node: NodeId, number: u64, outbound: &Outbound) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(node, (number, outbound.clone()));
        self.came.notify_one();
    }

    fn take(&self) -> BTreeMap<NodeId, (u64, Outbound)> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers, until the brain stops.
    pub(crate) async fn run(
        &self,
        brain: &Brain,
        leases: &Leases,
    ) -> Result<Infallible, BrainError> {
        loop {
            self.came.notified().await;
            tokio::time::sleep(TOGETHER).await;
            let waiting = self.take();
            match brain.read(|_| ()).await {
                Ok(()) => {}
                Err(BrainError::Stopping) => return Err(BrainError::Stopping),
                // Nothing is proved. The agents will ask whoever leads.
                Err(_) => continue,
            }
            for (node, (number, outbound)) in waiting {
                leases.answers(node, number);
                let body = Some(ToAgent::Heard(wire::Heard { number }));
                // One that takes nothing more is told next time.
                let _ = outbound.try_send(Ok(wire::CoordinatorMessage { body }));
            }
        }
    }
}
