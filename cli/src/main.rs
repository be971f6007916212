//! L3: the one binary.
//!
//! `muster shim DIR` is taken care of before anything else: a shim starts once per rank, and must not
//! pay for what only the other commands need.

mod args;
mod commands;
mod connect;
mod daemon;
mod exit;
mod files;
mod login;
mod output;
mod target;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::Failure;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "shim") {
        return match (arguments.next(), arguments.next()) {
            (Some(directory), None) => muster_agent::shim::run(directory.as_ref()),
            _ => Failure::usage("muster shim takes the directory of a replica").report(),
        };
    }
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
