//! Deciding a batch of commands into one entry.

use std::collections::VecDeque;

use muster_model::{Reason, RequestId, Timestamp};
use muster_state::{
    Body, Changes, Command, Decision, Effect, Index, Policy, Reply, State, decide, effects,
};

use crate::host::Host;
use crate::refused::{Outcome, Refused};

/// An entry holds at most this many commands,
const MAX_COMMANDS: usize = 1024;
/// and about this many bytes of changes, or one command that needs more,
const MAX_BYTES: usize = 1 << 20;
/// which is refused beyond this: an entry and its envelope travel in one message.
const MAX_COMMAND_BYTES: usize = 14 << 20;
/// The most that an entry may measure, in bytes.
pub const MAX_ENTRY_BYTES: usize = MAX_COMMAND_BYTES + MAX_BYTES;

/// A command that waits to be decided.
pub(crate) struct Waiting<R> {
    pub(crate) request: Option<RequestId>,
    pub(crate) body: Body,
    /// Nobody waits for what a member asks of itself.
    pub(crate) reply: Option<R>,
}

/// Decided commands whose outcome is not committed yet.
pub(crate) struct Batch<R> {
    pub(crate) changes: Changes,
    pub(crate) effects: Vec<Effect>,
    replies: Vec<(Option<R>, Outcome)>,
}

impl<R> Batch<R> {
    /// Decides as many of the waiting commands as go into one entry, and a tick if one is due. The state is moved on to
    /// what it will be when the entry at `index` is committed.
    pub(crate) fn decide(
        waiting: &mut VecDeque<Waiting<R>>,
        state: &mut State,
        (policy, index, now): (&Policy, Index, Timestamp),
    ) -> Self {
        let mut batch =
            Self { changes: Changes::default(), effects: Vec::new(), replies: Vec::new() };
        let mut bytes = 0;
        if state.next_due().is_some_and(|due| due <= now) {
            let command = Command { request: None, at: now, body: Body::Tick };
            bytes += batch.take(state, (policy, index), &command).1;
        }
        while batch.replies.len() < MAX_COMMANDS && bytes < MAX_BYTES {
            let Some(Waiting { request, body, reply }) = waiting.pop_front() else { break };
            let request = request.filter(|_| !cfg!(sim_bug = "forget_requests"));
            let command = Command { request, at: now, body };
            let (answer, size) = batch.take(state, (policy, index), &command);
            bytes += size;
            batch.replies.push((reply, answer));
        }
        batch
    }

    fn take(
        &mut self,
        state: &mut State,
        (policy, index): (&Policy, Index),
        command: &Command,
    ) -> (Outcome, usize) {
        let Decision { reply, changes } = decide(state, policy, command);
        let bytes = changes.writes().map(|w| w.value.as_ref().map_or(16, Vec::len) + 32).sum();
        if bytes > MAX_COMMAND_BYTES {
            let reason = Reason::TooLarge { bytes, limit: MAX_COMMAND_BYTES };
            return (Err(Refused::Rejected(reason)), 0);
        }
        if !changes.is_empty() {
            self.effects.extend(effects(state, &changes));
            state.apply(index, &changes);
            self.changes.append(changes);
        }
        let answer = match reply {
            Reply::Accepted(accepted) => Ok(accepted),
            Reply::Rejected(reason) => Err(Refused::Rejected(reason)),
        };
        (answer, bytes)
    }

    /// The entry is committed (or there was nothing to commit): everybody is answered.
    pub(crate) fn answer<H: Host<Reply = R>>(self, host: &mut H) {
        for (reply, answer) in self.replies {
            if let Some(reply) = reply {
                host.answer(reply, answer);
            }
        }
    }

    #[cfg(sim_bug = "answer_before_commit")]
    pub(crate) fn answer_now<H: Host<Reply = R>>(mut self, host: &mut H) -> Self {
        for (reply, answer) in &mut self.replies {
            if let Some(reply) = reply.take() {
                host.answer(reply, answer.clone());
            }
        }
        self
    }

    /// The outcome is not known.
    pub(crate) fn fail<H: Host<Reply = R>>(self, error: &Refused, host: &mut H) {
        for (reply, _) in self.replies {
            if let Some(reply) = reply {
                host.answer(reply, Err(error.clone()));
            }
        }
    }

    /// How many commands were decided.
    pub(crate) fn len(&self) -> usize {
        self.replies.len()
    }
}
