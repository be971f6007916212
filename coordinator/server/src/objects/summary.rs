//! What somebody who follows a job wants to know at a glance.

use muster_model::{ConditionType, GangPhase, JobId, JobPhase, ReplicaPhase};
use muster_proto::v1 as wire;
use muster_state::{Gang, Job, JobStatus, State};

use crate::planner::Waits;
use crate::sessions::Details;

/// What only this leader knows beside the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaderView<'a> {
    pub(crate) waits: &'a Waits,
    pub(crate) details: &'a Details,
}

/// The summary of a job; `None` when it is not there.
pub(crate) fn job_summary(
    state: &State,
    leader: LeaderView<'_>,
    id: JobId,
) -> Option<wire::JobSummary> {
    let (job, status, gang) = (state.job(id)?, state.status(id)?, state.gang(id)?);
    let roles = job.gang.roles.iter().zip(&gang.tally).map(|(role, tally)| wire::RoleSummary {
        name: role.name.to_string(),
        replicas: role.replicas,
        preparing: tally.assigned,
        ready: tally.ready,
        running: tally.running,
        succeeded: tally.succeeded,
        failed: tally.failed,
    });
    Some(wire::JobSummary {
        phase: status.phase.as_str().into(),
        gang_phase: gang_phase(gang.phase).into(),
        attempt: gang.attempt.0,
        generation: gang.generation.0,
        restarts: status.restarts,
        roles: roles.collect(),
        detail: detail(state, leader, (id, job, status, gang)),
        created_ms: job.created.0,
        started_ms: status.started.map_or(0, |at| at.0),
        completed_ms: status.completed.map_or(0, |at| at.0),
        deleting: job.deleting.is_some(),
    })
}

/// The word for a gang's phase.
pub(crate) fn gang_phase(phase: GangPhase) -> &'static str {
    match phase {
        GangPhase::Waiting => "Waiting",
        GangPhase::Preparing => "Preparing",
        GangPhase::Running => "Running",
        GangPhase::Draining { .. } => "Draining",
        GangPhase::Stopping { .. } => "Stopping",
        GangPhase::Backoff { .. } => "Backoff",
        GangPhase::Released => "Released",
    }
}

fn detail(
    state: &State,
    leader: LeaderView<'_>,
    (id, job, status, gang): (JobId, &Job, &JobStatus, &Gang),
) -> String {
    if job.external {
        return "managed by another controller (runPolicy.managedBy); Muster does nothing about it"
            .into();
    }
    let message_of = |kind: ConditionType| {
        let found = status.conditions.iter().find(|condition| condition.kind == kind);
        found.map(|condition| condition.message.clone()).unwrap_or_default()
    };
    if let Some(lost) = unreachable(state, id) {
        return lost;
    }
    match (status.phase, gang.phase) {
        (JobPhase::Failed, _) => message_of(ConditionType::Failed),
        (JobPhase::Succeeded, _) => message_of(ConditionType::Succeeded),
        (_, GangPhase::Waiting) => {
            leader.waits.get(id).unwrap_or(muster_model::Wait::NotTriedYet).to_string()
        }
        (_, GangPhase::Preparing) => preparing(state, leader, id).unwrap_or_default(),
        (_, GangPhase::Stopping { .. }) => "waits until every rank has stopped".into(),
        (_, GangPhase::Backoff { .. }) => message_of(ConditionType::Restarting),
        _ => String::new(),
    }
}

/// What holds the gang up when a node of one of its live ranks cannot be reached.
fn unreachable(state: &State, id: JobId) -> Option<String> {
    let live = state.replicas_of(id).filter(|(_, replica)| !replica.phase.is_exited());
    let node =
        live.filter_map(|(_, replica)| state.node(replica.node)).find(|n| !n.phase.is_ready())?;
    let name = &node.name;
    Some(format!(
        "node {name} cannot be reached; ranks there may still run, so they are waited for: start its agent, or, if it is \
         gone for good, say so with `muster nodes remove {name}`"
    ))
}

fn preparing(state: &State, leader: LeaderView<'_>, id: JobId) -> Option<String> {
    let mut still = state.replicas_of(id).filter(|(_, r)| r.phase == ReplicaPhase::Assigned);
    still.find_map(|(replica, record)| leader.details.get(replica, record.fence))
}

/// What each replica of a job is doing.
pub(crate) fn replica_summaries(
    state: &State,
    leader: LeaderView<'_>,
    id: JobId,
) -> Vec<wire::ReplicaSummary> {
    let Some(job) = state.job(id) else { return Vec::new() };
    let summary = |(replica, record): (muster_model::ReplicaId, &muster_state::Replica)| {
        let detail = match record.phase.exit() {
            Some(exit) => exit.status.to_string(),
            None => leader.details.get(replica, record.fence).unwrap_or_default(),
        };
        wire::ReplicaSummary {
            name: job.gang.rank_name(replica.rank),
            node: state.node(record.node).map(|node| node.name.to_string()).unwrap_or_default(),
            phase: record.phase.as_str().into(),
            detail,
        }
    };
    state.replicas_of(id).map(summary).collect()
}
