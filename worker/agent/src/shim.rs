//! The shim: one small process for each replica and generation, which outlives the agent.
//!
//! It is the parent of everything that the replica runs, holds its rendezvous store, collects its output, and
//! writes down how it ended. See `docs/adr/0006-shim-per-replica-and-generation.md`.

mod children;
mod control;
mod failure;
pub(crate) mod log_file;
mod mounts;
mod output;
mod ports;
mod program;
pub(crate) mod protocol;
pub(crate) mod record;
mod signals;
mod spawn;
mod store;
mod supervisor;

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit, setsid,
};

use crate::machine::processes;
use control::Control;
pub(crate) use failure::Failure;
use log_file::LogFile;
use output::Output;
use record::{LAUNCH, Launch, SHIM, ShimProcess, WORK};
use signals::Signals;
use supervisor::{Parts, Supervisor};

/// Runs the shim of the replica whose directory is `directory`; its listening socket is standard input.
///
/// To be called first thing in main, before any thread is started: the shim forks on its main thread, and
/// its start is part of every rank's.
#[must_use]
pub fn run(directory: &Path) -> ExitCode {
    match serve(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster shim {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn serve(directory: &Path) -> io::Result<()> {
    spawn::close_inherited();
    // The leader of a session of its own is no part of the agent's terminal or process group. It fails
    // for one that is a leader already, such as one started by hand.
    let _ = setsid();
    let listener = fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let signals = Signals::listen()?;
    set_child_subreaper(Some(getpid()))?;
    raise_open_files();

    let launch: Launch = record::read(directory, LAUNCH)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{LAUNCH} is not there")))?;
    let pid = getpid().as_raw_pid();
    let started = processes::start_ticks(pid).unwrap_or_default();
    record::write(directory, SHIM, &ShimProcess { pid, started })?;
    fs::create_dir_all(directory.join(WORK))?;
    let log = LogFile::open(&launch.log.file, launch.log.limit)?;
    Supervisor::new(Parts {
        directory: directory.to_owned(),
        launch,
        control: Control::new(UnixListener::from(listener))?,
        signals,
        output: Output::new(log),
    })
    .run()
}

/// Lets the shim and what it starts open as many files as the system allows.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
