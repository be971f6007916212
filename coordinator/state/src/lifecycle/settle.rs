//! What a gang does next, decided from its phase and its tally alone.

use muster_model::{AfterStop, GangPhase, JobId, JobPhase, SuccessRule};

use super::{finish, generation, judge, placement};
use crate::draft::Draft;
use crate::record::{Gang, replica_id};

/// Takes the step that the gang's phase and tally call for, if any. Idempotent.
pub(super) fn settle(draft: &mut Draft<'_>, job: JobId) {
    // An earlier step of the same decision may have removed the job.
    let Some(gang) = draft.gang(job) else { return };
    match gang.phase {
        GangPhase::Preparing if gang.all_ready() => generation::open(draft, job),
        #[cfg(sim_bug = "open_early")]
        GangPhase::Preparing if gang.tally.iter().any(|role| role.ready > 0) => {
            generation::open(draft, job);
        }
        GangPhase::Running if has_succeeded(draft, job) => finish::succeed(draft, job),
        // The deciding ranks had done their work before the order to stop reached them: another rank's failure
        // does not undo that.
        GangPhase::Stopping { next: AfterStop::Judge } if has_succeeded(draft, job) => {
            finish::succeed(draft, job);
        }
        // Likewise, the gang was to leave its nodes.
        GangPhase::Stopping { next: AfterStop::Requeue }
            if has_succeeded(draft, job) && draft.the_status(job).phase == JobPhase::Restarting =>
        {
            finish::succeed(draft, job);
        }
        GangPhase::Draining { .. } if gang.all_exited() => finish::release(draft, job),
        GangPhase::Stopping { next } if gang.all_exited() => stopped(draft, job, next),
        _ => {}
    }
}

fn stopped(draft: &mut Draft<'_>, job: JobId, next: AfterStop) {
    match next {
        AfterStop::Judge => judge::judge(draft, job),
        AfterStop::Release => finish::release(draft, job),
        AfterStop::Requeue => placement::give_up(draft, job),
    }
}

fn has_succeeded(draft: &Draft<'_>, job: JobId) -> bool {
    let spec = &draft.the_job(job).gang;
    let gang: &Gang = draft.the_gang(job);
    match spec.success {
        SuccessRule::All(role) => gang.tally[role.0].succeeded == spec.role(role).replicas,
        SuccessRule::Any(role) => gang.tally[role.0].succeeded > 0,
        SuccessRule::First(role) => {
            let first = spec.ranks().find(|(_, of, _)| *of == role);
            let replica = first.and_then(|(rank, ..)| draft.replica(replica_id(job, rank)));
            replica.is_some_and(|replica| replica.phase.is_success())
        }
    }
}
