//! `muster agent`

use std::path::Path;
use std::process::ExitCode;

use muster_agent::agent::{Access, Agent};
use muster_service::{OnEnd, OnStop, Signals, Supervisor, TaskKind};
use muster_trust::{JoinToken, UserToken};

use super::coordinator::start_logging;
use super::node_options::{Home, agent_config};
use super::run_as;
use super::up::{daemon_runtime, supervise};
use crate::args::{Agent as Args, Global};
use crate::connect::{data_dir, read_token};
use crate::exit::Failure;

/// The agent's loop. What it runs goes on without it, so a stop does not wait.
pub(super) const AGENT: TaskKind =
    TaskKind { name: "agent", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };

/// A start that failed.
pub(super) fn failed(error: &muster_agent::agent::Error) -> Failure {
    let code = match error {
        muster_agent::agent::Error::Enrol(_) => "M1012",
        _ => "M3001",
    };
    Failure::unreachable(code, format!("the agent cannot start: {error}"))
}

/// What lets the agent in.
fn access(global: &Global, args: &Args, data: &Path) -> Result<Access, Failure> {
    let is_tls = global.server.as_ref().is_some_and(|server| server.starts_with("https://"));
    if !is_tls {
        let path = global.token_file.clone();
        let path = path.unwrap_or_else(|| muster_coordinator::token_path(data));
        let token = read_token(&path)?;
        if JoinToken::is_one(&token) || UserToken::is_one(&token) {
            return Err(Failure::usage(format!(
                "{} holds a token for TLS: write --server https://HOST:PORT, and name a join token with --join-token-file",
                path.display()
            )));
        }
        return Ok(Access::OwnersToken(token));
    }
    let Some(file) = &args.join_token_file else { return Ok(Access::Joined { token: None }) };
    // Once the agent has a certificate, the file may be gone or used up.
    if !muster_trust::exists(file) {
        return Ok(Access::Joined { token: None });
    }
    let token = JoinToken::parse(&read_token(file)?);
    let token = token.map_err(|error| Failure::unreachable("M1012", error.to_string()))?;
    Ok(Access::Joined { token: Some(token) })
}

pub(super) fn run(global: &Global, args: Args) -> Result<ExitCode, Failure> {
    start_logging(global);
    let data = data_dir(global)?;
    let Some(coordinator) = global.server.clone() else {
        return Err(Failure::usage("name the coordinator with --server https://HOST:PORT"));
    };
    let home = Home { access: access(global, &args, &data)?, coordinator, address: args.address };
    let is_shared = home.coordinator.starts_with("https://");
    let user = run_as::wanted(args.run_as.as_deref(), is_shared)?;
    let mut config = agent_config(&data, &args.node, home)?;
    if let Some(user) = &user {
        config.variables = run_as::variables_of(user, config.variables);
        if std::env::var_os("MUSTER_ENVIRONMENTS").is_none_or(|root| root.is_empty()) {
            config.environments.root = data.join("environments");
        }
        run_as::become_user(user, &data)?;
    }
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
