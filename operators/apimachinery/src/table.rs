//! Objects as rows, with the columns that `kubectl` users know from each kind.

use serde_json::{Value, json};

use crate::time::{age, parse_time};

/// How much of each object a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The metadata: names, labels.
    Metadata,
    /// All of it.
    Object,
}

/// A column.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    kind: &'static str,
    /// Above 0 only `-o wide` shows it.
    priority: u8,
    cell: fn(&Value, u64) -> Value,
}

const fn column(name: &'static str, cell: fn(&Value, u64) -> Value) -> Column {
    Column { name, kind: "string", priority: 0, cell }
}

const fn wide(name: &'static str, cell: fn(&Value, u64) -> Value) -> Column {
    Column { name, kind: "string", priority: 1, cell }
}

const NAME: Column = column("Name", |object, _| text(&object["metadata"]["name"]));
const AGE: Column =
    column("Age", |object, now| since(&object["metadata"]["creationTimestamp"], now));

static PLAIN: &[Column] = &[NAME, AGE];
static JOB: &[Column] = &[NAME, column("State", |object, _| state(object)), AGE];
static TRAIN_JOB: &[Column] = &[
    NAME,
    column("State", |object, _| state(object)),
    wide("Runtime", |object, _| text(&object["spec"]["runtimeRef"]["name"])),
    AGE,
];
static BATCH_JOB: &[Column] = &[
    NAME,
    column("Status", |object, _| batch_status(object)),
    column("Completions", |object, _| completions(object)),
    column("Duration", duration),
    AGE,
    wide("Containers", |object, _| containers(&object["spec"]["template"]["spec"], "name")),
    wide("Images", |object, _| containers(&object["spec"]["template"]["spec"], "image")),
];
static POD: &[Column] = &[
    NAME,
    column("Ready", |object, _| ready(object)),
    column("Status", |object, _| pod_status(object).into()),
    Column { name: "Restarts", kind: "integer", priority: 0, cell: |object, _| restarts(object) },
    AGE,
    wide("IP", |object, _| or_none(&object["status"]["podIP"])),
    wide("Node", |object, _| or_none(&object["spec"]["nodeName"])),
    wide("Nominated Node", |_, _| "<none>".into()),
    wide("Readiness Gates", |_, _| "<none>".into()),
];
static NODE: &[Column] = &[
    NAME,
    column("Status", |object, _| node_status(object).into()),
    column("Roles", |_, _| "<none>".into()),
    AGE,
    column("Version", |object, _| text(&object["status"]["nodeInfo"]["kubeletVersion"])),
    wide("Internal-IP", |object, _| or_none(&object["status"]["addresses"][0]["address"])),
];
static EVENT: &[Column] = &[
    column("Last Seen", |object, now| since(&object["lastTimestamp"], now)),
    column("Type", |object, _| text(&object["type"])),
    column("Reason", |object, _| text(&object["reason"])),
    column("Object", |object, _| involved(object).into()),
    wide("Source", |object, _| text(&object["source"]["component"])),
    column("Message", |object, _| text(&object["message"])),
    wide("First Seen", |object, now| since(&object["firstTimestamp"], now)),
    wide("Count", |object, _| object["count"].clone()),
    wide("Name", |object, _| text(&object["metadata"]["name"])),
];
static CONFIG_MAP: &[Column] = &[
    NAME,
    Column { name: "Data", kind: "integer", priority: 0, cell: |object, _| entries(object) },
    AGE,
];
static NAMESPACE: &[Column] =
    &[NAME, column("Status", |object, _| text(&object["status"]["phase"])), AGE];

fn columns(kind: &str) -> &'static [Column] {
    match kind {
        "Pod" => POD,
        "Node" => NODE,
        "Event" => EVENT,
        "ConfigMap" => CONFIG_MAP,
        "Namespace" => NAMESPACE,
        "Job" => BATCH_JOB,
        "TrainJob" => TRAIN_JOB,
        other if other.ends_with("Job") => JOB,
        _ => PLAIN,
    }
}

/// A table of objects of one kind at a time (Unix seconds). The list's metadata is the caller's.
#[must_use]
pub fn table(
    kind: &str,
    objects: &[&Value],
    now: u64,
    (include, with_columns): (Include, bool),
) -> Value {
    let columns = columns(kind);
    let rows = objects.iter().map(|object| {
        let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object, now)).collect();
        let mut row = json!({"cells": cells});
        match include {
            Include::None => {}
            Include::Object => row["object"] = (*object).clone(),
            Include::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": object["metadata"],
                });
            }
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    let definitions = columns.iter().filter(|_| with_columns).map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": if column.name == "Name" { "name" } else { "" },
            "description": "",
            "priority": column.priority,
        })
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions.collect::<Vec<_>>(),
        "rows": rows,
    })
}

fn text(value: &Value) -> Value {
    value.as_str().unwrap_or_default().into()
}

fn or_none(value: &Value) -> Value {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or("<none>").into()
}

