//! The handle through which everything else talks to the brain.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use muster_consensus::{MemberId, SnapshotOutcome, Status};
use muster_coordinator_core::{Outcome as CoreOutcome, Refused, RoleView};
use muster_model::{Reason, RequestId};
use muster_state::{Accepted, Body, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::access::Known;

/// How many inputs may wait for the brain. A caller that finds the queue full waits, which is the
/// backpressure that reaches clients and agents through their streams.
pub(super) const QUEUE: usize = 4096;
/// How many deliveries of peers may wait. A peer's stream waits then, and its messages are lost at its end.
pub(super) const PEER_QUEUE: usize = 256;

/// A look at the state, or the reason why there is none.
pub(super) type Look = Box<dyn FnOnce(Result<&State, Refused>) + Send>;

/// What callers put into the brain.
pub(super) enum Input {
    /// Something to decide.
    Command { request: Option<RequestId>, body: Box<Body>, reply: oneshot::Sender<CoreOutcome> },
    /// Something to look up.
    Read(Look),
    /// Something to look up in whatever this member has applied.
    Peek(Look),
    /// How consensus stands.
    Status(oneshot::Sender<Status>),
    /// Another voter shall lead: a certain one, or whichever is furthest.
    Transfer(Option<MemberId>, oneshot::Sender<Result<(), String>>),
}

/// What peers put into the brain; it goes first.
pub(super) enum PeerInput {
    /// Messages of one peer.
    Messages(Vec<Bytes>),
    /// A peer cannot be reached.
    Unreachable(MemberId),
    /// The sending of a snapshot to a peer has ended.
    SnapshotSent(MemberId, SnapshotOutcome),
}

/// Where members are, by id.
pub(crate) type AddressBook = BTreeMap<u64, String>;

/// Why the brain did not do what it was asked to.
#[derive(Debug, Clone, Error)]
pub(crate) enum BrainError {
    /// It was refused.
    #[error(transparent)]
    Rejected(Reason),
    /// Another member leads, or none.
    #[error("this member does not lead{}; try again", leader_hint(.leader))]
    NotLeader {
        /// The member that leads, if one is known.
        leader: Option<u64>,
        /// Where it is.
        address: Option<String>,
    },
    /// There is too much to do.
    #[error("the coordinator is overloaded; try again in a moment")]
    Overloaded,
    /// The disk is full.
    #[error(
        "the coordinator's disk is full, so it accepts no changes; what it knows is safe and what runs goes on. {0}"
    )]
    DiskFull(String),
    /// The coordinator stops.
    #[error("the coordinator is stopping; try again")]
    Stopping,
}

fn leader_hint(leader: &Option<u64>) -> String {
    leader.map(|member| format!(" (member {member} does)")).unwrap_or_default()
}

/// Asks the brain; cheap to clone.
#[derive(Clone)]
pub(crate) struct Brain {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) role: watch::Receiver<RoleView>,
    pub(super) book: watch::Receiver<AddressBook>,
    pub(super) known: watch::Receiver<Known>,
}

impl fmt::Debug for Brain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brain").field("role", &*self.role.borrow()).finish_non_exhaustive()
    }
}

impl Brain {
    /// Decides a command. Answers once the outcome is committed.
    pub(crate) async fn submit(
        &self,
        request: Option<RequestId>,
        body: Body,
    ) -> Result<Accepted, BrainError> {
        let outcome = self.begin(request, body).await?;
        self.outcome(outcome).await
    }

