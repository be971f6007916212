//! `muster agent`

use std::process::ExitCode;

use muster_agent::agent::Agent;
use muster_service::{OnEnd, OnStop, Signals, Supervisor, TaskKind};

use super::coordinator::start_logging;
use super::node_options::{Home, agent_config};
use super::up::{daemon_runtime, supervise};
use crate::args::{Agent as Args, Global};
use crate::connect::{data_dir, read_token};
use crate::exit::Failure;

/// The agent's loop. What it runs goes on without it, so a stop does not wait.
pub(super) const AGENT: TaskKind =
    TaskKind { name: "agent", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };

/// A start that failed.
pub(super) fn failed(error: &muster_agent::agent::Error) -> Failure {
    Failure::unreachable("M3001", format!("the agent cannot start: {error}"))
}

pub(super) fn run(global: &Global, args: Args) -> Result<ExitCode, Failure> {
    start_logging(global);
    let data = data_dir(global)?;
    let Some(coordinator) = global.server.clone() else {
        return Err(Failure::usage("name the coordinator with --server http://HOST:PORT"));
    };
    let token_file =
        global.token_file.clone().unwrap_or_else(|| muster_coordinator::token_path(&data));
    let home = Home { coordinator, token: read_token(&token_file)?, address: args.address };
    let config = agent_config(&data, &args.node, home)?;
    daemon_runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let supervisor = Supervisor::new();
        let agent = Agent::open(config, supervisor.tasks().clone())
            .await
            .map_err(|error| failed(&error))?;
        supervisor
            .tasks()
            .spawn(AGENT, async move { agent.run().await.map(|never| match never {}) });
        supervise(supervisor, signals, std::future::pending()).await
    })
}
