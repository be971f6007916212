//! `muster apply`

use std::process::ExitCode;

use muster_client::api::applied::Outcome;
use serde_json::{Value, json};

use super::submit::{How, check_all, refused, show_warnings, submit};
use crate::args::{Apply, Format, Global};
use crate::connect::connect;
use crate::exit::Failure;
use crate::files;
use crate::output::{line, print_value};

pub(super) async fn run(global: &Global, args: &Apply) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let mut results: Vec<Value> = Vec::new();
    let manifests = files::read_all(&args.files)?;
    check_all(&client, &global.namespace, &manifests).await?;
    for manifest in manifests {
        let how = How { dry_run: args.dry_run, ..How::default() };
        let reply = submit(&client, (&manifest, &global.namespace), how).await?;
        if !reply.refused.is_empty() {
            return Err(refused(&manifest, &reply.refused));
        }
        for applied in reply.applied {
            show_warnings(&applied);
            let outcome = match applied.outcome() {
                Outcome::Created => "created",
                Outcome::Configured => "configured",
                Outcome::Unchanged | Outcome::Unspecified => "unchanged",
            };
            let reference = applied.r#ref.unwrap_or_default();
            let name = format!("{}/{}", reference.kind.to_lowercase(), reference.name);
            match args.output.output {
                Format::Table | Format::Wide => {
                    let dry = if args.dry_run { " (dry run)" } else { "" };
                    line(format!("{name} {outcome}{dry}"));
                }
                Format::Name => line(name),
                Format::Json | Format::Yaml => results.push(json!({
                    "kind": reference.kind,
                    "namespace": reference.namespace,
                    "name": reference.name,
                    "uid": reference.uid,
                    "outcome": outcome,
                    "warnings": applied.warnings,
                })),
            }
        }
    }
    if matches!(args.output.output, Format::Json | Format::Yaml) {
        print_value(&Value::Array(results), args.output.output)?;
    }
    Ok(ExitCode::SUCCESS)
}
