//! The embedded coordinator and agent: one process per data directory, found by its endpoint file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::exit::Failure;
use crate::output::{Spinner, say};

/// An embedded daemon that was started by a client stops after this long without work.
const IDLE: &str = "15m";
/// How long a daemon that lives may take to say so.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a daemon may take to start or to stop, and how often it is looked at.
const TURN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_TWICE: Duration = Duration::from_millis(200);
/// How large the log of a daemon may be when it is started; beyond it is put aside.
const LOG_BYTES: u64 = 10 << 20;
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

    /// As [`Endpoint::of_running`], if the daemon also answers: one that is dying still holds the lock for a moment.
    pub(crate) fn of_answering(data: &Path) -> Option<Self> {
        Self::of_running(data).filter(Self::answers)
    }

    /// Whether the HTTP door says that the daemon lives.
    fn answers(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let is_tls = self.http.starts_with("https://");
            let address = self.http.split_once("://").map_or(&*self.http, |(_, address)| address);
            let address: SocketAddr = address.parse().map_err(io::Error::other)?;
            let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
            if is_tls {
                // It is the lock that says that it lives, and this that it is not about to go.
                return Ok(true);
            }
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n")?;
            let mut start = [0; 12];
            stream.read_exact(&mut start)?;
            Ok(start.ends_with(b" 200"))
        };
        ask().unwrap_or(false)
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

/// What comes of wanting to be the daemon of a directory.
pub(crate) enum Turn {
    /// It is ours.
    Ours(DirectoryLock),
    /// Another one is up.
    Another(Endpoint),
}

/// Takes the directory, or finds the daemon that has it. One that is just starting or stopping is waited for.
pub(crate) fn turn(data: &Path) -> Result<Turn, Failure> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = DirectoryLock::take(data)? {
            return Ok(Turn::Ours(lock));
        }
        if let Some(endpoint) = Endpoint::of_answering(data) {
            // It may have been told to stop just now and not know it yet.
            park_timeout(LOOK_TWICE);
            if Endpoint::of_answering(data).as_ref() == Some(&endpoint) {
                return Ok(Turn::Another(endpoint));
            }
            continue;
        }
        if begin.elapsed() > TURN_WITHIN {
            let pid = Endpoint::of_running(data).map(|endpoint| format!(" (pid {})", endpoint.pid));
            let message = format!(
                "another muster{} holds {} and does not answer; end it, or choose another --data-dir",
                pid.unwrap_or_default(),
                data.display()
            );
            return Err(Failure::unreachable("M5003", message));
        }
        if begin.elapsed() > Duration::from_secs(1) && !std::mem::replace(&mut told, true) {
            say(format!("another muster is starting or stopping on {}; waiting", data.display()));
        }
        park_timeout(LOOK_AGAIN);
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
        let message = format!("the daemon cannot be started in {}: {error}", data.display());
        Failure::unreachable("M5003", message)
    };
    make_private(data).map_err(failed)?;
    let log_path = data.join("daemon.log");
    if fs::metadata(&log_path).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(&log_path, data.join("daemon.log.1")).map_err(failed)?;
    }
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path).map_err(failed)?;
    let begun = log.metadata().map_err(failed)?.len();
    let (reader, writer) = io::pipe().map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["up", "--background"]).args(arguments).arg("--data-dir").arg(data);
    if let Some(filter) = &global.log {
        command.env("MUSTER_LOG", filter);
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
            let last = last_lines(&log_path, begun);
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

/// Makes a directory that only its owner may enter. One that is there and open to others is closed to them: manifests
/// may hold secrets, and the state holds manifests.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::metadata(path)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let message = format!(
            "it belongs to another user (uid {}), who could read and change everything in it; use a directory of your own",
            metadata.uid()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        say(format!("{} was open to other users; it is now closed to them", path.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The last lines of a log that were written from `begun` on.
fn last_lines(path: &Path, begun: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let from = begun.max(length.saturating_sub(64 << 10));
        let _ = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
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
