//! `muster explain`: why a job waits, or what an error code means.

use std::process::ExitCode;

use muster_client::api;
use serde_json::json;

use crate::args::{Explain, Format, Global};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Rows, line, print_rows, print_value};
use crate::target::Target;

/// The pages of `docs/errors`, compiled in.
macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md")))),*]
    };
}

const PAGES: &[(&str, &str)] = pages![
    "M1001", "M1002", "M1003", "M1004", "M1005", "M1006", "M1007", "M1008", "M1009", "M1010",
    "M1011", "M1012", "M1013", "M1014", "M1015", "M2001", "M2002", "M2003", "M2004", "M2005",
    "M2006", "M2007", "M2008", "M2009", "M2010", "M3001", "M3002", "M4001", "M4002", "M4003",
    "M4004", "M5001", "M5002", "M5003", "M5004", "M5005", "M5006", "M5007", "M5008", "M5009",
];

/// The page of an error code.
pub(super) fn page(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}

pub(super) async fn run(global: &Global, args: &Explain) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let target = Target::parse(&args.what);
    let request = api::ExplainRequest {
        kind: target.kind,
        namespace: global.namespace.clone(),
        name: target.name,
    };
    let reply = client.explain(request).await?;
    let summary = reply.summary.unwrap_or_default();
    let reference = reply.r#ref.unwrap_or_default();
    if matches!(args.output.output, Format::Json | Format::Yaml) {
        let replicas: Vec<_> = reply
            .replicas
            .iter()
            .map(|r| json!({"name": r.name, "node": r.node, "phase": r.phase, "detail": r.detail}))
            .collect();
        let value = json!({
            "kind": reference.kind,
            "namespace": reference.namespace,
            "name": reference.name,
            "phase": summary.phase,
            "gangPhase": summary.gang_phase,
            "attempt": summary.attempt,
            "generation": summary.generation,
            "restarts": summary.restarts,
            "detail": summary.detail,
            "waitReason": reply.wait_reason,
            "wait": reply.wait,
            "replicas": replicas,
        });
        print_value(&value, args.output.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    line(format!(
        "{} {} is {} (gang: {}, generation {}, {} restarts)",
        reference.kind,
        reference.name,
        summary.phase,
        summary.gang_phase,
        summary.generation,
        summary.restarts
    ));
    if !summary.detail.is_empty() {
        line(format!("  {}", summary.detail));
    }
    if !reply.replicas.is_empty() {
        let rows = reply
            .replicas
            .iter()
            .map(|r| vec![r.name.clone(), r.phase.clone(), r.node.clone(), r.detail.clone()]);
        let header = vec!["REPLICA", "PHASE", "NODE", "DETAIL"];
        print_rows(&Rows { header, rows: rows.collect() });
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_names_its_code_and_every_file_is_compiled_in() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}")), "{code}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let code = name.trim_end_matches(".md");
            assert!(page(code).is_some(), "{name} is not compiled in");
        }
        assert!(page("m1001").is_some());
        assert!(page("M9999").is_none());
    }
}
