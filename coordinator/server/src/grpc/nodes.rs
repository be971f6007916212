//! What operators do to nodes: cordon, label, taint, and evict gangs from them.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    FieldError, FieldPath, JobId, LABEL_KEY, LABEL_VALUE, Millis, Problem, Reason, RestartPolicy,
    Taint, TaintChange, TaintEffect, Uid, is_label_key, is_label_value,
};
use muster_proto::v1 as wire;
use muster_state::{Body, CordonNode, EvictGang, LabelNode, Node, State, TaintNode};
use tonic::Status;

use super::api::ApiContext;
use super::apply::request_id;
use super::status::status_of;
use crate::brain::BrainError;
use crate::objects::{gang_phase, job_ref};

/// So many labels or taints may change at once.
const MAX_CHANGES: usize = 100;

pub(super) async fn cordon(
    context: &ApiContext,
    request: wire::CordonNodeRequest,
) -> Result<wire::NodeReply, Status> {
    let name = request.name.clone();
    let body = Body::CordonNode(CordonNode { name: request.name, cordon: request.cordon });
    change(context, &name, (&request.request_id, body)).await
}

pub(super) async fn label(
    context: &ApiContext,
    request: wire::LabelNodeRequest,
) -> Result<wire::NodeReply, Status> {
    let changes = request.changes.into_iter().map(|change| (change.key, change.value));
    let mut wrong = Vec::new();
    let labels = checked_labels(changes.collect(), &mut wrong);
    valid(&request.name, wrong)?;
    let name = request.name.clone();
    let body =
        Body::LabelNode(LabelNode { name: request.name, labels, overwrite: request.overwrite });
    change(context, &name, (&request.request_id, body)).await
}

/// Changes of labels, or what is wrong with them.
pub(crate) fn checked_labels(
    changes: Vec<(String, Option<String>)>,
    wrong: &mut Vec<FieldError>,
) -> BTreeMap<String, Option<String>> {
    let path = FieldPath::root().field("metadata").field("labels");
    too_many(changes.len(), &path, wrong);
    let mut labels = BTreeMap::new();
    for (key, value) in changes.into_iter().take(MAX_CHANGES) {
        let at = path.field(&key);
        if !is_label_key(&key) {
            wrong.push(invalid(&at, &key, LABEL_KEY));
        }
        if let Some(value) = value.as_ref().filter(|value| !is_label_value(value)) {
            wrong.push(invalid(&at, value, LABEL_VALUE));
        }
        if labels.insert(key.clone(), value).is_some() {
            let problem = Problem::Duplicate { value: key };
            wrong.push(FieldError::new(at, problem, "a label changes once"));
        }
    }
    labels
}

pub(super) async fn taint(
    context: &ApiContext,
    request: wire::TaintNodeRequest,
) -> Result<wire::NodeReply, Status> {
    let path = FieldPath::root().field("spec").field("taints");
    let mut wrong = Vec::new();
    too_many(request.changes.len(), &path, &mut wrong);
    let mut marks = BTreeSet::new();
    let mut changes = Vec::new();
    for (change, index) in request.changes.into_iter().take(MAX_CHANGES).zip(0..) {
        let at = path.index(index);
        let mark = (change.key.clone(), change.effect.clone());
        if !marks.insert(mark) {
            let value = format!("{}:{}", change.key, change.effect);
            let problem = Problem::Duplicate { value };
            wrong.push(FieldError::new(at.clone(), problem, "a key and an effect change once"));
        }
        changes.extend(taint_change(change, &at, &mut wrong));
    }
    valid(&request.name, wrong)?;
    let name = request.name.clone();
    let body =
        Body::TaintNode(TaintNode { name: request.name, changes, overwrite: request.overwrite });
    change(context, &name, (&request.request_id, body)).await
}

fn taint_change(
    change: wire::TaintChange,
    at: &FieldPath,
    wrong: &mut Vec<FieldError>,
) -> Option<TaintChange> {
    if !is_label_key(&change.key) {
        wrong.push(invalid(&at.field("key"), &change.key, LABEL_KEY));
    }
    let effect = match change.effect.as_str() {
        "" => None,
        text => match text.parse::<TaintEffect>() {
            Ok(effect) => Some(effect),
            Err(_) => {
                let supported = TaintEffect::ALL.map(|effect| effect.as_str().to_owned()).into();
                let problem = Problem::NotSupported { value: change.effect.clone(), supported };
                wrong.push(FieldError::new(at.field("effect"), problem, ""));
                return None;
            }
        },
    };
    if change.remove {
        return Some(TaintChange::Remove { key: change.key, effect });
    }
    if !is_label_value(&change.value) {
        wrong.push(invalid(&at.field("value"), &change.value, LABEL_VALUE));
    }
    let Some(effect) = effect else {
        let advice = "name NoSchedule, PreferNoSchedule or NoExecute";
        wrong.push(FieldError::new(at.field("effect"), Problem::Required, advice));
        return None;
    };
    Some(TaintChange::Set(Taint { key: change.key, value: change.value, effect }))
}

