//! An event's object.

use muster_kinds::rfc3339;
use muster_model::Event;
use muster_state::Job;
use serde_json::{Value, json};

/// The object of a job's event.
pub(crate) fn event_object(job: &Job, event: &Event) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{:x}", job.key.name, event.id.0),
            "namespace": job.key.namespace,
            "creationTimestamp": rfc3339(event.first),
        },
        "type": event.severity.as_str(),
        "reason": event.reason,
        "message": event.message,
        "count": event.count,
        "firstTimestamp": rfc3339(event.first),
        "lastTimestamp": rfc3339(event.last),
        "source": {"component": "muster"},
        "involvedObject": {
            "apiVersion": muster_kinds::facts(&job.key.kind).map_or("", |facts| facts.api_version),
            "kind": job.key.kind,
            "namespace": job.key.namespace,
            "name": job.key.name,
            "uid": job.uid,
        },
    })
}
