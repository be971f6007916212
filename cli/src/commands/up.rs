//! `muster up`: a coordinator and an agent in one process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::agent::{Access, Agent};
use muster_coordinator::Coordinator;
use muster_service::{Readiness, Signals, Stopped, Supervisor};
use tracing::{error, info};

use super::coordinator::{config, endpoint, failed, start_logging};
use super::node_options::{Home, agent_config};
use crate::args::{Global, Up};
use crate::connect::data_dir;
use crate::daemon::{self, Endpoint, Turn};
use crate::exit::Failure;
use crate::output::say;

/// How long an orderly stop may take.
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn run(global: &Global, args: &Up) -> Result<ExitCode, Failure> {
    let data = data_dir(global)?;
    if args.detach {
        return detach(global, &data);
    }
    if args.background {
        daemon::leave_session();
    }
    daemon::make_private(&data)
        .map_err(|error| Failure::unreachable("M4002", format!("{}: {error}", data.display())))?;
    let lock = match daemon::turn(&data)? {
        Turn::Ours(lock) => lock,
        Turn::Another(endpoint) => return already_running(&endpoint, args),
    };
    start_logging(global);
    daemon_runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let supervisor = Supervisor::new();
        let readiness = Readiness::default();
        let coordinator =
            Coordinator::bind(config(data.clone(), &args.doors)).await.map_err(|e| failed(&e))?;
        let addresses = coordinator.addresses()?;
        let started =
            coordinator.start(supervisor.tasks(), &readiness).await.map_err(|e| failed(&e))?;
        let endpoint = endpoint(&addresses, args.doors.advertise.as_deref());
        let access = match (started.certifier(), addresses.token) {
            (Some(certifier), _) => {
                Access::Here(Arc::new(move |subject| certifier.certify(subject)))
            }
            (None, token) => Access::OwnersToken(token.unwrap_or_default()),
        };
        let address = Some(addresses.grpc.ip()).filter(|address| !address.is_unspecified());
        let home = Home { coordinator: endpoint.grpc.clone(), access, address };
        let agent_config = agent_config(&data, &args.node, home)?;
        let agent = Agent::open(agent_config, supervisor.tasks().clone())
            .await
            .map_err(|error| super::agent::failed(&error))?;
        supervisor.tasks().spawn(super::agent::AGENT, async move {
            agent.run().await.map(|never| match never {})
        });
        endpoint.publish(&data)?;
        if args.background {
            daemon::say_ready()?;
        } else {
            announce(&endpoint, &data, "Ctrl-C to stop");
        }
        // Whoever looks from then on shall not find a daemon that is about to go.
        let withdraw = || Endpoint::withdraw(&data);
        let idle = started.idle(args.exit_when_idle);
        let result = supervise_until((supervisor, signals), idle, withdraw).await;
        drop(lock);
        result
    })
}

fn announce(endpoint: &Endpoint, data: &std::path::Path, stop: &str) {
    say(format!("muster is up (pid {}): coordinator and agent on this machine", endpoint.pid));
    say(format!("  data     {}", data.display()));
    say(format!("  gRPC     {}", endpoint.grpc));
    say(format!("  HTTP     {}/healthz /readyz /metrics", endpoint.http));
    say(format!("  next     muster run FILE, or {stop} (running jobs go on at the next start)"));
}

fn already_running(endpoint: &Endpoint, args: &Up) -> Result<ExitCode, Failure> {
    if args.background {
        daemon::say_ready()?;
    } else {
        say(format!("muster is up already (pid {}), gRPC {}", endpoint.pid, endpoint.grpc));
    }
    Ok(ExitCode::SUCCESS)
}

fn detach(global: &Global, data: &std::path::Path) -> Result<ExitCode, Failure> {
    // The same command line without the flag that asked for it.
    let own = std::env::args().skip(1);
    let arguments: Vec<String> = own
        .skip_while(|argument| argument != "up")
        .skip(1)
        .filter(|argument| argument != "--detach" && argument != "-d")
        .collect();
    let endpoint = daemon::background(global, data, &arguments)?;
    announce(&endpoint, data, "`muster down` to stop");
    Ok(ExitCode::SUCCESS)
}

/// The runtime of a daemon, with all the open files that it may have. Two workers: one for connections, and one for whatever holds the other up.
pub(super) fn daemon_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    muster_service::raise_open_files();
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Waits for a signal or for a task that must not end, then stops in order. A second signal ends it
/// at once.
pub(super) async fn supervise(
    supervisor: Supervisor,
    signals: Signals,
    idle: impl Future<Output = ()>,
) -> Result<ExitCode, Failure> {
    supervise_until((supervisor, signals), idle, || ()).await
}

/// As [`supervise`]; `stopping` is called once it is to stop.
pub(super) async fn supervise_until(
    (mut supervisor, mut signals): (Supervisor, Signals),
    idle: impl Future<Output = ()>,
    stopping: impl FnOnce(),
) -> Result<ExitCode, Failure> {
    let stopped = tokio::select! {
        () = idle => {
            info!("stopping: nobody needs this daemon any more");
            Stopped::Asked
        }
        signal = signals.next() => {
            info!(signal, "stopping");
            Stopped::Asked
        }
        failed = supervisor.failed() => failed,
    };
    stopping();
    tokio::select! {
        _ = supervisor.stop(GRACE) => {}
        signal = signals.next() => {
            info!(signal, "stopping at once");
            return Ok(ExitCode::FAILURE);
        }
    }
    match stopped {
        Stopped::Asked => Ok(ExitCode::SUCCESS),
        Stopped::TaskEnded { .. } => {
            error!("{stopped}");
            Err(Failure::unreachable("M5008", format!("the daemon cannot go on: {stopped}")))
        }
    }
}
