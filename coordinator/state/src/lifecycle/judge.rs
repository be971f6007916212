//! The judgement of a failed generation, once all its ranks have stopped: start again, or fail.

use muster_model::{Cause, ConditionType, GangPhase, JobId, JobPhase, Verdict};

use super::{finish, generation, set_condition, set_gang_phase, set_job_phase};
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Failure, JobStatus, TimerKind};

pub(super) fn judge(draft: &mut Draft<'_>, job: JobId) {
    let gang = draft.the_gang(job);
    let failure =
        gang.failure.clone().expect("a gang is judged only after one of its ranks failed");
    let stable = gang.opened.is_some_and(|at| draft.now.since(at) >= draft.policy.stable_after);
    let mut status = draft.the_status(job).clone();
    count(&mut status, &failure, stable);

    if let Some(message) = must_fail(draft, job, (&failure, &status)) {
        draft.set_status(job, Some(status));
        finish::fail(draft, job, message);
        return;
    }
    status.restarts += 1;
    let delay = draft.policy.backoff(status.streak);
    draft.set_status(job, Some(status));
    set_job_phase(draft, job, JobPhase::Restarting);
    let message = narrate::restarting(draft, job, (&failure, delay));
    set_condition(draft, job, (ConditionType::Restarting, true), message);
    if delay.0 == 0 {
        generation::restart_now(draft, job);
    } else {
        let until = draft.now.plus(delay);
        draft.set_timer(job, TimerKind::Backoff, until);
        set_gang_phase(draft, job, GangPhase::Backoff { until });
    }
}

fn count(status: &mut JobStatus, failure: &Failure, stable: bool) {
    if stable {
        status.streak = 0;
        status.program_streak = 0;
    }
    status.streak = status.streak.saturating_add(1);
    if failure.status.cause() == Cause::Program {
        status.program_streak = status.program_streak.saturating_add(1);
    }
}

/// The sentence that ends the job, if it must end.
fn must_fail(
    draft: &Draft<'_>,
    job: JobId,
    (failure, status): (&Failure, &JobStatus),
) -> Option<String> {
    let spec = &draft.the_job(job).gang;
    let (role, _) = spec.place(failure.rank)?;
    if spec.role(role).restart.judge(&failure.status) == Verdict::Fail {
        return Some(narrate::failure_is_final(draft, job));
    }
    match spec.run_policy.backoff_limit {
        Some(limit) if status.restarts >= limit => {
            Some(narrate::limit_reached(draft, job, (failure, limit)))
        }
        None if status.program_streak > draft.policy.program_restarts => {
            Some(narrate::fails_in_a_row(draft, job, (failure, status.program_streak)))
        }
        _ => None,
    }
}
