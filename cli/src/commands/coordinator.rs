//! `muster coordinator`

use std::process::ExitCode;

use muster_coordinator::{Addresses, Config, Coordinator, Join, JoinWith};
use muster_service::{LogFormat, Readiness, Signals, Supervisor, init_telemetry};
use muster_trust::JoinToken;
use tracing::info;

use super::up::{daemon_runtime, supervise_until};
use crate::args::{Coordinator as Args, Doors, Global};
use crate::connect::{data_dir, read_token};
use crate::daemon::{self, Endpoint, Turn};
use crate::exit::Failure;

/// A coordinator's configuration.
pub(super) fn config(data: std::path::PathBuf, doors: &Doors) -> Config {
    Config {
        grpc: doors.listen,
        http: doors.http_listen,
        lease: doors.lease,
        tls: doors.tls,
        advertise: doors.advertise.clone(),
        ..Config::new(data)
    }
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
        muster_coordinator::Error::Trust(_) => "M1015",
    };
    Failure::unreachable(code, error.to_string())
}

/// Where a daemon on this machine is reached.
pub(super) fn endpoint(addresses: &Addresses, advertised: Option<&str>) -> Endpoint {
    let scheme = if addresses.tls { "https" } else { "http" };
    let grpc = match advertised {
        Some(advertised) if addresses.grpc.ip().is_unspecified() => advertised.to_owned(),
        _ => addresses.grpc.to_string(),
    };
    let http = if addresses.http.ip().is_loopback() { "http" } else { "https" };
    Endpoint {
        pid: std::process::id(),
        grpc: format!("{scheme}://{grpc}"),
        http: format!("{http}://{}", addresses.http),
    }
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
        return Err(Failure::usage("--join needs a join token: --join-token-file FILE"));
    };
    let through =
        through.split_once("://").map_or(&**through, |(_, rest)| rest).trim_end_matches('/');
    // A token that is used up may stay in a unit file: a member that belongs to a cluster does not need it.
    let token = read_token(file)?;
    let with = if JoinToken::is_one(&token) {
        let parsed = JoinToken::parse(&token);
        JoinWith::Token(parsed.map_err(|error| Failure::unreachable("M1012", error.to_string()))?)
    } else {
        JoinWith::OwnersToken(token)
    };
    Ok(Some(Join { through: through.to_owned(), with }))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<ExitCode, Failure> {
    start_logging(global);
    let data = data_dir(global)?;
    daemon::make_private(&data)
        .map_err(|error| Failure::unreachable("M4002", format!("{}: {error}", data.display())))?;
    let lock = match daemon::turn(&data)? {
        Turn::Ours(lock) => lock,
        Turn::Another(endpoint) => {
            let message = format!(
                "another muster (pid {}) runs on {}; choose another --data-dir, or stop that one",
                endpoint.pid,
                data.display()
            );
            return Err(Failure::unreachable("M5003", message));
        }
    };
    let mut config = config(data.clone(), &args.doors);
    config.join = join(args)?;
    let result = daemon_runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let supervisor = Supervisor::new();
        let readiness = Readiness::default();
        let coordinator = Coordinator::bind(config).await.map_err(|error| failed(&error))?;
        let addresses = coordinator.addresses()?;
        info!(grpc = %addresses.grpc, http = %addresses.http, "listening");
        let endpoint = endpoint(&addresses, args.doors.advertise.as_deref());
        coordinator.start(supervisor.tasks(), &readiness).await.map_err(|error| failed(&error))?;
        endpoint.publish(&data)?;
        supervise_until((supervisor, signals), std::future::pending(), || Endpoint::withdraw(&data))
            .await
    });
    drop(lock);
    result
}
