//! Real torch clients, the same ones against this store and against torch's own server.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use muster_rendezvous::{Event, Options};

use crate::client::Site;

/// The oldest version that is understood, one from the middle, the newest; and one that must be refused.
const VERSIONS: &str = "2.1.2,2.2.2,2.6.0,2.15.0";
/// `torch_environment.py` says with it that this machine cannot build an environment.
const CANNOT: i32 = 75;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn cache() -> PathBuf {
    let named = std::env::var_os("MUSTER_TEST_CACHE").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-envs"))
}

/// The interpreter with a version of torch; `None`, and a word why, where there can be none.
fn python(version: &str) -> Option<PathBuf> {
    let built = Command::new("python3")
        .arg(script("torch_environment.py"))
        .arg(version)
        .arg(cache())
        .output();
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            eprintln!("skipped: torch {version}: python3: {error}");
            return None;
        }
    };
    if built.status.code() == Some(CANNOT) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&built.stderr).trim());
        return None;
    }
    assert!(built.status.success(), "{built:?}");
    let text = String::from_utf8_lossy(&built.stdout).into_owned();
    text.lines().last().map(PathBuf::from)
}

/// The versions to test, as (major, minor) and in full.
fn versions() -> Vec<((u32, u32), String)> {
    let named = std::env::var("MUSTER_TEST_TORCH").unwrap_or_else(|_| VERSIONS.to_owned());
    let parse = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        (number, version.trim().to_owned())
    };
    named.split(',').map(parse).collect()
}

fn client(python: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(script("store_client.py")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines that begin so; gloo has a word of its own in some versions.
fn lines_with(text: &str, prefix: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

/// torch's own server.
struct TorchServer {
    child: Child,
    port: String,
}

impl TorchServer {
    fn start(python: &Path) -> Self {
        let mut child = client(python, &["serve"]).stdin(Stdio::piped()).spawn().expect("python");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("it tells its port");
        let port = port.split_whitespace().next().expect("a port").to_owned();
        Self { child, port }
    }
}

impl Drop for TorchServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What each operation gives must be what it gives with torch's own server.
fn operations_are_the_same(python: &Path, version: &str) {
    let theirs = TorchServer::start(python);
    let expected = client(python, &["operations", &theirs.port]).output().expect("python");
    let site = Site::new();
    let port = site.server.port().to_string();
    let ours = client(python, &["operations", &port]).output().expect("python");
    let (expected, ours) = (said(&expected), said(&ours));
    assert!(expected.lines().count() > 20, "torch {version}: {expected}");
    for (expected, ours) in expected.lines().zip(ours.lines()) {
        let [expected, ours] = [expected, ours].map(|line| line.get(..300).unwrap_or(line));
        assert_eq!(ours, expected, "torch {version}");
    }
    assert_eq!(ours.lines().count(), expected.lines().count(), "torch {version}");
}

/// Four ranks meet, again and again in the same processes.
fn ranks_meet_again_and_again(python: &Path, version: &str) {
    let site = Site::with(Options { world_size: Some(4), ..Options::default() });
    let port = site.server.port().to_string();
    let ranks: Vec<Child> = ["0", "1", "2", "3"]
        .iter()
        .map(|rank| client(python, &["train", &port, rank, "4", "6"]).spawn().expect("python"))
        .collect();
    for (rank, child) in ranks.into_iter().enumerate() {
        let text = said(&child.wait_with_output().expect("it is our child"));
        let text = lines_with(&text, "round ");
        let value = if rank == 0 || rank == 3 { "[12.0, 12.0, 12.0]" } else { "[6.0, 6.0, 6.0]" };
        let expected = (0..6).map(|number| format!("round {number}: {value}")).collect::<Vec<_>>();
        assert_eq!(text, expected, "torch {version}, rank {rank}");
    }
    site.until("six rounds of init", |stats| stats.inits == 6);
}

/// Two launchers of torchrun meet at our store, which neither of them hosts.
fn torchrun_meets_here(python: &Path, version: &str) {
    let site = Site::new();
    let endpoint = format!("127.0.0.1:{}", site.server.port());
    let launch = || {
        let mut command = Command::new(python);
        command.args(["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]);
        command.args(["--rdzv-backend", "c10d", "--rdzv-conf", "is_host=false"]);
        command.args(["--rdzv-id", "1", "--rdzv-endpoint", &endpoint]);
        command.args(["--local-addr", "127.0.0.1"]);
        command.arg(script("store_client.py")).arg("rank");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("python")
    };
    let launchers = [launch(), launch()];
    let mut lines: Vec<String> = launchers
        .into_iter()
        .map(|launcher| said(&launcher.wait_with_output().expect("it is our child")))
        .flat_map(|text| lines_with(&text, "rank "))
        .collect();
    lines.sort();
    assert_eq!(lines, ["rank 0 of 2: 2.0", "rank 1 of 2: 2.0"], "torch {version}");
}

/// A torch that speaks another protocol is refused with a sentence, and does not hang.
fn old_torch_is_refused(python: &Path, version: &str) {
    let site = Site::new();
    let port = site.server.port().to_string();
    let output = client(python, &["operations", &port]).output().expect("python");
    let event = site.event();
    assert!(matches!(event, Event::OldTorch { .. }), "torch {version}: {event:?}, {output:?}");
    assert!(event.to_string().contains("2.2"), "{event}");
}

#[test]
fn every_version_of_torch_finds_what_it_expects() {
    for (number, version) in versions() {
        let Some(python) = python(&version) else { continue };
        if number < (2, 2) {
            old_torch_is_refused(&python, &version);
            continue;
        }
        operations_are_the_same(&python, &version);
        ranks_meet_again_and_again(&python, &version);
        torchrun_meets_here(&python, &version);
    }
}
