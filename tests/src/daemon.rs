//! Coordinators and agents of a test.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Outcome, muster};
use crate::orphans::replica_processes;
use crate::wait::until;

/// What a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Both in one process.
    Up,
    /// A coordinator.
    Coordinator,
    /// An agent.
    Agent,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    role: Role,
}

/// A data directory and what runs on it.
#[derive(Debug)]
pub struct Place {
    directory: Option<TempDir>,
    data: PathBuf,
    grpc: u16,
    http: u16,
    daemons: Vec<Daemon>,
    /// Further flags of the agent, at the next start.
    pub flags: Vec<String>,
    /// Further flags of the coordinator, at the next start.
    pub coordinator_flags: Vec<String>,
    /// The members that clients and the agent know, if not only the one of this place.
    pub servers: Option<String>,
    /// The token of another place.
    pub token: Option<PathBuf>,
    keep: bool,
    scheme: &'static str,
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// Environments are shared between tests, and with the machine's own Muster: they are large.
pub(crate) fn environments() -> PathBuf {
    let named = std::env::var_os("MUSTER_ENVIRONMENTS").filter(|path| !path.is_empty());
    let home = || {
        let home = std::env::var_os("HOME").expect("a home directory");
        Path::new(&home).join(".local/share/muster/environments")
    };
    named.map_or_else(home, PathBuf::from)
}

impl Daemon {
    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is our child");
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    fn terminate(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A daemon that has ended by itself needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

impl Place {
    /// An empty data directory.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("muster-test-").tempdir();
        let directory = directory.expect("a temporary directory");
        let data = directory.path().to_path_buf();
        Self {
            directory: Some(directory),
            data,
            grpc: free_port(),
            http: free_port(),
            daemons: Vec::new(),
            flags: Vec::new(),
            coordinator_flags: Vec::new(),
            servers: None,
            token: None,
            keep: false,
            scheme: "http",
        }
    }

    /// A place with a coordinator and an agent in one process, ready.
    #[must_use]
    pub fn up() -> Self {
        let mut place = Self::new();
        place.start(Role::Up);
        place.wait_until_ready();
        place
    }

    /// As [`Place::up`], with further flags for the agent.
    #[must_use]
    pub fn up_with(flags: &[&str]) -> Self {
        let mut place = Self::new();
        place.flags = flags.iter().map(ToString::to_string).collect();
        place.start(Role::Up);
        place.wait_until_ready();
        place
    }

    /// A place with a coordinator and an agent in two processes, ready.
    #[must_use]
    pub fn apart() -> Self {
        let mut place = Self::new();
        place.start(Role::Coordinator);
        place.wait_until_ready();
        place.start(Role::Agent);
        place.wait_for_node();
        place
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The coordinator here speaks TLS.
    pub fn speak_tls(&mut self) {
        self.scheme = "https";
    }

    /// The gRPC address.
    #[must_use]
    pub fn server(&self) -> String {
        self.servers.clone().unwrap_or_else(|| self.own_server())
    }

    /// The address of this place's own coordinator.
    #[must_use]
    pub fn own_server(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.grpc)
    }

    /// Up to which entry this place's coordinator has applied the log, and the digest of what came of it.
    #[must_use]
    pub fn applied(&self) -> Option<(u64, String)> {
        let outcome = self.muster(&["status", "-o", "json"]);
        let status = (outcome.code == 0).then(|| outcome.json())?;
        Some((status["appliedIndex"].as_u64()?, status["digest"].as_str()?.to_owned()))
    }

    /// The HTTP address.
    #[must_use]
    pub fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// A command against this place's coordinator.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = muster();
        command
            .args(arguments)
            .env("MUSTER_DATA_DIR", &self.data)
            .env("MUSTER_SERVER", self.server())
            .env("MUSTER_ENVIRONMENTS", environments());
        if let Some(token) = &self.token {
            command.env("MUSTER_TOKEN_FILE", token);
        }
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn muster(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments).output().expect("muster runs"))
    }

