//! The embedded coordinator and agent: one process per data directory, found by its endpoint file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::exit::Failure;
use crate::output::Spinner;

/// An embedded daemon that was started by a client stops after this long without work.
const IDLE: &str = "15m";
/// What a daemon in the background says on its standard output, a pipe, once it is ready.
const READY: &str = "ready";

/// How a running daemon can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) pid: u32,
    /// The gRPC door, `http://HOST:PORT`.
    pub(crate) grpc: String,
    /// The HTTP door.
    pub(crate) http: String,
}

/// Held by the daemon of a data directory as long as it lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

// === impl Endpoint ===

impl Endpoint {
    fn path(data: &Path) -> PathBuf {
        data.join("endpoint.json")
    }

    /// The endpoint of the daemon that runs on a data directory, if one does.
    pub(crate) fn of_running(data: &Path) -> Option<Self> {
        if !DirectoryLock::is_held(data) {
            return None;
        }
        serde_json::from_slice(&fs::read(Self::path(data)).ok()?).ok()
    }

    /// Writes it where clients look.
    pub(crate) fn publish(&self, data: &Path) -> io::Result<()> {
        let path = Self::path(data);
        let new = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(new, path)
    }

    /// Takes it away when the daemon stops.
    pub(crate) fn withdraw(data: &Path) {
        // A file that stays behind does no harm: it counts only while the lock is held.
        let _ = fs::remove_file(Self::path(data));
    }
}

// === impl DirectoryLock ===

impl DirectoryLock {
    fn open(data: &Path) -> io::Result<File> {
        let path = data.join("daemon.lock");
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
    }

    /// Takes the lock; `None` when another daemon has it.
    pub(crate) fn take(data: &Path) -> io::Result<Option<Self>> {
        let file = Self::open(data)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_held(data: &Path) -> bool {
        let Ok(file) = File::open(data.join("daemon.lock")) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

/// Starts the embedded daemon in the background and waits until it is ready.
pub(crate) fn start(global: &Global, data: &Path) -> Result<Endpoint, Failure> {
    let spinner = Spinner::start("starting an embedded coordinator and agent");
    let mut arguments = vec!["--listen".to_owned(), "127.0.0.1:0".into()];
    arguments.extend(["--http-listen".into(), "127.0.0.1:0".into()]);
    arguments.extend(["--exit-when-idle".into(), IDLE.into()]);
    let endpoint = background(global, data, &arguments)?;
    spinner.finish(&format!(
        "started an embedded coordinator and agent (pid {}, data in {}); they stop after {IDLE} \
         without work, or with `muster down`",
        endpoint.pid,
        data.display()
    ));
    Ok(endpoint)
}

/// Runs `muster up` with `arguments` as a daemon of its own session, and waits until it says that it
/// is ready or dies.
pub(crate) fn background(
    global: &Global,
    data: &Path,
    arguments: &[String],
) -> Result<Endpoint, Failure> {
    let failed = |error: io::Error| {
        Failure::unreachable("M5003", format!("the daemon cannot be started: {error}"))
    };
    make_private(data).map_err(failed)?;
    let log_path = data.join("daemon.log");
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path).map_err(failed)?;
    let (reader, writer) = io::pipe().map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["up", "--background"]).args(arguments).arg("--data-dir").arg(data);
    if let Some(filter) = &global.log {
        command.args(["--log", filter]);
    }
    command.stdin(Stdio::null()).stdout(writer).stderr(log);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the other end of the pipe.
    drop(command);
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).map_err(failed)?;
    match Endpoint::of_running(data) {
        Some(endpoint) if line.trim() == READY => Ok(endpoint),
        _ => {
            let status = child.wait().map_err(failed)?;
            let last = last_lines(&log_path);
            Err(Failure::unreachable(
                "M5003",
                format!(
                    "the daemon ended with {status}; the end of {}:\n{last}",
                    log_path.display()
                ),
            ))
        }
    }
}

/// Leaves the session of whoever started this daemon, so that no Ctrl-C and no closed terminal reaches it.
pub(crate) fn leave_session() {
    // Fails only for the leader of a process group, which has no session to leave.
    let _ = rustix::process::setsid();
}

/// Tells whoever started this daemon in the background that it is ready, and lets go of the pipe.
pub(crate) fn say_ready() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(nothing)?)
}

/// Asks the daemon of a data directory to stop and waits until it has.
pub(crate) fn stop(data: &Path) -> Result<Option<u32>, Failure> {
    let Some(endpoint) = Endpoint::of_running(data) else { return Ok(None) };
    let pid = i32::try_from(endpoint.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid.filter(|pid| test_kill_process(*pid).is_ok()) else { return Ok(None) };
    kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
    let file = DirectoryLock::open(data)?;
    flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    Ok(Some(endpoint.pid))
}

/// Makes a directory that only its owner may enter.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn last_lines(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        // The log is appended to; its end is enough.
        let _ = BufReader::new(file).take(1 << 20).read_to_string(&mut text);
    }
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_counts_only_while_its_daemon_holds_the_lock() {
        let data = tempfile::tempdir().unwrap();
        let endpoint = Endpoint {
            pid: 1,
            grpc: "http://127.0.0.1:1".into(),
            http: "http://127.0.0.1:2".into(),
        };
        endpoint.publish(data.path()).unwrap();
        assert_eq!(Endpoint::of_running(data.path()), None);
        let lock = DirectoryLock::take(data.path()).unwrap().unwrap();
        assert!(DirectoryLock::take(data.path()).unwrap().is_none());
        assert_eq!(Endpoint::of_running(data.path()), Some(endpoint));
        drop(lock);
        assert_eq!(Endpoint::of_running(data.path()), None);
    }
}