    /// Decides commands that need not wait for each other. Answers in their order, when all are committed.
    pub(crate) async fn submit_all(
        &self,
        bodies: impl IntoIterator<Item = Body>,
    ) -> Vec<Result<Accepted, BrainError>> {
        let mut begun = Vec::new();
        for body in bodies {
            begun.push(self.begin(None, body).await);
        }
        let mut outcomes = Vec::with_capacity(begun.len());
        for outcome in begun {
            outcomes.push(match outcome {
                Ok(outcome) => self.outcome(outcome).await,
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    async fn outcome(
        &self,
        outcome: oneshot::Receiver<CoreOutcome>,
    ) -> Result<Accepted, BrainError> {
        outcome.await.unwrap_or(Err(Refused::Stopping)).map_err(|refused| self.error(refused))
    }

    async fn begin(
        &self,
        request: Option<RequestId>,
        body: Body,
    ) -> Result<oneshot::Receiver<CoreOutcome>, BrainError> {
        let (reply, outcome) = oneshot::channel();
        let input = Input::Command { request, body: Box::new(body), reply };
        self.inputs.send(input).await.map_err(|_| BrainError::Stopping)?;
        Ok(outcome)
    }

    /// Looks something up in the committed state, and misses nothing that was acknowledged before. The closure runs on
    /// the brain's thread: it should copy what it needs and be done.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, BrainError> {
        self.ask(Input::Read, read).await
    }

    /// Looks something up in what this member has applied, which may be old.
    pub(crate) async fn peek<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, BrainError> {
        self.ask(Input::Peek, read).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        kind: impl FnOnce(Look) -> Input,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, BrainError> {
        let (reply, answer) = oneshot::channel();
        let input = kind(Box::new(move |state| {
            let _ = reply.send(state.map(read));
        }));
        self.inputs.send(input).await.map_err(|_| BrainError::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping)).map_err(|refused| self.error(refused))
    }

    /// How consensus stands.
    pub(crate) async fn status(&self) -> Result<Status, BrainError> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Status(reply)).await.map_err(|_| BrainError::Stopping)?;
        answer.await.map_err(|_| BrainError::Stopping)
    }

    /// Hands the leadership to another voter. The inner error is a sentence.
    pub(crate) async fn transfer_leader(
        &self,
        to: Option<MemberId>,
    ) -> Result<Result<(), String>, BrainError> {
        let role = self.role();
        if !role.leads {
            return Err(self.not_leader(role.leader));
        }
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Transfer(to, reply)).await.map_err(|_| BrainError::Stopping)?;
        answer.await.map_err(|_| BrainError::Stopping)
    }

    fn error(&self, refused: Refused) -> BrainError {
        match refused {
            Refused::Rejected(reason) => BrainError::Rejected(reason),
            Refused::NotLeader { leader } => self.not_leader(leader.map(|member| member.0)),
            Refused::Overloaded => BrainError::Overloaded,
            Refused::DiskFull(why) => BrainError::DiskFull(why),
            Refused::Stopping => BrainError::Stopping,
        }
    }

    fn not_leader(&self, leader: Option<u64>) -> BrainError {
        let address = leader.and_then(|leader| self.book.borrow().get(&leader).cloned());
        BrainError::NotLeader { leader, address }
    }

    /// This member's role.
    pub(crate) fn role(&self) -> RoleView {
        *self.role.borrow()
    }

    /// Where members are, now and as it changes.
    pub(crate) fn book(&self) -> watch::Receiver<AddressBook> {
        self.book.clone()
    }

    /// Tokens and revocations, as they change.
    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }

    /// Waits until this member leads.
    pub(crate) async fn leads(&self) -> Result<(), BrainError> {
        let mut role = self.role.clone();
        role.wait_for(|role| role.leads).await.map(|_| ()).map_err(|_| BrainError::Stopping)
    }

    /// Waits until this member leads or knows who does.
    pub(crate) async fn leader_known(&self) -> Result<RoleView, BrainError> {
        let mut role = self.role.clone();
        let known = role
            .wait_for(|role| role.leads || role.leader.is_some_and(|leader| leader != role.member));
        known.await.map(|role| *role).map_err(|_| BrainError::Stopping)
    }

    /// The answer that leads to the leader, when that is another member.
    pub(crate) fn led_by_another(&self) -> Option<BrainError> {
        let role = self.role();
        let leader = role.leader.filter(|leader| !role.leads && *leader != role.member)?;
        Some(self.not_leader(Some(leader)))
    }

    /// Waits until this member does not lead, and answers as it answers whoever asks then.
    pub(crate) async fn deposed(&self) -> BrainError {
        let mut role = self.role.clone();
        match role.wait_for(|role| !role.leads).await {
            Ok(role) => self.not_leader(role.leader),
            Err(_) => BrainError::Stopping,
        }
    }
}

/// Hands the brain what peers send; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PeerInbox {
    pub(super) inputs: mpsc::Sender<PeerInput>,
}

impl PeerInbox {
    /// Messages of a peer. Waits while there are too many.
    pub(crate) async fn messages(&self, messages: Vec<Bytes>) -> Result<(), BrainError> {
        self.put(PeerInput::Messages(messages)).await
    }

    /// A peer cannot be reached. Only a hint, so it does not wait.
    pub(crate) fn unreachable(&self, member: u64) {
        let _ = self.inputs.try_send(PeerInput::Unreachable(MemberId(member)));
    }

    /// The sending of a snapshot has ended.
    pub(crate) async fn snapshot_sent(&self, member: u64, outcome: SnapshotOutcome) {
        let _ = self.put(PeerInput::SnapshotSent(MemberId(member), outcome)).await;
    }

    async fn put(&self, input: PeerInput) -> Result<(), BrainError> {
        self.inputs.send(input).await.map_err(|_| BrainError::Stopping)
    }
}

impl fmt::Debug for PeerInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages(_) => "Messages",
            Self::Unreachable(_) => "Unreachable",
            Self::SnapshotSent(..) => "SnapshotSent",
        })
    }
}