    /// A daemon's command line.
    fn daemon_command(&self, role: Role) -> Command {
        let mut command = muster();
        command.env("MUSTER_DATA_DIR", &self.data).env("MUSTER_ENVIRONMENTS", environments());
        let grpc = format!("127.0.0.1:{}", self.grpc);
        let http = format!("127.0.0.1:{}", self.http);
        match role {
            Role::Up => {
                command.args(["up", "--listen", &grpc, "--http-listen", &http]).args(&self.flags)
            }
            Role::Coordinator => {
                let doors = ["coordinator", "--listen", &grpc, "--http-listen", &http];
                command.args(doors).args(&self.coordinator_flags)
            }
            Role::Agent => {
                let server = ["agent", "--server", &self.server(), "--address", "127.0.0.1"];
                command.args(server).args(&self.flags)
            }
        };
        if let Some(token) = &self.token {
            command.env("MUSTER_TOKEN_FILE", token);
        }
        command
    }

    /// Starts a daemon.
    pub fn start(&mut self, role: Role) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.join(format!("{role:?}.log").to_lowercase()))
            .expect("a log file");
        let child = self
            .daemon_command(role)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("muster starts");
        self.daemons.retain(|daemon| daemon.role != role);
        self.daemons.push(Daemon { child, role });
    }

    /// The daemon of a role.
    ///
    /// # Panics
    /// When none was started.
    pub fn daemon(&mut self, role: Role) -> &mut Daemon {
        let found = self.daemons.iter_mut().find(|daemon| daemon.role == role);
        found.expect("it was started")
    }

    /// Kills a daemon with SIGKILL.
    pub fn kill(&mut self, role: Role) {
        self.daemon(role).kill();
    }

    /// Asks a daemon to stop and waits until it has.
    pub fn stop(&mut self, role: Role) {
        self.daemon(role).terminate();
    }

    /// Waits until the coordinator is ready.
    pub fn wait_until_ready(&self) {
        until("the coordinator is ready", || {
            self.get_http("/readyz").filter(|body| body == "ok\n")
        });
        if self.daemons.iter().any(|daemon| daemon.role == Role::Up) {
            self.wait_for_node();
        }
    }

    /// Waits until an agent has a session.
    pub fn wait_for_node(&self) {
        until("the agent is connected", || {
            let status = self.muster(&["status", "-o", "json"]);
            (status.code == 0 && status.json()["sessions"] == 1).then_some(())
        });
    }

    /// The body of an HTTP answer with status 200.
    #[must_use]
    pub fn get_http(&self, path: &str) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.http()).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// A job's summary as `explain` gives it.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<Value> {
        let outcome = self.muster(&["explain", name, "-o", "json"]);
        (outcome.code == 0).then(|| outcome.json())
    }

    /// A job's object.
    #[must_use]
    pub fn object(&self, name: &str) -> Value {
        self.muster(&["get", "pytorchjob", name, "-o", "json"]).ok().json()
    }

    /// Waits until a job is in a phase.
    pub fn wait_for_phase(&self, name: &str, phase: &str) -> Value {
        until(&format!("{name} is {phase}"), || {
            let job = self.job(name)?;
            let ended = matches!(job["phase"].as_str(), Some("Succeeded" | "Failed"));
            assert!(!ended || job["phase"] == phase, "{name} has ended otherwise: {job:#}");
            (job["phase"] == phase).then_some(job)
        })
    }

    /// Leaves the directory behind, to be looked at.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Every daemon's log, for failure messages.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["up.log", "coordinator.log", "agent.log"] {
            if let Ok(log) = std::fs::read_to_string(self.data.join(name)) {
                text.push_str(&format!("--- {name}\n{log}"));
            }
        }
        text
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            daemon.terminate();
        }
        // What a failed test left running must not disturb the next one.
        for pid in replica_processes(&self.data) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if self.keep || std::thread::panicking() {
            eprintln!("left for a look: {}\n{}", self.data.display(), self.logs());
            if let Some(directory) = self.directory.take() {
                let _ = directory.keep();
            }
        }
    }
}
