//! `muster coordinator`

use std::process::ExitCode;

use muster_coordinator::{Config, Coordinator, Join};
use muster_service::{LogFormat, Readiness, Signals, Supervisor, init_telemetry};
use tracing::info;

use super::up::{daemon_runtime, supervise};
use crate::args::{Coordinator as Args, Doors, Global};
use crate::connect::{data_dir, read_token};
use crate::exit::Failure;

/// A coordinator's configuration.
pub(super) fn config(data: std::path::PathBuf, doors: &Doors) -> Config {
    Config { grpc: doors.listen, http: doors.http_listen, lease: doors.lease, ..Config::new(data) }
}

/// A start that failed.
pub(super) fn failed(error: &muster_coordinator::Error) -> Failure {
    let code = match error {
        muster_coordinator::Error::Config(_) => "M5002",
        muster_coordinator::Error::Listen { .. } => "M5007",
        muster_coordinator::Error::Data { .. } => "M4002",
        muster_coordinator::Error::Store(_) => "M4003",
        muster_coordinator::Error::Join { .. } => "M2008",
        muster_coordinator::Error::Token => "M1009",
    };
    Failure::unreachable(code, error.to_string())
}

/// Starts to log as the flags say.
pub(super) fn start_logging(global: &Global) {
    let format = if global.log_json { LogFormat::Json } else { LogFormat::Text };
    init_telemetry(global.log.as_deref(), format);
}

/// The cluster that this member is to join, if the flags name one.
fn join(args: &Args) -> Result<Option<Join>, Failure> {
    let Some(through) = &args.join else { return Ok(None) };
    let Some(file) = &args.join_token_file else {
        return Err(Failure::usage("--join needs the cluster's token: --join-token-file FILE"));
    };
    let through = through.strip_prefix("http://").unwrap_or(through).trim_end_matches('/');
    Ok(Some(Join { through: through.to_owned(), token: read_token(file)? }))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<ExitCode, Failure> {
    start_logging(global);
    let mut config = config(data_dir(global)?, &args.doors);
    config.advertise.clone_from(&args.advertise);
    config.join = join(args)?;
    daemon_runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let supervisor = Supervisor::new();
        let readiness = Readiness::default();
        let coordinator = Coordinator::bind(config).await.map_err(|error| failed(&error))?;
        let addresses = coordinator.addresses()?;
        info!(grpc = %addresses.grpc, http = %addresses.http, "listening");
        coordinator.start(supervisor.tasks(), &readiness).await.map_err(|error| failed(&error))?;
        supervise(supervisor, signals, std::future::pending()).await
    })
}
