//! Eviction: a gang leaves its nodes as a whole and waits for another place. It is no failure: no budget is charged, and
//! what its ranks report on their way out is not held against it.
//!
//! Two things evict. An operator who drains a node names the gang; a `NoExecute` taint does it by a timer, at once or when
//! `tolerationSeconds` are over. The timer follows from the records alone: see [`due`].

use std::collections::BTreeSet;

use muster_model::{
    AfterStop, ConditionType, GangPhase, JobId, JobPhase, Millis, NodeId, NodeRules, RoleIndex,
    TaintEffect, Timestamp,
};

use super::{set_condition, set_job_phase, stop};
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Gang, Node, TimerKind};

/// When a gang must leave because of a `NoExecute` taint; `None` when it need not. `places` are its roles on its nodes.
///
/// A toleration's time runs from when the node was tainted: a gang is not placed where it would have to leave. One that
/// stops or waits has no such time, because it does not start again there.
pub(crate) fn due<'a>(
    gang: &Gang,
    places: impl IntoIterator<Item = (&'a NodeRules, &'a Node)>,
) -> Option<Timestamp> {
    if !matches!(gang.phase, GangPhase::Preparing | GangPhase::Running) {
        return None;
    }
    let times = places.into_iter().flat_map(|(rules, node)| {
        let marks = node.taints.iter().filter(|mark| mark.taint.effect == TaintEffect::NoExecute);
        marks.filter_map(|mark| {
            let lasts = rules.puts_up_with(&mark.taint)?;
            Some(mark.added.plus(lasts))
        })
    });
    times.min()
}

/// (Re)sets the time at which a gang must leave.
pub(crate) fn set_eviction(draft: &mut Draft<'_>, job: JobId) {
    let Some(gang) = draft.gang(job) else { return };
    let any_taint = draft.any_taint();
    let at = match gang.phase {
        GangPhase::Preparing | GangPhase::Running if any_taint => due_in(draft, job),
        _ => None,
    };
    match at {
        Some(at) => draft.set_timer(job, TimerKind::Evict, at),
        None => draft.cancel_timer(job, TimerKind::Evict),
    }
}

fn due_in(draft: &Draft<'_>, job: JobId) -> Option<Timestamp> {
    let places = draft.replica_ids(job).into_iter().filter_map(|id| draft.replica(id));
    let places: BTreeSet<(RoleIndex, NodeId)> =
        places.map(|replica| (replica.role, replica.node)).collect();
    let spec = &draft.the_job(job).gang;
    let rules: Vec<NodeRules> = spec.roles.iter().map(|role| role.pod.node_rules()).collect();
    let nodes = places.iter().filter_map(|(role, id)| Some((&rules[role.0], draft.node(*id)?)));
    due(draft.the_gang(job), nodes)
}

/// A node's taints have changed, or the node is gone: those that have a place there may have to leave sooner, later or
/// not at all.
pub(crate) fn taints_changed(draft: &mut Draft<'_>, node: NodeId) {
    let jobs: BTreeSet<JobId> = draft.base.replicas_on(node).map(|id| id.job).collect();
    for job in jobs {
        set_eviction(draft, job);
    }
}

/// A `NoExecute` taint is no longer tolerated.
pub(crate) fn evict_from_tainted(draft: &mut Draft<'_>, job: JobId) {
    let why = narrate::taint_not_tolerated(draft, job);
    evict(draft, job, (why, None));
}

/// Makes a gang leave all its nodes. One that is already on its way out only hurries up when `grace` is shorter than what
/// it has; one whose failure is being judged goes on with that, and does not start again on a node it must not use.
pub(crate) fn evict(draft: &mut Draft<'_>, job: JobId, (why, grace): (String, Option<Millis>)) {
    match draft.the_gang(job).phase {
        GangPhase::Waiting | GangPhase::Released => {}
        GangPhase::Preparing | GangPhase::Running | GangPhase::Backoff { .. } => {
            let message = narrate::evicted(draft, job, &why);
            set_job_phase(draft, job, JobPhase::Restarting);
            set_condition(draft, job, (ConditionType::Restarting, true), message);
            set_grace(draft, job, grace);
            stop(draft, job, AfterStop::Requeue);
        }
        // The job has succeeded; what is left of it has only its grace period.
        GangPhase::Draining { .. } => {
            set_grace(draft, job, grace);
            stop(draft, job, AfterStop::Release);
        }
        GangPhase::Stopping { .. } => hurry(draft, job, grace),
    }
}

fn set_grace(draft: &mut Draft<'_>, job: JobId, grace: Option<Millis>) {
    let gang = Gang { stop_grace: grace, ..draft.the_gang(job).clone() };
    draft.set_gang(job, Some(gang));
}

/// Shortens the time that a gang has which is stopping already; it never gets more.
fn hurry(draft: &mut Draft<'_>, job: JobId, grace: Option<Millis>) {
    let roles = &draft.the_job(job).gang.roles;
    let shortest = roles.iter().map(|role| role.pod.termination_grace).min().unwrap_or_default();
    let has = draft.the_gang(job).stop_grace.unwrap_or(shortest);
    if grace.is_some_and(|grace| grace < has) {
        set_grace(draft, job, grace);
    }
}
