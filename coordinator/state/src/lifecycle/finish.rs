//! The ends of a job: success, failure, deadline, deletion; and letting its gang go.

use muster_model::{AfterStop, CleanPodPolicy, ConditionType, GangPhase, JobId, JobPhase, Millis};

use super::settle::settle;
use super::{placement, replica, set_condition, set_gang_phase, set_job_phase, stop, timers};
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Job, TimerKind};

/// The deciding ranks have ended well. What is left of the gang may end by itself for as long as its
/// grace period lasts, or is stopped, as `cleanPodPolicy` says.
pub(super) fn succeed(draft: &mut Draft<'_>, job: JobId) {
    if matches!(draft.the_status(job).phase, JobPhase::Starting | JobPhase::Restarting) {
        replica::mark_running(draft, job);
    }
    complete(draft, job, JobPhase::Succeeded);
    let message = narrate::succeeded(draft, job);
    set_condition(draft, job, (ConditionType::Succeeded, true), message);
    placement::free_exited(draft, job);
    let is_stopping = matches!(draft.the_gang(job).phase, GangPhase::Stopping { .. });
    match draft.the_job(job).gang.run_policy.clean_pod_policy {
        CleanPodPolicy::None if !is_stopping => {
            let until = draft.now.plus(longest_grace(draft, job));
            set_gang_phase(draft, job, GangPhase::Draining { until });
            draft.set_timer(job, TimerKind::Drain, until);
            settle(draft, job);
        }
        _ => stop(draft, job, AfterStop::Release),
    }
}

fn longest_grace(draft: &Draft<'_>, job: JobId) -> Millis {
    let roles = &draft.the_job(job).gang.roles;
    roles.iter().map(|role| role.pod.termination_grace).max().unwrap_or_default()
}

/// The job has failed: nothing of its gang is of use any more.
pub(super) fn fail(draft: &mut Draft<'_>, job: JobId, message: String) {
    complete(draft, job, JobPhase::Failed);
    narrate::failed(draft, job, &message);
    set_condition(draft, job, (ConditionType::Failed, true), message);
    stop(draft, job, AfterStop::Release);
}

fn complete(draft: &mut Draft<'_>, job: JobId, phase: JobPhase) {
    set_job_phase(draft, job, phase);
    let mut status = draft.the_status(job).clone();
    status.completed = Some(draft.now);
    draft.set_status(job, Some(status));
    draft.cancel_timer(job, TimerKind::Deadline);
    timers::set_time_to_live(draft, job);
}

/// `activeDeadlineSeconds` are over.
pub(crate) fn deadline_passed(draft: &mut Draft<'_>, job: JobId) {
    if !draft.the_status(job).phase.is_final() {
        let message = narrate::deadline_passed(draft, job);
        fail(draft, job, message);
    }
}

/// The job shall go: its ranks are stopped first.
pub(crate) fn delete(draft: &mut Draft<'_>, job: JobId) {
    let record = draft.the_job(job);
    if record.deleting.is_none() {
        let record = Job { deleting: Some(draft.now), ..record.clone() };
        draft.set_job(job, Some(record));
    }
    stop(draft, job, AfterStop::Release);
}

/// Every rank of a gang that is not to start again has stopped.
pub(super) fn release(draft: &mut Draft<'_>, job: JobId) {
    draft.cancel_timer(job, TimerKind::Drain);
    draft.cancel_timer(job, TimerKind::Backoff);
    placement::free_exited(draft, job);
    set_gang_phase(draft, job, GangPhase::Released);
    if draft.the_job(job).deleting.is_some() {
        draft.purge(job);
        return;
    }
    let policy = draft.the_job(job).gang.run_policy.clean_pod_policy;
    match (draft.the_status(job).phase, policy) {
        (JobPhase::Succeeded | JobPhase::Failed, CleanPodPolicy::None) => {}
        (JobPhase::Succeeded | JobPhase::Failed, CleanPodPolicy::Running) => {
            for id in draft.replica_ids(job) {
                let stopped = draft
                    .replica(id)
                    .and_then(|replica| replica.phase.exit())
                    .is_some_and(|exit| exit.after_stop);
                if stopped {
                    draft.set_replica(id, None);
                }
            }
        }
        _ => placement::forget_replicas(draft, job),
    }
}
