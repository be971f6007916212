//! The status of a TrainJob: the conditions that upstream has, which are fewer than those of the v1 kinds, and the
//! state of the jobs of its runtime.

use muster_model::{Condition, ConditionType};
use serde_json::{Map, Value, json};

use crate::rfc3339::rfc3339;
use crate::status::{JobView, RoleCounts, put_conditions, truth};

/// The status.
pub(super) fn show(job: &JobView<'_>) -> Map<String, Value> {
    let mut status = Map::new();
    put_conditions(&mut status, job, condition);
    if !job.roles.is_empty() {
        let jobs: Vec<Value> = job.roles.iter().map(|counts| job_status(job, counts)).collect();
        status.insert("jobsStatus".into(), jobs.into());
    }
    status
}

/// There is none for a job that was accepted, runs or restarts: the SDK takes any condition that it does not know for
/// "Created". For the same reason a job that was resumed has no condition.
fn condition(condition: &Condition) -> Option<Value> {
    let (kind, reason, message) = match condition.kind {
        ConditionType::Suspended if condition.status => {
            ("Suspended", "Suspended", condition.message.as_str())
        }
        ConditionType::Succeeded => {
            ("Complete", "AllJobsCompleted", "jobset completed successfully")
        }
        ConditionType::Failed => ("Failed", "FailedJobs", condition.message.as_str()),
        ConditionType::Created
        | ConditionType::Running
        | ConditionType::Restarting
        | ConditionType::Suspended => return None,
    };
    Some(json!({
        "type": kind,
        "status": truth(condition),
        "reason": reason,
        "message": message,
        "lastTransitionTime": rfc3339(condition.transitioned),
    }))
}

/// A job of the runtime is one `batch/v1` Job for upstream, and that is what is counted.
fn job_status(job: &JobView<'_>, counts: &RoleCounts) -> Value {
    let holds = |kind| job.conditions.holds(kind);
    let is_over = holds(ConditionType::Succeeded) || holds(ConditionType::Failed);
    let active = counts.active > 0 && !is_over;
    let failed = counts.failed > 0 && holds(ConditionType::Failed);
    let succeeded = !active && !failed && counts.succeeded > 0;
    let number = u8::from;
    json!({
        "name": counts.role.0,
        "ready": number(active || succeeded),
        "succeeded": number(succeeded),
        "failed": number(failed),
        "active": number(active),
        "suspended": number(holds(ConditionType::Suspended)),
    })
}
