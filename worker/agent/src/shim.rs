//! The shim: one small process for each replica and generation, which outlives the agent.
//!
//! It is the parent of everything that the replica runs, holds its rendezvous store, collects its output, and
//! writes down how it ended. See `docs/adr/0006-shim-per-replica-and-generation.md`.

mod children;
mod control;
mod failure;
mod files;
mod lease;
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
use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Resource, Rlimit, chdir, getpid, getrlimit, set_child_subreaper, setrlimit, setsid,
};

use crate::machine::processes;
use control::Control;
pub(crate) use failure::Failure;
use lease::Lease;
use log_file::LogFile;
use output::Output;
pub use protocol::Until;
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
            complain(format_args!("muster shim {}: {error}", directory.display()));
            ExitCode::FAILURE
        }
    }
}

/// Says something on standard error, which is a file beside the replica. Nothing comes of it when that cannot be
/// written, as on a full disk: `eprintln!` would panic then, and take the replica's end with it.
fn complain(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
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
    give_up_protection();
    // So that no directory is held that somebody may want to unmount.
    chdir("/")?;

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
        lease: Lease::new()?,
        output: Output::new(log),
    })
    .run()
}

/// More open files than any program needs; some go through all numbers up to the limit.
const MOST_OPEN_FILES: u64 = 1 << 20;

/// Lets the shim and what it starts open as many files as the system allows.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.unwrap_or(MOST_OPEN_FILES).min(MOST_OPEN_FILES));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

/// An agent may be the last that the kernel ends for want of memory; its replicas are not to inherit that.
fn give_up_protection() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let protected = fs::read_to_string(FILE).is_ok_and(|text| text.starts_with('-'));
    if protected {
        let _ = fs::write(FILE, "0");
    }
}
