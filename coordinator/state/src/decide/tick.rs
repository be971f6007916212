//! Timers that are due.
//!
//! Only so many at a time: what one tick changes must fit into an entry, and each timer may restart a gang of thousands
//! of ranks. Those that are left are still due, so that the next tick follows at once.

use muster_model::{AfterStop, GangPhase};

use crate::command::Accepted;
use crate::draft::Draft;
use crate::lifecycle;
use crate::record::{TimerKey, TimerKind};

/// After so many changed records a tick leaves the rest to the next one.
const MAX_RECORDS: usize = 10_000;

pub(super) fn decide(draft: &mut Draft<'_>) -> Accepted {
    let due: Vec<TimerKey> = draft.base.due(draft.now).collect();
    let start = draft.size();
    for key in due {
        if draft.size() - start > MAX_RECORDS {
            break;
        }
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
        TimerKind::Evict => lifecycle::evict_from_tainted(draft, key.job),
        TimerKind::Backoff | TimerKind::Drain => {}
    }
}
