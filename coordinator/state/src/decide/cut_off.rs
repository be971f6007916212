//! The agent of an unreachable node has kept its promise to stop what it ran: its replicas count as lost, and their gangs
//! may start elsewhere. See `docs/adr/0014-cut-off-agents.md`.
//!
//! That it must have stopped by now is for the leader to know, whose clock has measured it. What the records can tell
//! is checked here:
//!
//! * The node has not been back since.
//! * Its agent promised to stop at all.
//! * Whom it would ask for a leader are the members of today.

use muster_model::{Exit, ExitStatus, ReplicaPhase};

use crate::command::{Accepted, CutOff};
use crate::draft::Draft;
use crate::{lifecycle, narrate};

pub(super) fn decide(draft: &mut Draft<'_>, cut: &CutOff) -> Accepted {
    let promise = draft.base.promise_of_lost(cut.node);
    let is_still_away = promise.is_some_and(|(since, _)| since == cut.since);
    let node = draft.node(cut.node).filter(|_| is_still_away);
    let Some(name) = node.map(|node| node.name.clone()) else { return Accepted::Done };
    for job in &cut.jobs {
        let here: Vec<_> = draft.base.replicas_on(cut.node).filter(|id| id.job == *job).collect();
        let live = |id| draft.replica(id).is_some_and(|replica| !replica.phase.is_exited());
        let live: Vec<_> = here.into_iter().filter(|id| live(*id)).collect();
        if live.is_empty() {
            continue;
        }
        narrate::given_up(draft, *job, &name);
        for id in live {
            let exit = Exit { status: ExitStatus::Lost, after_stop: false };
            let at = draft.now;
            lifecycle::replica_moved(draft, id, ReplicaPhase::Exited { exit, at });
        }
    }
    Accepted::Done
}
