//! A cluster on machines of its own, made as the documentation says: TLS, and everybody joins with a token.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Outcome, muster};
use crate::daemon::environments;
use crate::net::Net;
use crate::orphans::replica_processes;
use crate::wait::until;

const PORT: u16 = 7450;

/// A cluster whose coordinators are machines 0 .. C and whose agents are the machines after them.
#[derive(Debug)]
pub struct Machines {
    /// The network.
    pub net: Net,
    directory: TempDir,
    coordinators: usize,
    agents: usize,
    daemons: Vec<Option<Child>>,
    /// Further flags of coordinators, at the next start.
    pub coordinator_flags: Vec<String>,
    agent_flags: Vec<String>,
}

impl Machines {
    /// So many coordinators and agents, all connected; `None` where that is not permitted.
    #[must_use]
    pub fn start(coordinators: usize, agents: usize) -> Option<Self> {
        Self::start_with((coordinators, &[]), (agents, &[]))
    }

    /// As [`Machines::start`], with further flags for the coordinators and for the agents.
    #[must_use]
    pub fn start_with(
        (coordinators, flags): (usize, &[&str]),
        (agents, agent_flags): (usize, &[&str]),
    ) -> Option<Self> {
        let net = Net::new(coordinators + agents)?;
        let directory = tempfile::Builder::new().prefix("muster-machines-").tempdir();
        let mut machines = Self {
            net,
            directory: directory.expect("a temporary directory"),
            coordinators,
            agents,
            daemons: (0..coordinators + agents).map(|_| None).collect(),
            coordinator_flags: flags.iter().map(ToString::to_string).collect(),
            agent_flags: agent_flags.iter().map(ToString::to_string).collect(),
        };
        machines.launch(0);
        until("the first coordinator answers", || {
            (machines.at(0, &["status"]).code == 0).then_some(())
        });
        for machine in 1..coordinators {
            machines.token(machine, "member");
            machines.launch(machine);
        }
        machines.wait_for_votes();
        for machine in machines.agents() {
            machines.token(machine, "agent");
            machines.launch(machine);
        }
        until("all agents are connected", || {
            let status = machines.muster(&["status", "-o", "json"]);
            (status.code == 0 && status.json()["sessions"] == machines.agents).then_some(())
        });
        Some(machines)
    }

    /// The machines with agents.
    #[must_use]
    pub fn agents(&self) -> std::ops::Range<usize> {
        self.coordinators..self.coordinators + self.agents
    }

    /// The machines with coordinators.
    #[must_use]
    pub fn coordinators(&self) -> std::ops::Range<usize> {
        0..self.coordinators
    }

    /// A machine's data directory.
    #[must_use]
    pub fn data(&self, machine: usize) -> PathBuf {
        self.directory.path().join(format!("m{machine}"))
    }

    /// Where files of the test itself lie, for all machines.
    #[must_use]
    pub fn shared(&self) -> &Path {
        self.directory.path()
    }

    fn token_file(&self, machine: usize) -> PathBuf {
        self.directory.path().join(format!("join-{machine}"))
    }

    /// Makes a join token for a machine.
    fn token(&self, machine: usize, role: &str) {
        let made = self.at(0, &["token", "create", "--role", role]).ok();
        let file = self.token_file(machine);
        fs::write(&file, made.stdout).expect("room");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    }

    fn address(machine: usize) -> String {
        format!("{}:{PORT}", Net::address(machine))
    }

    /// All coordinators, as clients name them.
    #[must_use]
    pub fn servers(&self) -> String {
        let all: Vec<String> =
            self.coordinators().map(|one| format!("https://{}", Self::address(one))).collect();
        all.join(",")
    }

    /// Starts a machine's daemon.
    pub fn launch(&mut self, machine: usize) {
        let token = self.token_file(machine).to_string_lossy().into_owned();
        let mut command = self.own(machine);
        if machine < self.coordinators {
            command.args(["coordinator", "--listen", &Self::address(machine)]);
            command.args(&self.coordinator_flags);
            if machine > 0 {
                command.args(["--join", &Self::address(0), "--join-token-file", &token]);
            }
        } else {
            command.args(["agent", "--server", &self.servers(), "--join-token-file", &token]);
            command.args(["--node-name", &format!("node-{machine}"), "--run-as", "root"]);
            command.args(&self.agent_flags);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join(format!("m{machine}.log")))
            .expect("a log file");
        let child = self
            .net
            .on(machine, &command)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("muster starts");
        self.daemons[machine] = Some(child);
    }

    /// Muster on a machine's data directory.
    fn own(&self, machine: usize) -> Command {
        let mut command = muster();
        command
            .env("MUSTER_DATA_DIR", self.data(machine))
            .env("MUSTER_ENVIRONMENTS", environments());
        command
    }

