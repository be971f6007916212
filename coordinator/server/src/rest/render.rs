//! What each record of the state is shown as.

use muster_kinds::{Runtimes, rfc3339};
use muster_model::{EventId, GangPhase, JobId, NodeId, ObjectKey, Rank, ReplicaId};
use muster_state::{Job, State};
use serde_json::{Value, json};

use super::history::Key;
use super::registry::{Source, registry};
use crate::objects::{event_object, job_object, node_object, pending_pod, pod_name, pod_object};
use crate::planner::Waits;

/// An object, where it is shown, and since which index it looks like that.
pub(super) struct Shown {
    pub(super) key: Key,
    pub(super) object: Value,
    pub(super) index: u64,
    pub(super) replica: Option<ReplicaId>,
}

/// Where a job is shown: in the version that it was submitted in.
fn job_key(job: &Job, object: &Value) -> Key {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let shown = registry().of_job(&job.key.kind.0, version);
    let resource = shown.unwrap_or_else(|| registry().of(Source::Pods));
    (resource, job.key.namespace.to_string(), job.key.name.to_string())
}

/// The selector that a Job of batch/v1 is shown with: `kubectl logs job/NAME` finds the pods by it.
pub(super) fn job_selector(name: &str) -> Value {
    json!({"matchLabels": {"batch.kubernetes.io/job-name": name}})
}

pub(super) fn job(state: &State, id: JobId) -> Option<Shown> {
    let job = state.job(id)?;
    let mut object = job_object(state, id)?;
    if job.key.kind.0 == "Job" {
        object["spec"]["selector"] = job_selector(job.key.name.as_str());
    }
    let key = job_key(job, &object);
    Some(Shown { key, object, index: state.job_version(id).0, replica: None })
}

/// Whether a job's replicas are shown beside it: one that is a pod is its own replica.
fn has_pods(job: &Job) -> bool {
    job.key.kind.0 != "Pod" && !job.external
}

/// What a job's pods look like apart from their own records: when this is another, all look another way.
pub(super) fn pods_basis(state: &State, waits: &Waits, id: JobId) -> Option<String> {
    let (job, gang) = (state.job(id)?, state.gang(id)?);
    let wait = waits.get(id).map(|wait| wait.to_string()).unwrap_or_default();
    let fence = gang.fence();
    Some(format!("{:?} {fence:?} {} {wait}", gang.phase, job.deleting.is_some()))
}

/// A replica's pod. Before it has a place it waits for one.
pub(super) fn pod(state: &State, waits: &Waits, id: ReplicaId) -> Option<Shown> {
    let job = state.job(id.job).filter(|job| has_pods(job))?;
    let key = pod_key(job, id.rank);
    let gang = state.tables().gangs.version(&id.job).map_or(0, |index| index.0);
    let index = state.tables().replicas.version(&id).map_or(gang, |index| index.0.max(gang));
    let object = match pod_object(state, id) {
        Some(object) => object,
        None => {
            let waiting = state.gang(id.job)?.phase == GangPhase::Waiting;
            waiting.then(|| pending_pod(job, id, waits.get(id.job)))??
        }
    };
    Some(Shown { key, object, index, replica: Some(id) })
}

pub(super) fn pod_key(job: &Job, rank: Rank) -> Key {
    (registry().of(Source::Pods), job.key.namespace.to_string(), pod_name(job, rank))
}

pub(super) fn node(state: &State, id: NodeId) -> Option<Shown> {
    Some(Shown {
        key: (registry().of(Source::Nodes), String::new(), state.node(id)?.name.to_string()),
        object: node_object(state, id)?,
        index: state.tables().nodes.version(&id).map_or(0, |index| index.0),
        replica: None,
    })
}

pub(super) fn event(state: &State, id: (JobId, EventId)) -> Option<Shown> {
    let (job, event) = (state.job(id.0)?, state.tables().events.get(&id)?);
    let mut object = event_object(job, event);
    let name = object["metadata"]["name"].as_str()?.to_owned();
    object["metadata"]["uid"] = format!("{}-event-{}", job.uid, event.id.0).into();
    Some(Shown {
        key: (registry().of(Source::Events), job.key.namespace.to_string(), name),
        object,
        index: state.tables().events.version(&id).map_or(0, |index| index.0),
        replica: None,
    })
}

/// An object that is kept as it was sent. One of a resource that this version does not have is not shown.
pub(super) fn object(state: &State, key: &ObjectKey) -> Option<Shown> {
    let resource = registry().stored(&key.resource)?;
    let kept = state.tables().objects.get(key)?;
    let mut object: Value = serde_json::from_str(&kept.json).ok()?;
    let metadata = object.get_mut("metadata")?;
    metadata["uid"] = kept.uid.to_string().into();
    metadata["creationTimestamp"] = rfc3339(kept.created).into();
    if !registry().infos[resource].group.is_empty() {
        metadata["generation"] = kept.generation.into();
    }
    Some(Shown {
        key: (resource, key.namespace.clone(), key.name.clone()),
        object,
        index: state.tables().objects.version(key).map_or(0, |index| index.0),
        replica: None,
    })
}

/// One of the runtimes that come with Muster: seen again once one of the same name that was made is gone.
pub(super) fn shipped(key: &ObjectKey) -> Option<Shown> {
    let resource = registry().stored(&key.resource)?;
    let found =
        runtimes().into_iter().find(|shown| shown.key.0 == resource && shown.key.2 == key.name);
    found.filter(|_| key.namespace.is_empty())
}

/// The runtimes that a TrainJob can name: those that come with Muster.
pub(super) fn runtimes() -> Vec<Shown> {
    let resource = registry().stored("clustertrainingruntimes.trainer.kubeflow.org");
    let shown = Runtimes::shipped();
    let shown = shown.iter().filter_map(|manifest| {
        let mut object = manifest.clone();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        object["metadata"]["uid"] = format!("shipped-{name}").into();
        object["metadata"]["generation"] = 1.into();
        Some(Shown { key: (resource?, String::new(), name), object, index: 0, replica: None })
    });
    shown.collect()
}

/// A namespace: there as soon as something is in it.
pub(super) fn namespace(name: &str, cluster: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": format!("{cluster}-{name}"),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}