fn since(time: &Value, now: u64) -> Value {
    match time.as_str().and_then(parse_time) {
        Some(then) => age(now.saturating_sub(then)).into(),
        None => "<unknown>".into(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The type of the last condition that holds.
fn state(object: &Value) -> Value {
    let holding = list(&object["status"]["conditions"]).filter(|one| one["status"] == "True");
    holding.last().map_or_else(|| "".into(), |condition| text(&condition["type"]))
}

fn batch_status(object: &Value) -> Value {
    let holds = |kind: &str| {
        list(&object["status"]["conditions"])
            .any(|one| one["type"] == kind && one["status"] == "True")
    };
    let status = ["Complete", "Failed", "Suspended"].into_iter().find(|kind| holds(kind));
    let terminating = object["metadata"]["deletionTimestamp"].is_string();
    status.unwrap_or(if terminating { "Terminating" } else { "Running" }).into()
}

fn completions(object: &Value) -> Value {
    let done = object["status"]["succeeded"].as_u64().unwrap_or(0);
    format!("{done}/{}", object["spec"]["completions"].as_u64().unwrap_or(1)).into()
}

fn duration(object: &Value, now: u64) -> Value {
    let at = |field: &str| object["status"][field].as_str().and_then(parse_time);
    let Some(start) = at("startTime") else { return "".into() };
    age(at("completionTime").unwrap_or(now).saturating_sub(start)).into()
}

fn containers(spec: &Value, field: &str) -> Value {
    let found: Vec<&str> =
        list(&spec["containers"]).filter_map(|one| one[field].as_str()).collect();
    found.join(",").into()
}

fn ready(object: &Value) -> Value {
    let ready = list(&object["status"]["containerStatuses"]).filter(|one| one["ready"] == true);
    format!("{}/{}", ready.count(), list(&object["spec"]["containers"]).count()).into()
}

/// As `printPod` of Kubernetes says it: what a container waits for or ended with says more than the phase.
fn pod_status(object: &Value) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".into();
    }
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let mut status = object["status"]["reason"].as_str().unwrap_or(phase).to_owned();
    for container in list(&object["status"]["containerStatuses"]) {
        let state = &container["state"];
        if let Some(reason) = state["waiting"]["reason"].as_str() {
            reason.clone_into(&mut status);
        } else if let Some(reason) =
            state["terminated"]["reason"].as_str().filter(|one| !one.is_empty())
        {
            reason.clone_into(&mut status);
        } else if let Some(code) = state["terminated"]["exitCode"].as_i64() {
            status = format!("ExitCode:{code}");
        }
    }
    status
}

fn restarts(object: &Value) -> Value {
    let counts = list(&object["status"]["containerStatuses"]);
    counts.filter_map(|one| one["restartCount"].as_u64()).sum::<u64>().into()
}

fn entries(object: &Value) -> Value {
    let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    (count("data") + count("binaryData")).into()
}

fn node_status(object: &Value) -> String {
    let ready = list(&object["status"]["conditions"])
        .any(|one| one["type"] == "Ready" && one["status"] == "True");
    let mut status = String::from(if ready { "Ready" } else { "NotReady" });
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn involved(object: &Value) -> String {
    let involved = &object["involvedObject"];
    let kind = involved["kind"].as_str().unwrap_or_default().to_lowercase();
    format!("{kind}/{}", involved["name"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(kind: &str, object: &Value) -> Vec<Value> {
        let table = table(kind, &[object], 1_700_000_100, (Include::Metadata, true));
        assert_eq!(
            table["columnDefinitions"].as_array().map(Vec::len),
            table["rows"][0]["cells"].as_array().map(Vec::len)
        );
        table["rows"][0]["cells"].as_array().unwrap().clone()
    }

    #[test]
    fn a_job_shows_the_condition_that_holds_last() {
        let job = json!({
            "metadata": {"name": "a", "creationTimestamp": "2023-11-14T22:13:20Z"},
            "status": {"conditions": [
                {"type": "Created", "status": "True"},
                {"type": "Running", "status": "False"},
                {"type": "Succeeded", "status": "True"},
            ]},
        });
        assert_eq!(cells("PyTorchJob", &job), ["a", "Succeeded", "100s"]);
    }

    #[test]
    fn a_pod_shows_what_its_container_waits_for_or_ended_with() {
        let pod = |state: Value| {
            json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [{}], "nodeName": "n"},
                "status": {"phase": "Pending", "containerStatuses": [
                    {"ready": false, "restartCount": 2, "state": state},
                ]},
            })
        };
        let waiting = cells("Pod", &pod(json!({"waiting": {"reason": "ContainerCreating"}})));
        assert_eq!(waiting[..4], [json!("p"), json!("0/1"), json!("ContainerCreating"), json!(2)]);
        let ended = cells("Pod", &pod(json!({"terminated": {"exitCode": 3, "reason": ""}})));
        assert_eq!(ended[2], "ExitCode:3");
        assert_eq!(ended[6], "n");
    }

    #[test]
    fn only_the_first_table_of_a_watch_has_columns() {
        let table = table("Thing", &[&json!({})], 0, (Include::None, false));
        assert_eq!(table["columnDefinitions"], json!([]));
        assert!(table["rows"][0].get("object").is_none());
    }
}
