//! The sentences of conditions and events. Everything a person reads about a job's life is worded here.

use std::collections::BTreeMap;

use muster_model::{
    ConditionType, Exit, ExitStatus, JobId, Millis, NodeId, NodeName, Placement, ReplicaId,
    Severity,
};

use crate::draft::Draft;
use crate::lifecycle::{eviction_due, set_condition};
use crate::record::{Failure, Node};

fn subject(draft: &Draft<'_>, job: JobId) -> String {
    draft.the_job(job).key.to_string()
}

fn tell(draft: &mut Draft<'_>, job: JobId, what: (Severity, ConditionType, bool), message: String) {
    let reason = what.1.reason(&draft.the_job(job).key.kind, what.2);
    draft.event(job, (what.0, muster_model::EventReason(reason)), message);
}

pub(crate) fn created(draft: &mut Draft<'_>, job: JobId) {
    let message = format!("{} was accepted.", subject(draft, job));
    set_condition(draft, job, (ConditionType::Created, true), message);
}

pub(crate) fn is_suspended(draft: &Draft<'_>, job: JobId) -> String {
    format!("{} is suspended.", subject(draft, job))
}

pub(crate) fn suspended(draft: &mut Draft<'_>, job: JobId) {
    let message = is_suspended(draft, job);
    set_condition(draft, job, (ConditionType::Suspended, true), message.clone());
    tell(draft, job, (Severity::Normal, ConditionType::Suspended, true), message);
}

pub(crate) fn resumed(draft: &mut Draft<'_>, job: JobId) {
    let message = format!("{} is resumed.", subject(draft, job));
    set_condition(draft, job, (ConditionType::Suspended, false), message.clone());
    tell(draft, job, (Severity::Normal, ConditionType::Suspended, false), message);
}

pub(crate) fn placed(draft: &mut Draft<'_>, job: JobId, placement: &Placement) {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for node in &placement.nodes {
        *counts.entry(*node).or_default() += 1;
    }
    let shown: Vec<String> = counts
        .iter()
        .take(8)
        .filter_map(|(id, count)| Some(format!("{} ({count})", draft.node(*id)?.name)))
        .collect();
    let more = match counts.len() {
        0..=8 => String::new(),
        all => format!(" and {} more", all - 8),
    };
    let message =
        format!("Placed {} replicas on {}{more}.", placement.nodes.len(), shown.join(", "));
    draft.event(job, (Severity::Normal, "Scheduled".into()), message);
}

pub(crate) fn running(draft: &Draft<'_>, job: JobId) -> String {
    format!("{} is running.", subject(draft, job))
}

pub(crate) fn succeeded(draft: &mut Draft<'_>, job: JobId) -> String {
    let message = format!("{} has ended well.", subject(draft, job));
    tell(draft, job, (Severity::Normal, ConditionType::Succeeded, true), message.clone());
    message
}

pub(crate) fn failed(draft: &mut Draft<'_>, job: JobId, message: &str) {
    tell(draft, job, (Severity::Warning, ConditionType::Failed, true), message.to_owned());
}

pub(crate) fn rank_failed(draft: &mut Draft<'_>, id: ReplicaId, exit: &Exit) {
    let name = draft.the_job(id.job).gang.rank_name(id.rank);
    let generation = draft.the_gang(id.job).generation;
    let message = format!("{name} ended in generation {generation}: {}.", exit.status);
    draft.event(id.job, (Severity::Warning, "ReplicaFailed".into()), message);
}

/// `cut_off`: see [`Node::cut_off`].
pub(crate) fn node_unreachable(
    draft: &mut Draft<'_>,
    job: JobId,
    (node, cut_off): (&NodeName, Option<Millis>),
) {
    let message = match cut_off {
        None => format!(
            "Node {node} cannot be reached. Its ranks may still run, so the gang is not started elsewhere; if the node \
             will not come back, remove it with `muster nodes remove {node}`."
        ),
        Some(cut_off) => format!(
            "Node {node} cannot be reached. Its ranks may still run, so the gang is not started elsewhere before its \
             agent must have stopped them, {} s after it last heard of a leader; if the node will not come back, \
             `muster nodes remove {node}` is quicker.",
            cut_off.0.div_ceil(1000)
        ),
    };
    draft.event(job, (Severity::Warning, "NodeUnreachable".into()), message);
}

