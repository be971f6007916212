//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};
use muster_client::api;
use serde_json::Value;

use super::age::age;
use crate::args::Format;

/// A table: its header and its rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Prints a table as kubectl does: no lines, columns three spaces apart.
pub(crate) fn print_rows(rows: &Rows) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(rows.header.clone());
    for row in &rows.rows {
        table.add_row(row.clone());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for line in table.lines() {
        super::line(line.trim_end());
    }
}

/// The table of a list of objects of one kind.
pub(crate) fn table_of(items: &[api::Object], (format, namespaces): (Format, bool)) -> Rows {
    let kind = items.first().and_then(|item| item.r#ref.as_ref()).map_or("", |r| &*r.kind);
    let parsed = |item: &api::Object| serde_json::from_slice(&item.json).unwrap_or(Value::Null);
    let mut rows = match kind {
        "Pod" => Rows {
            header: vec!["NAME", "STATUS", "RESTARTS", "NODE", "EXIT"],
            rows: items.iter().map(|item| pod_row(&parsed(item))).collect(),
        },
        "Node" => Rows {
            header: node_header(format),
            rows: items.iter().map(|item| node_row(&parsed(item), format)).collect(),
        },
        "Event" => Rows {
            header: vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"],
            rows: items.iter().map(|item| event_row(&parsed(item))).collect(),
        },
        _ => jobs(items, format),
    };
    if namespaces && kind != "Node" {
        rows.header.insert(0, "NAMESPACE");
        for (row, item) in rows.rows.iter_mut().zip(items) {
            row.insert(0, item.r#ref.as_ref().map(|r| r.namespace.clone()).unwrap_or_default());
        }
    }
    rows
}

fn jobs(items: &[api::Object], format: Format) -> Rows {
    let wide = format == Format::Wide;
    let mut header = vec!["NAME", "KIND", "STATE", "RUNNING", "RESTARTS", "AGE"];
    if wide {
        header.push("DETAIL");
    }
    Rows { header, rows: items.iter().map(|item| job_row(item, wide)).collect() }
}

/// A job's row.
pub(crate) fn job_row(item: &api::Object, wide: bool) -> Vec<String> {
    let reference = item.r#ref.clone().unwrap_or_default();
    let summary = item.summary.clone().unwrap_or_default();
    let running: u32 = summary.roles.iter().map(|role| role.running).sum();
    let replicas: u32 = summary.roles.iter().map(|role| role.replicas).sum();
    let state = if summary.deleting { "Deleting".to_owned() } else { summary.phase };
    let mut row = vec![
        reference.name,
        reference.kind,
        state,
        format!("{running}/{replicas}"),
        summary.restarts.to_string(),
        age(summary.created_ms),
    ];
    if wide {
        row.push(summary.detail);
    }
    row
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn pod_row(pod: &Value) -> Vec<String> {
    let container = &pod["status"]["containerStatuses"][0];
    let waiting = &container["state"]["waiting"]["reason"];
    let ended = &container["state"]["terminated"]["reason"];
    let status = [&pod["status"]["reason"], waiting, ended, &pod["status"]["phase"]];
    let status = status.into_iter().find(|value| value.is_string()).unwrap_or(&Value::Null);
    vec![
        text(&pod["metadata"]["name"]),
        text(status),
        text(&container["restartCount"]),
        text(&pod["spec"]["nodeName"]),
        text(&container["state"]["terminated"]["exitCode"]),
    ]
}

fn node_header(format: Format) -> Vec<&'static str> {
    let mut header = vec![
        "NAME",
        "STATUS",
        "AGE",
        "VERSION",
        "REPLICAS",
        "FREE CPU",
        "FREE MEMORY",
        "FREE GPU",
        "ADDRESS",
    ];
    if format == Format::Wide {
        header.extend(["TAINTS", "LABELS"]);
    }
    header
}

fn node_row(node: &Value, format: Format) -> Vec<String> {
    let ready = node["status"]["conditions"][0]["status"] == "True";
    let mut status = if ready { "Ready" } else { "Unreachable" }.to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let (capacity, free) = (&node["status"]["capacity"], &node["status"]["free"]);
    let share = |name: &str| match &capacity[name] {
        Value::Null => "-".to_owned(),
        all if name == "memory" => {
            let bytes =
                |value: &Value| value.as_str().and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
            let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
            format!("{}/{}Gi", gib(bytes(&free[name])), gib(bytes(all)))
        }
        all => {
            let left = if free[name].is_null() { "0".into() } else { text(&free[name]) };
            format!("{left}/{}", text(all))
        }
    };
    let mut row = vec![
        text(&node["metadata"]["name"]),
        status,
        age(milliseconds(&node["metadata"]["creationTimestamp"])),
        text(&node["status"]["nodeInfo"]["kubeletVersion"]),
        text(&node["status"]["replicas"]),
        share("cpu"),
        share("memory"),
        share("nvidia.com/gpu"),
        text(&node["status"]["addresses"][0]["address"]),
    ];
    if format == Format::Wide {
        row.push(joined(taints(node)));
        row.push(joined(labels(node)));
    }
    row
}

fn joined(parts: Vec<String>) -> String {
    if parts.is_empty() { "-".into() } else { parts.join(",") }
}

fn taints(node: &Value) -> Vec<String> {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let part = |taint: &Value, name: &str| taint[name].as_str().unwrap_or_default().to_owned();
    let shown = taints.map(|taint| {
        let (key, value, effect) =
            (part(taint, "key"), part(taint, "value"), part(taint, "effect"));
        let equals = if value.is_empty() { "" } else { "=" };
        format!("{key}{equals}{value}:{effect}")
    });
    shown.collect()
}

fn labels(node: &Value) -> Vec<String> {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect()
}

fn event_row(event: &Value) -> Vec<String> {
    let object = &event["involvedObject"];
    vec![
        age(milliseconds(&event["lastTimestamp"])),
        text(&event["type"]),
        text(&event["reason"]),
        format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"])),
        text(&event["count"]),
        text(&event["message"]),
    ]
}

/// An RFC 3339 time as milliseconds since 1970; 0 when it is none.
fn milliseconds(value: &Value) -> u64 {
    let time = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok()).unwrap_or(0)
}
