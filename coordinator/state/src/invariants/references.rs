//! What a record refers to exists: every job has one status and one gang, every replica a job, every
//! live replica a node, every timer and event a job.

use super::{Violation, violated};
use crate::state::State;

const NAME: &str = "references lead somewhere";

pub(super) fn check(state: &State) -> Result<(), Violation> {
    let tables = state.tables();
    let jobs = || tables.jobs.iter().map(|(id, _)| *id);
    if !jobs().eq(tables.statuses.iter().map(|(id, _)| *id)) {
        return violated(NAME, "jobs and statuses differ");
    }
    if !jobs().eq(tables.gangs.iter().map(|(id, _)| *id)) {
        return violated(NAME, "jobs and gangs differ");
    }
    for (id, replica) in tables.replicas.iter() {
        if state.job(id.job).is_none() {
            return violated(NAME, format!("replica {id} has no job"));
        }
        if !replica.phase.is_exited() && state.node(replica.node).is_none() {
            return violated(NAME, format!("live replica {id} has no node"));
        }
    }
    let timers = tables.timers.iter().map(|(key, _)| key.job);
    let events = tables.events.iter().map(|((job, _), _)| *job);
    match timers.chain(events).find(|job| state.job(*job).is_none()) {
        Some(job) => {
            violated(NAME, format!("a timer or event belongs to job {job}, which is gone"))
        }
        None => Ok(()),
    }
}
