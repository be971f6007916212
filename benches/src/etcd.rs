//! Three members of etcd on this machine, with the timeouts that it has of its own accord.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_tests::until;
use serde_json::Value;
use tempfile::TempDir;

/// Ports of one member.
#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    peer: u16,
}

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    directory: TempDir,
    ports: Vec<Ports>,
    members: Vec<Child>,
    /// Its version.
    pub version: String,
    writes: u32,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

impl Etcd {
    /// Three members that take writes.
    ///
    /// # Errors
    /// Why there are none.
    pub fn start() -> Result<Self, String> {
        let output = Command::new("etcd").arg("--version").output();
        let output = output.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().next().unwrap_or_default().replace(" Version:", "");
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let ports = (0..3).map(|_| Ports { client: free_port(), peer: free_port() }).collect();
        let mut etcd = Self { directory, ports, members: Vec::new(), version, writes: 0 };
        for number in 0..3 {
            let child = etcd.spawn(number).map_err(|error| error.to_string())?;
            etcd.members.push(child);
        }
        until("etcd takes writes", || etcd.put().then_some(()));
        Ok(etcd)
    }

    fn spawn(&self, number: usize) -> std::io::Result<Child> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> = (0..3)
            .map(|number: usize| format!("m{number}={}", url(self.ports[number].peer)))
            .collect();
        let Ports { client, peer } = self.ports[number];
        let data = self.directory.path().join(format!("m{number}"));
        Command::new("etcd")
            .args(["--name", &format!("m{number}"), "--data-dir", &data.to_string_lossy()])
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--logger", "zap", "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let endpoints: Vec<String> =
            self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.client)).collect();
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints.join(","), "--command-timeout", "500ms"])
            .args(["--dial-timeout", "500ms"])
            .args(arguments)
            .stderr(Stdio::null());
        command
    }

    fn put(&mut self) -> bool {
        self.writes += 1;
        let key = format!("round-{}", self.writes);
        let output = self.control(&["put", &key, "value"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// What each member that answers says of itself, by its place; with the leader's id.
    fn status(&self) -> Vec<(usize, Value)> {
        (0..3)
            .filter_map(|number| {
                let mut command = Command::new("etcdctl");
                let endpoint = format!("127.0.0.1:{}", self.ports[number].client);
                command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]);
                command.args(["endpoint", "status", "-w", "json"]).stderr(Stdio::null());
                let output = command.output().ok().filter(|output| output.status.success())?;
                let list: Value = serde_json::from_slice(&output.stdout).ok()?;
                Some((number, list[0]["Status"].clone()))
            })
            .collect()
    }

    /// Where the leader's clients connect, HOST:PORT.
    #[must_use]
    pub fn leader_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[self.leader()].client)
    }

    fn leader(&self) -> usize {
        until("etcd has a leader and all its members", || {
            let all = self.status();
            let leader = all.iter().find(|(_, status)| {
                status["leader"] == status["header"]["member_id"] && status["leader"] != 0
            });
            leader.filter(|_| all.len() == 3).map(|(number, _)| *number)
        })
    }

    /// Kills the leader; answers after how long the next write was acknowledged. The member comes back.
    pub fn fail_over(&mut self) -> Duration {
        let leader = self.leader();
        let start = Instant::now();
        self.members[leader].kill().expect("it is ours");
        self.members[leader].wait().expect("it is our child");
        while !self.put() {}
        let took = start.elapsed();
        self.members[leader] = self.spawn(leader).expect("it started before");
        took
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
