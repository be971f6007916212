//! What a process runtime needs to know.

use std::path::PathBuf;
use std::time::Duration;

use muster_agent_core::launch::{NodeFacts, host_variables, portable_variables};

use crate::machine::{CgroupOptions, Machine};

/// The size at which a log file is full, in bytes.
const LOG_LIMIT: u64 = 64 << 20;

const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What a process runtime needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where replicas, their volumes and their logs lie. Absolute; one agent's only.
    pub data: PathBuf,
    /// How a shim is started.
    pub shim: ShimCommand,
    /// What the node adds to every container's environment.
    pub node: NodeFacts,
    /// The indices of the GPUs that may be given away.
    pub gpus: Vec<u32>,
    /// The size at which a log file is full, in bytes. Two files are kept for each replica and generation.
    pub log_limit: u64,
    /// Where control groups are made.
    pub cgroups: CgroupOptions,
    /// How long after the end of a grace period a shim may take to end its replica. One that takes longer hangs, and
    /// is killed with all that it holds.
    pub stop_patience: Duration,
}

/// A command line to which a replica's directory is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimCommand {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

impl ShimCommand {
    /// `muster shim`, for the program that this is: the very file that runs, even when another has
    /// meanwhile been installed in its place.
    #[must_use]
    pub fn own() -> Self {
        Self { program: "/proc/self/exe".into(), arguments: vec!["shim".into()] }
    }
}

impl Config {
    /// The usual configuration of a node.
    ///
    /// `environment` is the agent's own; of it, replicas see what is listed in [`portable_variables`] and
    /// [`host_variables`].
    #[must_use]
    pub fn new(
        data: PathBuf,
        (name, address): (&str, &str),
        machine: &Machine,
        environment: &[(String, String)],
    ) -> Self {
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let gpus = machine.gpu_indices();
        Self {
            data,
            shim: ShimCommand::own(),
            node: NodeFacts {
                name: name.to_owned(),
                address: address.to_owned(),
                millicores: machine.millicores(),
                has_gpus: !gpus.is_empty(),
                path: path.map(|(_, value)| value.clone()),
                portable: portable_variables(environment),
                host: host_variables(environment),
            },
            gpus,
            log_limit: LOG_LIMIT,
            cgroups: CgroupOptions::default(),
            stop_patience: STOP_PATIENCE,
        }
    }
}
