//! A replica as the pod that an operator on Kubernetes would have made for it.

use muster_kinds::{replica_labels, rfc3339};
use muster_model::{
    ContainerSpec, EnvSource, GangPhase, GangSpec, Rank, ReplicaId, ReplicaPhase, RoleSpec, Wait,
};
use muster_proto::v1 as wire;
use muster_state::{Job, Replica, State};
use serde_json::{Value, json};

/// Names a replica's pod.
pub(crate) fn pod_ref(job: &Job, replica: &Replica, id: ReplicaId) -> wire::Ref {
    wire::Ref {
        kind: "Pod".into(),
        namespace: job.key.namespace.to_string(),
        name: name(job, replica, id),
        uid: format!("{}-{}", job.uid, id.rank),
    }
}

fn name(job: &Job, replica: &Replica, id: ReplicaId) -> String {
    let index = job.gang.place(id.rank).map_or(0, |(_, index)| index);
    job.gang.role(replica.role).replica_name(&job.key.name, index)
}

/// The name of a rank's pod.
pub(crate) fn pod_name(job: &Job, rank: Rank) -> String {
    job.gang.replica_name(&job.key.name, rank).unwrap_or_default()
}

fn owner(job: &Job) -> Value {
    json!([{
        "apiVersion": muster_kinds::facts(&job.key.kind).map_or("", |facts| facts.api_version),
        "kind": job.key.kind,
        "name": job.key.name,
        "uid": job.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// The pod of a rank that waits for a place, with the reason why it waits.
pub(crate) fn pending_pod(job: &Job, id: ReplicaId, wait: Option<Wait>) -> Option<Value> {
    let (role, _) = job.gang.place(id.rank)?;
    let wait = wait.unwrap_or(Wait::NotTriedYet);
    let metadata = json!({
        "name": pod_name(job, id.rank),
        "namespace": job.key.namespace,
        "uid": format!("{}-{}", job.uid, id.rank),
        "creationTimestamp": rfc3339(job.created),
        "labels": replica_labels(&job.key, &job.gang, id.rank),
        "annotations": {"muster.dev/rank": id.rank.to_string()},
        "ownerReferences": owner(job),
    });
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec(job.gang.role(role), &job.gang),
        "status": {
            "phase": "Pending",
            "conditions": [{
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": wait.to_string(),
                "lastTransitionTime": rfc3339(job.created),
            }],
        },
    }))
}

/// What a replica's pod was asked to be.
fn spec(role: &RoleSpec, gang: &GangSpec) -> Value {
    let containers = |all: &[ContainerSpec]| all.iter().map(container).collect::<Vec<_>>();
    let pod = &role.pod;
    let mut spec = json!({
        "containers": containers(&pod.containers),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": pod.termination_grace.0 / 1000,
        "schedulerName": "muster",
    });
    if !pod.init_containers.is_empty() {
        spec["initContainers"] = containers(&pod.init_containers).into();
    }
    if !pod.node_selector.is_empty() {
        spec["nodeSelector"] = json!(pod.node_selector);
    }
    if let Some(class) = gang.scheduling.priority_class.as_ref().filter(|class| !class.is_empty()) {
        spec["priorityClassName"] = class.as_str().into();
    }
    spec
}

fn container(container: &ContainerSpec) -> Value {
    let mut shown = json!({"name": container.name, "image": container.image});
    for (field, words) in [("command", &container.command), ("args", &container.args)] {
        if !words.is_empty() {
            shown[field] = json!(words);
        }
    }
    if let Some(directory) = &container.working_dir {
        shown["workingDir"] = directory.as_str().into();
    }
    if !container.env.is_empty() {
        let env = container.env.iter().map(|variable| match &variable.source {
            EnvSource::Value(value) => json!({"name": variable.name, "value": value}),
            EnvSource::Field(path) => {
                json!({"name": variable.name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
            }
        });
        shown["env"] = env.collect();
    }
    if !container.ports.is_empty() {
        let ports = container
            .ports
            .iter()
            .map(|port| json!({"name": port.name, "containerPort": port.port}));
        shown["ports"] = ports.collect();
    }
    let mut resources = serde_json::Map::new();
    for (field, amounts) in [("requests", &container.requests), ("limits", &container.limits)] {
        let amounts: serde_json::Map<String, Value> = amounts
            .iter()
            .map(|(name, amount)| (name.to_string(), Value::from(name.quantity(amount))))
            .collect();
        if !amounts.is_empty() {
            resources.insert(field.into(), amounts.into());
        }
    }
    shown["resources"] = resources.into();
    shown
}

/// The object of a replica's pod; `None` when the replica is not there.
pub(crate) fn pod_object(state: &State, id: ReplicaId) -> Option<Value> {
    let (job, gang, replica) = (state.job(id.job)?, state.gang(id.job)?, state.replica(id)?);
    let role = job.gang.role(replica.role);
    let index = job.gang.place(id.rank).map_or(0, |(_, index)| index);
    let reference = pod_ref(job, replica, id);
    let labels = replica_labels(&job.key, &job.gang, id.rank);
    let node = state.node(replica.node);
    let phase = match &replica.phase {
        ReplicaPhase::Assigned | ReplicaPhase::Ready { .. } => "Pending",
        ReplicaPhase::Running { .. } => "Running",
        ReplicaPhase::Exited { exit, .. } if exit.status.is_success() => "Succeeded",
        ReplicaPhase::Exited { .. } => "Failed",
    };
    let main = role.pod.main_container();
    let stopping = matches!(gang.phase, GangPhase::Stopping { .. });
    let mut spec = spec(role, &job.gang);
    spec["nodeName"] = node.map(|node| node.name.as_str()).into();
    let is_running = matches!(replica.phase, ReplicaPhase::Running { .. });
    let running_since = match &replica.phase {
        ReplicaPhase::Running { since } => Some(*since),
        _ => None,
    };
    let condition = |kind: &str, holds: bool| {
        json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "lastTransitionTime": rfc3339(running_since.unwrap_or(job.created)),
        })
    };
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": reference.name,
            "namespace": reference.namespace,
            "uid": reference.uid,
            "creationTimestamp": rfc3339(job.created),
            "labels": labels,
            "annotations": {
                "muster.dev/attempt": replica.fence.attempt.to_string(),
                "muster.dev/generation": replica.fence.generation.to_string(),
                "muster.dev/rank": id.rank.to_string(),
                "muster.dev/role-index": index.to_string(),
            },
            "ownerReferences": owner(job),
        },
        "spec": spec,
        "status": {
            "phase": phase,
            "startTime": rfc3339(gang.since),
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", is_running),
                condition("Ready", is_running),
            ],
            "reason": stopping.then_some("Stopping"),
            "hostIP": node.map(|node| node.address.as_str()),
            "podIP": node.map(|node| node.address.as_str()),
            "containerStatuses": [{
                "name": main.name,
                "image": main.image,
                "imageID": main.image,
                "ready": is_running,
                "started": is_running,
                "restartCount": replica.fence.generation.0.saturating_sub(1),
                "state": container_state(&replica.phase),
            }],
        },
    }))
}

fn container_state(phase: &ReplicaPhase) -> Value {
    match phase {
        ReplicaPhase::Assigned => json!({"waiting": {"reason": "ContainerCreating"}}),
        ReplicaPhase::Ready { .. } => json!({"waiting": {"reason": "WaitingForGang"}}),
        ReplicaPhase::Running { since } => json!({"running": {"startedAt": rfc3339(*since)}}),
        ReplicaPhase::Exited { exit, at } => json!({"terminated": {
            "exitCode": exit.status.code(),
            "reason": exit.status.reason(),
            "message": exit.status.to_string(),
            "finishedAt": rfc3339(*at),
        }}),
    }
}
