//! `runPolicy.suspend`: the gang stops and lets go of everything; resumed, it waits for a new place.

use muster_model::{AfterStop, ConditionType, GangPhase, JobId, JobPhase};

use super::{set_condition, set_gang_phase, set_job_phase, stop};
use crate::draft::Draft;
use crate::narrate;
use crate::record::TimerKind;

pub(crate) fn suspend(draft: &mut Draft<'_>, job: JobId) {
    if draft.the_status(job).conditions.holds(ConditionType::Running) {
        let message = narrate::is_suspended(draft, job);
        set_condition(draft, job, (ConditionType::Running, false), message);
    }
    narrate::suspended(draft, job);
    set_job_phase(draft, job, JobPhase::Suspended);
    let mut status = draft.the_status(job).clone();
    status.started = None;
    status.streak = 0;
    status.program_streak = 0;
    draft.set_status(job, Some(status));
    draft.cancel_timer(job, TimerKind::Deadline);
    stop(draft, job, AfterStop::Release);
}

pub(crate) fn resume(draft: &mut Draft<'_>, job: JobId) {
    if draft.the_status(job).phase != JobPhase::Suspended {
        return;
    }
    narrate::resumed(draft, job);
    set_job_phase(draft, job, JobPhase::Queued);
    match draft.the_gang(job).phase {
        GangPhase::Released => set_gang_phase(draft, job, GangPhase::Waiting),
        GangPhase::Stopping { .. } => stop(draft, job, AfterStop::Requeue),
        _ => {}
    }
}
