//! `muster version`

use std::process::ExitCode;

use serde_json::json;

use crate::args::Format;
use crate::exit::Failure;
use crate::output::{line, print_value};

pub(super) fn run(format: Format) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        Format::Json | Format::Yaml => print_value(
            &json!({"version": version, "sessionProtocol": muster_client::SESSION_PROTOCOL}),
            format,
        )?,
        _ => line(format!("muster {version}")),
    }
    Ok(ExitCode::SUCCESS)
}