    /// Runs a command on a coordinator's machine against that very coordinator.
    #[must_use]
    pub fn at(&self, machine: usize, arguments: &[&str]) -> Outcome {
        let mut command = self.own(machine);
        command.args(arguments);
        Outcome::of(self.net.on(machine, &command).output().expect("muster runs"))
    }

    /// Runs a command on the first machine, with a client that knows all coordinators.
    #[must_use]
    pub fn muster(&self, arguments: &[&str]) -> Outcome {
        self.from(0, arguments)
    }

    /// Runs a command on some coordinator's machine, with a client that knows all coordinators.
    #[must_use]
    pub fn from(&self, machine: usize, arguments: &[&str]) -> Outcome {
        let mut command = self.own(machine);
        command.env("MUSTER_SERVER", self.servers()).args(arguments);
        Outcome::of(self.net.on(machine, &command).output().expect("muster runs"))
    }

    fn wait_for_votes(&self) {
        until("all members vote", || {
            let list = self.at(0, &["members", "-o", "json"]);
            let items = (list.code == 0).then(|| list.json()["items"].as_array().cloned())??;
            let votes = |one: &&Value| matches!(one["role"].as_str(), Some("Leader" | "Voter"));
            (items.iter().filter(votes).count() == self.coordinators).then_some(())
        });
    }

    /// What one coordinator says of itself, if it answers.
    #[must_use]
    pub fn status(&self, machine: usize) -> Option<Value> {
        let status = self.at(machine, &["status", "-o", "json"]);
        (status.code == 0).then(|| status.json())
    }

    /// The coordinator that leads, among some that may be looked at.
    #[must_use]
    pub fn leader(&self, among: &[usize]) -> usize {
        until("somebody leads", || {
            among.iter().copied().find(|one| {
                let status = self.status(*one);
                status.is_some_and(|status| {
                    status["member"] == status["leader"] && status["leader"] != 0
                })
            })
        })
    }

    /// Waits until all coordinators have applied the same, and checks that it is the same.
    pub fn wait_for_agreement(&self) {
        until("all coordinators agree", || {
            let states: Option<Vec<(u64, String)>> = self
                .coordinators()
                .map(|one| {
                    let status = self.status(one)?;
                    Some((status["appliedIndex"].as_u64()?, status["digest"].as_str()?.to_owned()))
                })
                .collect();
            let states = states?;
            let (index, digest) = states.first()?.clone();
            let is_same = states.iter().all(|(applied, _)| *applied == index);
            if is_same {
                let same = states.iter().all(|(_, other)| *other == digest);
                assert!(same, "coordinators differ at index {index}: {states:?}");
            }
            is_same.then_some(())
        });
    }

    /// Waits until a job is in a phase, as seen from a machine.
    pub fn wait_for_phase(&self, name: &str, phase: &str) -> Value {
        until(&format!("{name} is {phase}"), || {
            let outcome = self.muster(&["explain", name, "-o", "json"]);
            let job = (outcome.code == 0).then(|| outcome.json())?;
            let ended = matches!(job["phase"].as_str(), Some("Succeeded" | "Failed"));
            let logs = || self.muster(&["logs", name]).stdout;
            assert!(
                !ended || job["phase"] == phase,
                "{name} has ended otherwise: {job:#}\n{}",
                logs()
            );
            (job["phase"] == phase).then_some(job)
        })
    }

    /// Waits until every agent's node is ready.
    pub fn wait_for_ready_nodes(&self) {
        until("all nodes are ready", || {
            let nodes = self.muster(&["nodes"]).stdout;
            (nodes.lines().filter(|line| line.contains(" Ready ")).count() == self.agents)
                .then_some(())
        });
    }

    /// Sends a signal to a machine's daemon.
    pub fn signal(&self, machine: usize, signal: Signal) {
        let child = self.daemons[machine].as_ref().expect("it was started");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    /// Kills a machine's daemon with SIGKILL.
    pub fn kill(&mut self, machine: usize) {
        let mut child = self.daemons[machine].take().expect("it was started");
        child.kill().expect("it is ours");
        child.wait().expect("it is our child");
    }

    /// What runs of replicas on a machine.
    #[must_use]
    pub fn replica_processes(&self, machine: usize) -> Vec<i32> {
        replica_processes(&self.data(machine))
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for machine in 0..self.daemons.len() {
            let path = self.directory.path().join(format!("m{machine}.log"));
            if let Ok(log) = fs::read_to_string(path) {
                text.push_str(&format!("--- machine {machine}\n{log}"));
            }
        }
        text
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        for child in self.daemons.iter_mut().flatten() {
            // One that has ended by itself needs none of this.
            let _ = child.kill();
            let _ = child.wait();
        }
        for machine in self.agents() {
            for pid in replica_processes(&self.data(machine)) {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }
}
