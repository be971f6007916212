//! `muster coordinator`

use std::process::ExitCode;

use muster_coordinator::{Config, Coordinator};
use muster_service::{LogFormat, Readiness, Signals, Supervisor, init_telemetry};
use tracing::info;

use super::up::{daemon_runtime, supervise};
use crate::args::{Coordinator as Args, Doors, Global};
use crate::connect::data_dir;
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
    };
    Failure::unreachable(code, error.to_string())
}

/// Starts to log as the flags say.
pub(super) fn start_logging(global: &Global) {
    let format = if global.log_json { LogFormat::Json } else { LogFormat::Text };
    init_telemetry(global.log.as_deref(), format);
}

pub(super) fn run(global: &Global, args: &Args) -> Result<ExitCode, Failure> {
    start_logging(global);
    let config = config(data_dir(global)?, &args.doors);
    daemon_runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let supervisor = Supervisor::new();
        let readiness = Readiness::default();
        let coordinator = Coordinator::bind(config).await.map_err(|error| failed(&error))?;
        let addresses = coordinator.addresses()?;
        info!(grpc = %addresses.grpc, http = %addresses.http, "listening");
        coordinator.start(supervisor.tasks(), &readiness).map_err(|error| failed(&error))?;
        supervise(supervisor, signals, std::future::pending()).await
    })
}
