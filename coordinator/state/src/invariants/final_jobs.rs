//! A job that has ended or is suspended lets everything go: its gang is released or on its way
//! there, what has stopped reserves nothing, and no timer is left but those of its own end.

use muster_model::{AfterStop, GangPhase, JobPhase};

use super::{Violation, violated};
use crate::record::TimerKind;
use crate::state::State;

const NAME: &str = "an ended job holds nothing";

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, status) in state.tables().statuses.iter() {
        if !(status.phase.is_final() || status.phase == JobPhase::Suspended) {
            continue;
        }
        let Some(gang) = state.gang(*id) else {
            continue;
        };
        let letting_go = matches!(
            gang.phase,
            GangPhase::Released
                | GangPhase::Draining { .. }
                | GangPhase::Stopping { next: AfterStop::Release }
        );
        if !letting_go {
            return violated(
                NAME,
                format!("job {id} is {:?}, gang {:?}", status.phase, gang.phase),
            );
        }
        for (replica, record) in state.replicas_of(*id) {
            if record.phase.is_exited() && record.holds {
                return violated(
                    NAME,
                    format!("replica {replica} has ended and holds its request"),
                );
            }
        }
    }
    for (key, _) in state.tables().timers.iter() {
        let ended = state.status(key.job).is_some_and(|status| status.phase.is_final());
        let of_the_end = matches!(key.kind, TimerKind::TimeToLive | TimerKind::Drain);
        if ended && !of_the_end {
            return violated(NAME, format!("timer {key:?} of an ended job"));
        }
    }
    Ok(())
}
