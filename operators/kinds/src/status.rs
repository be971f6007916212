//! A job as it is shown: the stored manifest with the status that the v1 training operators write
//! (`kubeflow.org/v1` `JobStatus`).

#[cfg(test)]
mod tests;

use muster_model::{Condition, ConditionType, Conditions, JobKey, RoleName, Timestamp, Uid};
use serde_json::{Map, Value, json};

use crate::kind::{self, Facts};
use crate::replica::{role_labels, selector};
use crate::rfc3339::rfc3339;

/// Everything that a job's object is made of.
#[derive(Debug, Clone)]
pub struct JobView<'j> {
    /// Its kind, namespace and name.
    pub key: &'j JobKey,
    /// Its manifest as stored.
    pub manifest: &'j Value,
    /// Its uid.
    pub uid: &'j Uid,
    /// When it was created.
    pub created: Timestamp,
    /// When its deletion was asked for.
    pub deleting: Option<Timestamp>,
    /// The version of its record.
    pub resource_version: u64,
    /// How often its spec was written, from 1.
    pub spec_generation: u64,
    /// Its conditions.
    pub conditions: &'j Conditions,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Its roles. Empty for a job that another controller manages.
    pub roles: Vec<RoleCounts>,
}

/// How many replicas of a role are where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleCounts {
    /// The role.
    pub role: RoleName,
    /// Running.
    pub active: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
}

/// The object of a job.
#[must_use]
pub fn show(job: &JobView<'_>) -> Value {
    let mut object = job.manifest.as_object().cloned().unwrap_or_default();
    object.insert("metadata".into(), Value::Object(metadata(job)));
    let Ok(kind) = kind::of_manifest(job.manifest) else {
        return Value::Object(object);
    };
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    let mut none = Map::new();
    let status = kind.show(job, spec.as_object_mut().unwrap_or(&mut none));
    object.insert("status".into(), Value::Object(status));
    Value::Object(object)
}

fn metadata(job: &JobView<'_>) -> Map<String, Value> {
    let stored = job.manifest.get("metadata").and_then(Value::as_object);
    let mut metadata = stored.cloned().unwrap_or_default();
    let mut set = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    set("uid", job.uid.0.as_str().into());
    set("resourceVersion", job.resource_version.to_string().into());
    set("generation", job.spec_generation.into());
    set("creationTimestamp", rfc3339(job.created).into());
    if let Some(at) = job.deleting {
        set("deletionTimestamp", rfc3339(at).into());
    }
    metadata
}

/// The status of the v1 training kinds. `spec.runPolicy` is always shown, because the models of the
/// training SDK refuse objects without it.
pub(crate) fn training(
    job: &JobView<'_>,
    facts: &Facts,
    spec: &mut Map<String, Value>,
) -> Map<String, Value> {
    let policy = spec.entry("runPolicy").or_insert(Value::Null);
    if policy.is_null() {
        *policy = json!({});
    }
    let mut status = Map::new();
    put_conditions(&mut status, job, |condition| {
        Some(json!({
            "type": condition.kind.as_str(),
            "status": truth(condition),
            "reason": condition.reason,
            "message": condition.message,
            "lastUpdateTime": rfc3339(condition.updated),
            "lastTransitionTime": rfc3339(condition.transitioned),
        }))
    });
    if !job.roles.is_empty() {
        let replicas = job
            .roles
            .iter()
            .map(|counts| (counts.role.0.clone(), replica_status(job, facts, counts)))
            .collect();
        status.insert("replicaStatuses".into(), Value::Object(replicas));
    }
    put_times(&mut status, [("startTime", job.started), ("completionTime", job.completed)]);
    status
}

/// Puts the conditions that a kind shows into a status, if there are any.
pub(crate) fn put_conditions(
    status: &mut Map<String, Value>,
    job: &JobView<'_>,
    show: impl Fn(&Condition) -> Option<Value>,
) {
    let conditions: Vec<Value> = job.conditions.iter().filter_map(show).collect();
    if !conditions.is_empty() {
        status.insert("conditions".into(), conditions.into());
    }
}

/// The `status` of a condition.
pub(crate) fn truth(condition: &Condition) -> &'static str {
    if condition.status { "True" } else { "False" }
}

/// Puts the moments that there are into a status.
pub(crate) fn put_times<const N: usize>(
    status: &mut Map<String, Value>,
    times: [(&str, Option<Timestamp>); N],
) {
    for (key, at) in times {
        if let Some(at) = at {
            status.insert(key.into(), rfc3339(at).into());
        }
    }
}

fn replica_status(job: &JobView<'_>, facts: &Facts, counts: &RoleCounts) -> Value {
    let mut status = Map::new();
    // Once a job has succeeded, upstream counts what still runs as succeeded.
    let done = job.conditions.holds(ConditionType::Succeeded);
    let (active, succeeded) = match done {
        true => (0, counts.succeeded.saturating_add(counts.active)),
        false => (counts.active, counts.succeeded),
    };
    for (key, count) in [("active", active), ("succeeded", succeeded), ("failed", counts.failed)] {
        if count > 0 {
            status.insert(key.into(), count.into());
        }
    }
    if facts.selector_in_status {
        let labels = role_labels(facts, job.key, &counts.role);
        status.insert("selector".into(), selector(&labels).into());
    }
    Value::Object(status)
}
