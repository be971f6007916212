//! A replica as the pod that an operator on Kubernetes would have made for it.

use muster_kinds::{replica_labels, rfc3339};
use muster_model::{GangPhase, ReplicaId, ReplicaPhase};
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
            "ownerReferences": [{
                "apiVersion": muster_kinds::facts(&job.key.kind).map_or("", |facts| facts.api_version),
                "kind": job.key.kind,
                "name": job.key.name,
                "uid": job.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": node.map(|node| node.name.as_str()),
            "containers": role.pod.containers.iter().map(|container| json!({
                "name": container.name,
                "image": container.image,
            })).collect::<Vec<_>>(),
        },
        "status": {
            "phase": phase,
            "reason": stopping.then_some("Stopping"),
            "hostIP": node.map(|node| node.address.as_str()),
            "podIP": node.map(|node| node.address.as_str()),
            "containerStatuses": [{
                "name": main.name,
                "image": main.image,
                "ready": matches!(replica.phase, ReplicaPhase::Running { .. }),
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
