//! What the agent's tests start as processes of their own:
//!
//! * `muster-agent-testbed shim DIR`: a shim, as `muster shim DIR`;
//! * `muster-agent-testbed agent OPTIONS`: an agent that hosts a runtime, takes calls as JSON lines on standard
//!   input and tells what it finds and sees as JSON lines on standard output, until it is killed.

#[path = "agent.rs"]
mod agent;
#[path = "../runtime/remote.rs"]
mod remote;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, directory] if mode == "shim" => muster_agent::shim::run(Path::new(directory)),
        [mode, options] if mode == "agent" => agent::serve(options),
        _ => {
            eprintln!("usage: muster-agent-testbed shim DIR | agent OPTIONS");
            ExitCode::from(64)
        }
    }
}
