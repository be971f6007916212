//! Stopping a gang, from whatever it is doing.

use muster_model::{AfterStop, GangPhase, JobId};

use super::settle::settle;
use super::{finish, placement, set_gang_phase};
use crate::draft::Draft;
use crate::record::TimerKind;

/// Orders every rank to stop; `next` happens once all have. A gang that has nothing to stop goes
/// on at once.
pub(crate) fn stop(draft: &mut Draft<'_>, job: JobId, next: AfterStop) {
    match draft.the_gang(job).phase {
        GangPhase::Released | GangPhase::Waiting => {
            if next == AfterStop::Release {
                finish::release(draft, job);
            }
        }
        GangPhase::Backoff { .. } => {
            draft.cancel_timer(job, TimerKind::Backoff);
            begin(draft, job, next);
        }
        GangPhase::Preparing | GangPhase::Running | GangPhase::Draining { .. } => {
            draft.cancel_timer(job, TimerKind::Drain);
            begin(draft, job, next);
        }
        GangPhase::Stopping { next: planned } => begin(draft, job, merge(planned, next)),
    }
}

fn begin(draft: &mut Draft<'_>, job: JobId, next: AfterStop) {
    set_gang_phase(draft, job, GangPhase::Stopping { next });
    if next != AfterStop::Judge {
        placement::free_exited(draft, job);
    }
    settle(draft, job);
}

/// A later order replaces an earlier one, but a failure does not undo a decision to let go.
fn merge(planned: AfterStop, new: AfterStop) -> AfterStop {
    match (planned, new) {
        (AfterStop::Release | AfterStop::Requeue, AfterStop::Judge) => planned,
        (_, new) => new,
    }
}
