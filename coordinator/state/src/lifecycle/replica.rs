//! A replica has moved: the tally follows, a failure is recorded, and the gang settles.

use muster_model::{AfterStop, ConditionType};
use muster_model::{
    Cause, Exit, ExitStatus, GangPhase, JobId, JobPhase, Rank, ReplicaId, ReplicaPhase,
    RestartPolicy,
};

use super::settle::settle;
use super::{finish, set_condition, set_job_phase, stop};
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Failure, Replica};

/// Moves one replica and everything that follows from it.
pub(crate) fn replica_moved(draft: &mut Draft<'_>, id: ReplicaId, phase: ReplicaPhase) {
    let Some(old) = draft.replica(id).cloned() else {
        return;
    };
    let phase = not_as_ordered(draft, id.job, phase);
    if old.phase == phase || !old.phase.can_become(&phase) {
        return;
    }
    let mut gang = draft.the_gang(id.job).clone();
    let tally = &mut gang.tally[old.role.0];
    *tally.slot(&old.phase) -= 1;
    *tally.slot(&phase) += 1;
    let will_run_again = !matches!(
        gang.phase,
        GangPhase::Draining { .. }
            | GangPhase::Stopping { next: AfterStop::Release | AfterStop::Requeue }
    );
    draft.set_gang(id.job, Some(gang));
    let holds = old.holds && (will_run_again || !phase.is_exited());
    draft.set_replica(id, Some(Replica { phase: phase.clone(), holds, ..old }));

    if matches!(phase, ReplicaPhase::Running { .. }) {
        show_running(draft, id);
    }
    if let Some(exit) = phase.exit() {
        if exit.status.is_success() {
            show_running(draft, id);
        } else {
            failed(draft, id, exit);
        }
    }
    settle(draft, id.job);
}

/// The end of a rank that was stopped although nobody here had ordered it: a shim that got SIGTERM, as at a shutdown of its
/// node, or an agent that had lost track. It is a failure from outside, even if the program took the signal as a reason
/// to exit with 0.
fn not_as_ordered(draft: &Draft<'_>, job: JobId, phase: ReplicaPhase) -> ReplicaPhase {
    let is_ordered = matches!(
        draft.the_gang(job).phase,
        GangPhase::Stopping { .. } | GangPhase::Draining { .. }
    );
    match phase {
        ReplicaPhase::Exited { exit, at } if exit.after_stop && !is_ordered => {
            let status = if exit.status.is_success() { ExitStatus::Lost } else { exit.status };
            ReplicaPhase::Exited { exit: Exit { status, after_stop: false }, at }
        }
        other => other,
    }
}

/// A job runs once a replica of its deciding role does. A very short program may be seen only
/// after its end.
fn show_running(draft: &mut Draft<'_>, id: ReplicaId) {
    let job = draft.the_job(id.job);
    let deciding = job.gang.success.role();
    let is_deciding = draft.replica(id).is_some_and(|replica| replica.role == deciding);
    let waits_for_it =
        matches!(draft.the_status(id.job).phase, JobPhase::Starting | JobPhase::Restarting);
    if is_deciding && waits_for_it && draft.the_gang(id.job).phase == GangPhase::Running {
        mark_running(draft, id.job);
    }
}

pub(super) fn mark_running(draft: &mut Draft<'_>, job: JobId) {
    set_job_phase(draft, job, JobPhase::Running);
    let message = narrate::running(draft, job);
    set_condition(draft, job, (ConditionType::Running, true), message);
}

/// A rank ended badly. What that means for the job is judged once the whole gang has stopped,
/// because only then it is known which rank was the cause and which only noticed; except
/// under `Never`, where any failure is the end.
fn failed(draft: &mut Draft<'_>, id: ReplicaId, exit: &Exit) {
    let phase = draft.the_gang(id.job).phase;
    let judged_later = matches!(phase, GangPhase::Stopping { next: AfterStop::Judge });
    let live = matches!(phase, GangPhase::Preparing | GangPhase::Running);
    if exit.after_stop || !(live || judged_later) {
        return;
    }
    blame(draft, id, exit);
    narrate::rank_failed(draft, id, exit);
    let role = draft.replica(id).map(|replica| replica.role);
    let policy = role.map(|role| draft.the_job(id.job).gang.role(role).restart);
    if exit.status.is_permanent() || policy == Some(RestartPolicy::Never) {
        let message = narrate::failure_is_final(draft, id.job);
        finish::fail(draft, id.job, message);
    } else if live {
        stop(draft, id.job, AfterStop::Judge);
    }
}

/// Records the failure. The first rank that failed is blamed, unless a later one was killed from
/// outside or lost: then the first has only noticed that.
fn blame(draft: &mut Draft<'_>, id: ReplicaId, exit: &Exit) {
    let mut gang = draft.the_gang(id.job).clone();
    let (mut rank, mut status): (Rank, _) = (id.rank, exit.status.clone());
    let mut count = 1;
    if let Some(earlier) = gang.failure.take() {
        count += earlier.count;
        let noticed = earlier.status.cause() == Cause::Program && !earlier.status.is_permanent();
        if !(noticed && exit.status.cause() == Cause::Surroundings) {
            (rank, status) = (earlier.rank, earlier.status);
        }
    }
    gang.failure = Some(Failure { rank, status, count });
    draft.set_gang(id.job, Some(gang));
}
