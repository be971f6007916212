//! `muster status`

use std::process::ExitCode;

use serde_json::json;

use crate::args::{Format, Global};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{line, print_value};

pub(super) async fn run(global: &Global, format: Format) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let status = client.status().await?;
    match format {
        Format::Json | Format::Yaml => print_value(
            &json!({
                "version": status.version,
                "cluster": status.cluster,
                "address": client.address(),
                "pid": status.pid,
                "member": status.member,
                "leader": status.leader,
                "term": status.term,
                "appliedIndex": status.applied,
                "digest": status.digest,
                "nodes": status.nodes,
                "sessions": status.sessions,
                "jobs": status.jobs,
            }),
            format,
        )?,
        _ => {
            line(format!(
                "coordinator  {} (muster {}, pid {})",
                client.address(),
                status.version,
                status.pid
            ));
            line(format!("cluster      {}", status.cluster));
            line(format!(
                "consensus    member {} of term {}, leader {}, index {}",
                status.member, status.term, status.leader, status.applied
            ));
            line(format!("nodes        {} ({} connected)", status.nodes, status.sessions));
            line(format!("jobs         {}", status.jobs));
        }
    }
    Ok(ExitCode::SUCCESS)
}
