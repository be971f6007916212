//! Deciding a batch of commands into one entry.

use muster_model::{Reason, Timestamp};
use muster_state::{
    Body, Changes, Command, Decision, Effect, Index, Policy, Reply, State, decide, effects,
};
use tokio::sync::oneshot;

use super::handle::{BrainError, Outcome};

/// An entry holds at most this many commands,
const MAX_COMMANDS: usize = 1024;
/// and about this many bytes of changes, or one command that needs more,
const MAX_BYTES: usize = 1 << 20;
/// which is refused beyond this: an entry and its envelope travel in one message of
/// [`muster_proto::MAX_MESSAGE_BYTES`].
const MAX_COMMAND_BYTES: usize = 14 << 20;
/// The most that an entry may measure.
pub(super) const MAX_ENTRY_BYTES: usize = MAX_COMMAND_BYTES + MAX_BYTES;

/// A command that waits to be decided.
pub(super) struct Waiting {
    pub(super) request: Option<muster_model::RequestId>,
    pub(super) body: Body,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// Decided commands whose outcome is not committed yet.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) changes: Changes,
    pub(super) effects: Vec<Effect>,
    replies: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

impl Batch {
    /// Decides as many of the waiting commands as go into one entry, and a tick if one is due. The state is
    /// moved on to what it will be when the entry at `index` is committed.
    pub(super) fn decide(
        waiting: &mut std::collections::VecDeque<Waiting>,
        state: &mut State,
        (policy, index, now): (&Policy, Index, Timestamp),
    ) -> Self {
        let mut batch = Self::default();
        let mut bytes = 0;
        if state.next_due().is_some_and(|due| due <= now) {
            bytes += batch.take(
                state,
                (policy, index),
                Command { request: None, at: now, body: Body::Tick },
                None,
            );
        }
        while batch.replies.len() < MAX_COMMANDS && bytes < MAX_BYTES {
            let Some(Waiting { request, body, reply }) = waiting.pop_front() else { break };
            let command = Command { request, at: now, body };
            bytes += batch.take(state, (policy, index), command, Some(reply));
        }
        batch
    }

    fn take(
        &mut self,
        state: &mut State,
        (policy, index): (&Policy, Index),
        command: Command,
        reply: Option<oneshot::Sender<Outcome>>,
    ) -> usize {
        let mut decision = decide(state, policy, &command);
        let mut bytes =
            decision.changes.writes().map(|w| w.value.as_ref().map_or(16, Vec::len) + 32).sum();
        if bytes > MAX_COMMAND_BYTES {
            let reason = Reason::TooLarge { bytes, limit: MAX_COMMAND_BYTES };
            decision = Decision { reply: Reply::Rejected(reason), changes: Changes::default() };
            bytes = 0;
        }
        if !decision.changes.is_empty() {
            self.effects.extend(effects(state, &decision.changes));
            state.apply(index, &decision.changes);
            self.changes.append(decision.changes);
        }
        if let Some(reply) = reply {
            let answer = match decision.reply {
                Reply::Accepted(accepted) => Ok(accepted),
                Reply::Rejected(reason) => Err(BrainError::Rejected(reason)),
            };
            self.replies.push((reply, answer));
        }
        bytes
    }

    /// The entry is committed (or there was nothing to commit): everybody is answered.
    pub(super) fn answer(self) {
        for (reply, answer) in self.replies {
            // A caller that has gone away does not need an answer.
            let _ = reply.send(answer);
        }
    }

    /// The outcome is not known.
    pub(super) fn fail(self, error: &BrainError) {
        for (reply, _) in self.replies {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// How many commands were decided.
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }
}
