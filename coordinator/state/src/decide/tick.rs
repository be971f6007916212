//! Timers that are due.

use muster_model::{AfterStop, GangPhase};

use crate::command::Accepted;
use crate::draft::Draft;
use crate::lifecycle;
use crate::record::{TimerKey, TimerKind};

pub(super) fn decide(draft: &mut Draft<'_>) -> Accepted {
    let due: Vec<TimerKey> = draft.base.due(draft.now).collect();
    for key in due {
        // An earlier timer of the same tick may have cancelled or moved this one.
        if draft.timer(key).is_some_and(|timer| timer.at <= draft.now) {
            draft.cancel_timer(key.job, key.kind);
            fire(draft, key);
        }
    }
    Accepted::Done
}

fn fire(draft: &mut Draft<'_>, key: TimerKey) {
    let phase = draft.the_gang(key.job).phase;
    match key.kind {
        TimerKind::Deadline => lifecycle::deadline_passed(draft, key.job),
        TimerKind::TimeToLive => lifecycle::delete(draft, key.job),
        TimerKind::Backoff if matches!(phase, GangPhase::Backoff { .. }) => {
            lifecycle::restart_now(draft, key.job);
        }
        TimerKind::Drain if matches!(phase, GangPhase::Draining { .. }) => {
            lifecycle::stop(draft, key.job, AfterStop::Release);
        }
        TimerKind::Backoff | TimerKind::Drain => {}
    }
}
