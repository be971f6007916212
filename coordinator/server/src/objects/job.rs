//! A job's object: its manifest with metadata and status.

use muster_kinds::{JobView, RoleCounts, show};
use muster_model::{JobId, JobKey, Uid};
use muster_proto::v1 as wire;
use muster_state::{Gang, Job, State};
use serde_json::Value;

/// Names a job.
pub(crate) fn job_ref(key: &JobKey, uid: &Uid) -> wire::Ref {
    wire::Ref {
        kind: key.kind.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: uid.to_string(),
    }
}

/// The object of a job; `None` when the job is not there.
pub(crate) fn job_object(state: &State, id: JobId) -> Option<Value> {
    let (job, status, gang) = (state.job(id)?, state.status(id)?, state.gang(id)?);
    // Only manifests that parsed are stored.
    let manifest: Value = serde_json::from_str(&job.manifest).unwrap_or(Value::Null);
    Some(show(&JobView {
        key: &job.key,
        manifest: &manifest,
        uid: &job.uid,
        created: job.created,
        deleting: job.deleting,
        resource_version: state.job_version(id).0,
        spec_generation: job.spec_generation,
        conditions: &status.conditions,
        started: status.started,
        completed: status.completed,
        roles: if job.external { Vec::new() } else { counts(job, gang) },
    }))
}

fn counts(job: &Job, gang: &Gang) -> Vec<RoleCounts> {
    let roles = job.gang.roles.iter().zip(&gang.tally);
    roles
        .map(|(role, tally)| RoleCounts {
            role: role.name.clone(),
            active: tally.running,
            succeeded: tally.succeeded,
            failed: tally.failed,
        })
        .collect()
}
