//! The handle through which everything else talks to the brain.

use std::fmt;
use std::sync::Arc;

use muster_model::{Reason, RequestId};
use muster_state::{Accepted, Body, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// How many inputs may wait for the brain. A caller that finds the queue full waits, which is the
/// backpressure that reaches clients and agents through their streams.
pub(super) const QUEUE: usize = 4096;

/// The outcome of a command.
pub(super) type Outcome = Result<Accepted, BrainError>;

/// A look at the state, or the reason why there is none.
pub(super) type Look = Box<dyn FnOnce(Result<&State, BrainError>) + Send>;

/// What goes into the brain.
pub(super) enum Input {
    /// Something to decide.
    Command { request: Option<RequestId>, body: Body, reply: oneshot::Sender<Outcome> },
    /// Something to look up.
    Read(Look),
}

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

/// Which role this member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RoleView {
    /// This member.
    pub(crate) member: u64,
    /// The member that leads, if one is known.
    pub(crate) leader: Option<u64>,
    /// The term.
    pub(crate) term: u64,
    /// Whether this member leads and has applied everything that was committed before.
    pub(crate) leads: bool,
}

/// Asks the brain; cheap to clone.
#[derive(Clone)]
pub(crate) struct Brain {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) role: watch::Receiver<RoleView>,
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
        outcome.await.unwrap_or(Err(BrainError::Stopping))
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
                Ok(outcome) => outcome.await.unwrap_or(Err(BrainError::Stopping)),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    async fn begin(
        &self,
        request: Option<RequestId>,
        body: Body,
    ) -> Result<oneshot::Receiver<Outcome>, BrainError> {
        let (reply, outcome) = oneshot::channel();
        let input = Input::Command { request, body, reply };
        self.inputs.send(input).await.map_err(|_| BrainError::Stopping)?;
        Ok(outcome)
    }

    /// Looks something up in the committed state. The closure runs on the brain's thread: it
    /// should copy what it needs and be done.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, BrainError> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Read(Box::new(move |state| {
            let _ = reply.send(state.map(read));
        }));
        self.inputs.send(input).await.map_err(|_| BrainError::Stopping)?;
        answer.await.unwrap_or(Err(BrainError::Stopping))
    }

    /// This member's role.
    pub(crate) fn role(&self) -> RoleView {
        *self.role.borrow()
    }

    /// Waits until this member leads.
    pub(crate) async fn leads(&self) -> Result<(), BrainError> {
        let mut role = self.role.clone();
        role.wait_for(|role| role.leads).await.map(|_| ()).map_err(|_| BrainError::Stopping)
    }
}

/// Shared by value with the thread.
pub(super) type SharedHub = Arc<crate::hub::Hub>;
