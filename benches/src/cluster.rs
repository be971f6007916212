//! A Muster to be measured: one coordinator and some agents, each in its own process, on this machine.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use muster_tests::{muster, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// One coordinator and some agents.
#[derive(Debug)]
pub struct Cluster {
    directory: TempDir,
    server: String,
    daemons: Vec<Child>,
}

/// Runs a command to its end and tells how long it took.
///
/// # Panics
/// When it fails.
pub fn timed(command: &mut Command) -> (Duration, Output) {
    let start = Instant::now();
    let output = command.output().expect("the program is there");
    let took = start.elapsed();
    assert!(output.status.success(), "{command:?} failed: {output:?}");
    (took, output)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

impl Cluster {
    /// Starts a coordinator and agents of the same capacity, and waits until all of them are connected.
    ///
    /// # Panics
    /// When they do not start.
    #[must_use]
    pub fn start(agents: usize, capacity: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = format!("http://127.0.0.1:{}", free_port());
        let mut cluster = Self { directory, server, daemons: Vec::new() };
        let listen = cluster.server.trim_start_matches("http://").to_owned();
        let http = format!("127.0.0.1:{}", free_port());
        let data = cluster.data("coordinator");
        let arguments = ["coordinator", "--listen", &listen, "--http-listen", &http];
        cluster.spawn(&data, &arguments);
        until("there is a token", || cluster.token().exists().then_some(()));
        for number in 1..=agents {
            let name = format!("n{number}");
            let data = cluster.data(&name);
            let mut arguments = vec!["agent", "--node-name", &name];
            if !capacity.is_empty() {
                arguments.extend(["--capacity", capacity]);
            }
            cluster.spawn(&data, &arguments);
        }
        until("all agents are connected", || {
            let output = cluster.muster(&["status", "-o", "json"]).output().ok()?;
            let status: Value = serde_json::from_slice(&output.stdout).ok()?;
            (status["sessions"] == agents).then_some(())
        });
        cluster
    }

    /// A directory of the cluster's own.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The daemons' pids: the coordinator's, then the agents'.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Child::id).collect()
    }

    /// A command of a client.
    #[must_use]
    pub fn muster(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment(muster(), &self.data("client"));
        command.args(arguments);
        command
    }

    fn environment(&self, mut command: Command, data: &Path) -> Command {
        command
            .env("MUSTER_DATA_DIR", data)
            .env("MUSTER_SERVER", &self.server)
            .env("MUSTER_TOKEN_FILE", self.token());
        if std::env::var_os("MUSTER_ENVIRONMENTS").is_none() {
            let home = std::env::var_os("HOME").unwrap_or_default();
            let shared = Path::new(&home).join(".local/share/muster/environments");
            command.env("MUSTER_ENVIRONMENTS", shared);
        }
        command
    }

    fn data(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).expect("room for a directory");
        path
    }

    fn token(&self) -> PathBuf {
        self.path().join("coordinator/token")
    }

    fn spawn(&mut self, data: &Path, arguments: &[&str]) {
        let mut command = self.environment(muster(), data);
        if arguments[0] == "coordinator" {
            command.env_remove("MUSTER_SERVER").env_remove("MUSTER_TOKEN_FILE");
        }
        let log = std::fs::File::create(data.join("log")).expect("room for a log");
        let child = command.args(arguments).stdout(Stdio::null()).stderr(log).spawn();
        self.daemons.push(child.expect("muster starts"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            if let Some(pid) = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw) {
                // One that has ended by itself needs no signal.
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = daemon.wait();
        }
    }
}
