//! The commands, one file each.

mod agent;
mod apply;
mod backup;
mod coordinator;
mod debug;
mod delete;
mod describe;
mod down;
mod env;
mod explain;
mod follow;
mod get;
mod kubeconfig;
mod login;
mod logs;
mod members;
mod node_options;
mod nodes;
mod printed;
mod run;
mod run_as;
mod status;
mod submit;
mod suspend;
mod token;
mod up;
mod version;
mod wait;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit::Failure;

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => up::run(&global, &args),
        Command::Down => down::run(&global),
        Command::Coordinator(args) => coordinator::run(&global, &args),
        Command::Agent(args) => agent::run(&global, args),
        Command::Env(args) => env::run(&global, args.command),
        Command::Version(output) => version::run(output.output),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "muster", &mut script);
            // A reader that has gone away is no error.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => client(run::run(&global, &args)),
        Command::Apply(args) => client(apply::run(&global, &args)),
        Command::Get(args) => client(get::run(&global, &args)),
        Command::Describe(args) => client(describe::run(&global, &args)),
        Command::Logs(args) => client(logs::run(&global, &args)),
        Command::Delete(args) => client(delete::run(&global, &args)),
        Command::Suspend(args) => client(suspend::run(&global, (&args, true))),
        Command::Resume(args) => client(suspend::run(&global, (&args, false))),
        Command::Wait(args) => client(wait::run(&global, &args)),
        Command::Explain(args) => match explain::page(&args.what) {
            Some(page) => {
                crate::output::line(page.trim_end());
                Ok(ExitCode::SUCCESS)
            }
            None => client(explain::run(&global, &args)),
        },
        Command::Backup(args) => client(backup::backup(&global, &args)),
        Command::Restore(args) => backup::restore(&global, &args),
        Command::Token(args) => client(token::run(&global, &args)),
        Command::Kubeconfig(args) => kubeconfig::run(&global, &args),
        Command::Login(args) => client(login::login(&global, &args)),
        Command::Logout => login::logout(),
        Command::Whoami(output) => client(login::who_am_i(&global, output.output)),
        Command::Members(args) => client(members::run(&global, &args)),
        Command::Nodes(args) => client(nodes::run(&global, &args)),
        Command::Debug(args) => client(debug::run(&global, &args)),
        Command::Status(output) => client(status::run(&global, output.output)),
    }
}

/// Runs a command that only asks a coordinator.
fn client(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // A read of standard input or a spinner must not hold back the end.
    runtime.shutdown_background();
    result
}
