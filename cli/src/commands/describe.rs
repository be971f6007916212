//! `muster describe`

use std::process::ExitCode;

use muster_client::api;
use serde_json::{Value, json};

use crate::args::{Format, Global, Named};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Rows, age, line, print_rows, print_value, table_of};

pub(super) async fn run(global: &Global, args: &Named) -> Result<ExitCode, Failure> {
    let target = args.target()?;
    let client = connect(global)?;
    let (kind, name) = (target.kind.clone(), target.name.clone());
    let namespace = global.namespace.clone();
    let request = api::GetRequest { kind: kind.clone(), namespace: namespace.clone(), name };
    let object = client.get(request).await?;
    let name = target.name.clone();
    let explained = client.explain(api::ExplainRequest { kind, namespace, name }).await?;
    let list = |kind: &str| api::ListRequest {
        kind: kind.into(),
        namespace: global.namespace.clone(),
        job: target.name.clone(),
        selector: String::new(),
    };
    let events = client.list(list("events")).await?.items;
    let job: Value = serde_json::from_slice(&object.json).unwrap_or(Value::Null);
    if matches!(args.output.output, Format::Json | Format::Yaml) {
        let events: Vec<Value> =
            events.iter().filter_map(|event| serde_json::from_slice(&event.json).ok()).collect();
        print_value(&json!({"object": job, "events": events}), args.output.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let summary = object.summary.unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let field = |name: &str, value: &str| line(format!("{name:<13}{value}"));
    field("Name:", &text(&job["metadata"]["name"]));
    field("Namespace:", &text(&job["metadata"]["namespace"]));
    field("Kind:", &format!("{} ({})", text(&job["kind"]), text(&job["apiVersion"])));
    field("UID:", &text(&job["metadata"]["uid"]));
    field(
        "Created:",
        &format!(
            "{} ({} ago)",
            text(&job["metadata"]["creationTimestamp"]),
            age(summary.created_ms)
        ),
    );
    field("Phase:", &format!("{} (gang: {})", summary.phase, summary.gang_phase));
    if !summary.detail.is_empty() {
        field("", &summary.detail);
    }
    field("Attempt:", &summary.attempt.to_string());
    field("Generation:", &format!("{} ({} restarts)", summary.generation, summary.restarts));
    conditions(&job);
    roles(&summary);
    if !explained.replicas.is_empty() {
        line("\nReplicas:");
        let rows = explained.replicas.iter().map(|r| {
            vec![format!("  {}", r.name), r.phase.clone(), r.node.clone(), r.detail.clone()]
        });
        let header = vec!["  NAME", "PHASE", "NODE", "DETAIL"];
        print_rows(&Rows { header, rows: rows.collect() });
    }
    line("\nEvents:");
    if events.is_empty() {
        line("  none");
    } else {
        let mut rows = table_of(&events, (Format::Table, false));
        rows.header[0] = "  LAST SEEN";
        for row in &mut rows.rows {
            row[0].insert_str(0, "  ");
        }
        print_rows(&rows);
    }
    Ok(ExitCode::SUCCESS)
}

fn conditions(job: &Value) {
    line("\nConditions:");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let rows = conditions.iter().map(|condition| {
        vec![
            format!("  {}", text(&condition["type"])),
            text(&condition["status"]),
            text(&condition["reason"]),
            text(&condition["lastTransitionTime"]),
            text(&condition["message"]),
        ]
    });
    let header = vec!["  TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"];
    print_rows(&Rows { header, rows: rows.collect() });
}

fn roles(summary: &api::JobSummary) {
    line("\nRoles:");
    let rows = summary.roles.iter().map(|role| {
        vec![
            format!("  {}", role.name),
            role.replicas.to_string(),
            role.preparing.to_string(),
            role.ready.to_string(),
            role.running.to_string(),
            role.succeeded.to_string(),
            role.failed.to_string(),
        ]
    });
    let header = vec!["  ROLE", "REPLICAS", "PREPARING", "READY", "RUNNING", "SUCCEEDED", "FAILED"];
    print_rows(&Rows { header, rows: rows.collect() });
}
