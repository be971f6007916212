//! The two servers, each in a process of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muster_benches::{is_measurement, version};

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// How long it took to make the server, without the start of its process.
    pub(crate) made_in: Duration,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Ours, built as the caller is.
pub(crate) fn ours() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "muster-rendezvous", "--example", "serve"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.current_dir(repository()).status().expect("cargo runs");
    assert!(built.success(), "the server does not build");
    let own = std::env::current_exe().expect("this program");
    // target/PROFILE/deps/rendezvous-HASH
    let profile = own.ancestors().nth(2).expect("a folder of a profile");
    Command::new(profile.join("examples/serve"))
}

/// torch's, and its version; `None`, with a word why, where it is not to be measured or cannot be had.
pub(crate) fn torch() -> Option<(Command, String)> {
    if !is_measurement() {
        eprintln!("skipped: torch's server takes part in measurements only (cargo bench)");
        return None;
    }
    let tests = repository().join("worker/rendezvous/tests/conformance");
    let wanted = std::env::var("MUSTER_TEST_TORCH").unwrap_or_else(|_| "2.15.0".into());
    let built = Command::new("python3")
        .arg(tests.join("torch_environment.py"))
        .arg(&wanted)
        .arg(repository().join("target/test-envs"))
        .output()
        .ok()?;
    if !built.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&built.stderr).trim());
        return None;
    }
    let text = String::from_utf8_lossy(&built.stdout).into_owned();
    let python = PathBuf::from(text.lines().last()?);
    let python_version = version(&python.to_string_lossy(), "--version").unwrap_or_default();
    let mut command = Command::new(&python);
    command.arg(tests.join("store_client.py")).arg("serve");
    Some((command, format!("torch {wanted} (libuv), {python_version}")))
}

impl Server {
    /// Starts it; its first line is its port and the seconds that it took to make it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it tells its port");
        let mut words = line.split_whitespace();
        let port = words.next().and_then(|word| word.parse().ok()).expect("a port");
        let seconds = words.next().and_then(|word| word.parse().ok()).expect("seconds");
        Self { child, port, made_in: Duration::from_secs_f64(seconds) }
    }

    /// The processor time that it has used.
    pub(crate) fn processor(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
