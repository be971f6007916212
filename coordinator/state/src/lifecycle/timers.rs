//! Timers that follow from the run policy.

use muster_model::JobId;

use crate::draft::Draft;
use crate::record::TimerKind;

/// (Re)sets the deadline of a job that has started and not ended.
pub(crate) fn set_deadline(draft: &mut Draft<'_>, job: JobId) {
    let status = draft.the_status(job);
    let started = status.started.filter(|_| !status.phase.is_final());
    match (started, draft.the_job(job).gang.run_policy.active_deadline) {
        (Some(started), Some(span)) => {
            draft.set_timer(job, TimerKind::Deadline, started.plus(span));
        }
        _ => draft.cancel_timer(job, TimerKind::Deadline),
    }
}

/// (Re)sets the time after which a job that has ended is deleted.
pub(crate) fn set_time_to_live(draft: &mut Draft<'_>, job: JobId) {
    let completed = draft.the_status(job).completed;
    match (completed, draft.the_job(job).gang.run_policy.ttl_after_finished) {
        (Some(completed), Some(span)) => {
            draft.set_timer(job, TimerKind::TimeToLive, completed.plus(span));
        }
        _ => draft.cancel_timer(job, TimerKind::TimeToLive),
    }
}