fn invalid(at: &FieldPath, value: &str, advice: &str) -> FieldError {
    let value = format!("{:?}", value.chars().take(80).collect::<String>());
    FieldError::new(at.clone(), Problem::Invalid { value }, advice)
}

fn too_many(count: usize, path: &FieldPath, wrong: &mut Vec<FieldError>) {
    if count > MAX_CHANGES {
        let problem = Problem::TooLong { limit: MAX_CHANGES as u64 };
        wrong.push(FieldError::new(path.clone(), problem, "changes in one call"));
    }
}

fn valid(node: &str, errors: Vec<FieldError>) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let object = format!("Node {node}");
    Err(status_of(&BrainError::Rejected(Reason::Invalid { object, errors })))
}

/// Submits a change of a node and answers with the node as it is then.
async fn change(
    context: &ApiContext,
    name: &str,
    (request, body): (&[u8], Body),
) -> Result<wire::NodeReply, Status> {
    let request = request_id(request)?;
    let record = |name: &str| {
        let name = name.to_owned();
        move |state: &State| {
            let id = state.node_id(&name)?;
            Some((id, state.node(id).map(undated)?))
        }
    };
    let before = context.read(record(name)).await?;
    context.brain.submit(request, body).await.map_err(|error| status_of(&error))?;
    let (inside, find) = (context.clone(), record(name));
    let after = context
        .read(move |state| {
            let (id, record) = find(state)?;
            Some((inside.node(state, id)?, (id, record)))
        })
        .await?;
    let Some((node, after)) = after else {
        let node = name.to_owned();
        return Err(status_of(&BrainError::Rejected(Reason::NodeNotFound { node })));
    };
    let changed = before != Some(after);
    Ok(wire::NodeReply { node: Some(node), changed })
}

/// What operators change of a node.
fn undated(node: &Node) -> (bool, BTreeMap<String, String>, Vec<Taint>) {
    let taints = node.taints.iter().map(|mark| mark.taint.clone());
    (node.cordoned.is_some(), node.all_labels(), taints.collect())
}

/// The gangs with live ranks on a node.
pub(super) async fn gangs(
    context: &ApiContext,
    request: wire::ListGangsRequest,
) -> Result<wire::ListGangsReply, Status> {
    let name = request.node.clone();
    let found = context.read(move |state| on_node(state, &name)).await?;
    found.ok_or_else(|| {
        status_of(&BrainError::Rejected(Reason::NodeNotFound { node: request.node }))
    })
}

fn on_node(state: &State, name: &str) -> Option<wire::ListGangsReply> {
    let id = state.node_id(name)?;
    let mut here: BTreeMap<JobId, u32> = BTreeMap::new();
    for replica in state.replicas_on(id) {
        if state.replica(replica).is_some_and(|replica| !replica.phase.is_exited()) {
            *here.entry(replica.job).or_default() += 1;
        }
    }
    let gangs = here.into_iter().filter_map(|(id, here)| {
        let (job, gang) = (state.job(id)?, state.gang(id)?);
        let roles = &job.gang.roles;
        Some(wire::GangOnNode {
            r#ref: Some(job_ref(&job.key, &job.uid)),
            gang_phase: gang_phase(gang.phase).into(),
            here,
            replicas: job.gang.size(),
            never_restarts: roles.iter().any(|role| role.restart == RestartPolicy::Never),
        })
    });
    let reachable = state.node(id)?.phase.is_ready();
    Some(wire::ListGangsReply { gangs: gangs.collect(), reachable })
}

pub(super) async fn evict(
    context: &ApiContext,
    request: wire::EvictGangRequest,
) -> Result<wire::EvictGangReply, Status> {
    let uid = Uid(request.job_uid);
    let found = context.read(move |state| state.job_by_uid(&uid)).await?;
    // A job that is gone has left the node.
    let Some(job) = found else { return Ok(wire::EvictGangReply {}) };
    let body = Body::EvictGang(EvictGang {
        job,
        node: request.node,
        grace: request.grace_ms.map(Millis),
        force: request.force,
    });
    context.brain.submit(None, body).await.map_err(|error| status_of(&error))?;
    Ok(wire::EvictGangReply {})
}
