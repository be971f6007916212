//! How a job, its gang and its replicas move through their phases. Each step is a function on the
//! draft; [`settle`](settle::settle) is where a gang's next step is decided after anything about it changed.

mod evict;
mod finish;
mod generation;
mod judge;
mod placement;
mod replica;
mod settle;
mod stop;
mod suspend;
mod timers;

pub(crate) use evict::{due as eviction_due, evict, evict_from_tainted, taints_changed};
pub(crate) use finish::{deadline_passed, delete};
pub(crate) use generation::{prepare_generation, restart_now};
pub(crate) use replica::replica_moved;
pub(crate) use stop::stop;
pub(crate) use suspend::{resume, suspend};
pub(crate) use timers::{set_deadline, set_time_to_live};

use muster_model::{Condition, ConditionType, GangPhase, JobId, JobPhase};

use crate::draft::Draft;

/// Moves a job; staying is no change.
pub(crate) fn set_job_phase(draft: &mut Draft<'_>, job: JobId, phase: JobPhase) {
    let mut status = draft.the_status(job).clone();
    status.phase = phase;
    draft.set_status(job, Some(status));
}

/// Moves a gang.
pub(crate) fn set_gang_phase(draft: &mut Draft<'_>, job: JobId, phase: GangPhase) {
    let mut gang = draft.the_gang(job).clone();
    if gang.phase != phase {
        gang.phase = phase;
        gang.since = draft.now;
        draft.set_gang(job, Some(gang));
        evict::set_eviction(draft, job);
    }
}

/// Writes a condition with the reason that belongs to it.
pub(crate) fn set_condition(
    draft: &mut Draft<'_>,
    job: JobId,
    (kind, holds): (ConditionType, bool),
    message: String,
) {
    let reason = kind.reason(&draft.the_job(job).key.kind, holds);
    let mut status = draft.the_status(job).clone();
    let now = draft.now;
    status.conditions.set(Condition {
        kind,
        status: holds,
        reason,
        message,
        updated: now,
        transitioned: now,
    });
    draft.set_status(job, Some(status));
}