/// What ran on an unreachable node has surely stopped.
pub(crate) fn given_up(draft: &mut Draft<'_>, job: JobId, node: &NodeName) {
    let message = format!(
        "Node {node} was cut off for so long that its agent has stopped the ranks there; they count as lost."
    );
    draft.event(job, (Severity::Warning, "NodeCutOff".into()), message);
}

/// Why a gang must leave: the taints that it does not tolerate any longer.
pub(crate) fn taint_not_tolerated(draft: &Draft<'_>, job: JobId) -> String {
    let gang = draft.the_gang(job);
    let spec = &draft.the_job(job).gang;
    let over = draft.replica_ids(job).into_iter().find_map(|id| {
        let replica = draft.replica(id)?;
        let (rules, node) = (spec.role(replica.role).pod.node_rules(), draft.node(replica.node)?);
        let mark = node.taints.iter().find(|mark| {
            let only = Node { taints: vec![(*mark).clone()], ..node.clone() };
            eviction_due(gang, [(&rules, &only)]).is_some_and(|at| at <= draft.now)
        })?;
        Some(format!("node {} has the taint {}", node.name, mark.taint))
    });
    over.unwrap_or_else(|| "a node of it is tainted".into())
}

/// The gang leaves its nodes.
pub(crate) fn evicted(draft: &mut Draft<'_>, job: JobId, why: &str) -> String {
    let message = format!(
        "Evicted: {why}. The whole gang stops and waits for another place; this is no failure and counts as none."
    );
    draft.event(job, (Severity::Warning, "Evicted".into()), message.clone());
    message
}

fn blamed(draft: &Draft<'_>, job: JobId, failure: &Failure) -> String {
    let name = draft.the_job(job).gang.rank_name(failure.rank);
    let others = match failure.count {
        0 | 1 => String::new(),
        2 => " (and another rank failed)".into(),
        more => format!(" (and {} other ranks failed)", more - 1),
    };
    match &failure.status {
        status @ ExitStatus::StartFailed { .. } => format!("{name} {status}{others}"),
        status => format!("{name} ended with {status}{others}"),
    }
}

/// A failure that no restart follows.
pub(crate) fn failure_is_final(draft: &Draft<'_>, job: JobId) -> String {
    let Some(failure) = &draft.the_gang(job).failure else {
        return format!("{} has failed.", subject(draft, job));
    };
    let spec = &draft.the_job(job).gang;
    let policy = spec.place(failure.rank).map_or("", |(role, _)| spec.role(role).restart.as_str());
    let why = if failure.status.is_permanent() {
        "trying again would not help".to_owned()
    } else if policy == "ExitCode" {
        "restartPolicy ExitCode takes exit codes 1 to 127 as permanent".to_owned()
    } else {
        format!("restartPolicy is {policy}")
    };
    format!("{}; {why}.", blamed(draft, job, failure))
}

pub(crate) fn limit_reached(
    draft: &Draft<'_>,
    job: JobId,
    (failure, limit): (&Failure, u32),
) -> String {
    format!(
        "{}; the gang was restarted {limit} times, as often as backoffLimit allows.",
        blamed(draft, job, failure)
    )
}

pub(crate) fn fails_in_a_row(
    draft: &Draft<'_>,
    job: JobId,
    (failure, streak): (&Failure, u32),
) -> String {
    format!(
        "{}; the program has failed {streak} times in a row. Set runPolicy.backoffLimit to allow more.",
        blamed(draft, job, failure)
    )
}

pub(crate) fn restarting(
    draft: &mut Draft<'_>,
    job: JobId,
    (failure, delay): (&Failure, Millis),
) -> String {
    let next = draft.the_gang(job).generation.next();
    let when = if delay.0 == 0 { "now".to_owned() } else { format!("in {delay}") };
    let message = format!(
        "{}; the whole gang starts again as generation {next} {when}.",
        blamed(draft, job, failure)
    );
    tell(draft, job, (Severity::Warning, ConditionType::Restarting, true), message.clone());
    message
}

pub(crate) fn deadline_passed(draft: &Draft<'_>, job: JobId) -> String {
    let span = draft.the_job(job).gang.run_policy.active_deadline.unwrap_or_default();
    format!("{} was active for longer than activeDeadlineSeconds ({span}).", subject(draft, job))
}
