//! A phase that waits for a time has the timer that ends it, and the other way round.

use muster_model::{GangPhase, JobId, NodeRules, Timestamp};

use super::{Violation, violated};
use crate::lifecycle::eviction_due;
use crate::record::{TimerKey, TimerKind};
use crate::state::State;

const NAME: &str = "what waits for a time has its timer";

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, gang) in state.tables().gangs.iter() {
        let at = |kind| state.tables().timers.get(&TimerKey { job: *id, kind }).map(|t| t.at);
        let backoff = match gang.phase {
            GangPhase::Backoff { until } => Some(until),
            _ => None,
        };
        let drain = match gang.phase {
            GangPhase::Draining { until } => Some(until),
            _ => None,
        };
        if at(TimerKind::Backoff) != backoff || at(TimerKind::Drain) != drain {
            return violated(NAME, format!("job {id} in {:?}", gang.phase));
        }
        let (Some(job), Some(status)) = (state.job(*id), state.status(*id)) else {
            continue;
        };
        if at(TimerKind::Evict) != eviction(state, *id) {
            let (has, want) = (at(TimerKind::Evict), eviction(state, *id));
            return violated(NAME, format!("job {id}: eviction timer {has:?}, not {want:?}"));
        }
        let deadline = job.gang.run_policy.active_deadline.and_then(|span| {
            status.started.filter(|_| !status.phase.is_final()).map(|start| start.plus(span))
        });
        if at(TimerKind::Deadline) != deadline {
            return violated(
                NAME,
                format!("job {id}: deadline timer {:?}", at(TimerKind::Deadline)),
            );
        }
        let ttl = job
            .gang
            .run_policy
            .ttl_after_finished
            .and_then(|span| status.completed.map(|end| end.plus(span)));
        // A time to live that is over has started the deletion and is gone.
        if at(TimerKind::TimeToLive) != ttl && job.deleting.is_none() {
            return violated(NAME, format!("job {id}: ttl timer {:?}", at(TimerKind::TimeToLive)));
        }
    }
    Ok(())
}

/// When the job's gang must leave a tainted node.
fn eviction(state: &State, id: JobId) -> Option<Timestamp> {
    let (job, gang) = (state.job(id)?, state.gang(id)?);
    let rules: Vec<NodeRules> = job.gang.roles.iter().map(|role| role.pod.node_rules()).collect();
    let places = state
        .replicas_of(id)
        .filter_map(|(_, replica)| Some((&rules[replica.role.0], state.node(replica.node)?)));
    eviction_due(gang, places)
}
