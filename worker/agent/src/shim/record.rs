//! What lies in a replica's directory. Everything that is needed to go on after a crash is there:
//!
//! | file | written by | when | meaning |
//! |---|---|---|---|
//! | `launch.json` | agent | first | the replica is being prepared; a directory without it never was |
//! | `control.sock` | agent | then | the shim listens on it for as long as it lives |
//! | `shim.json` | shim | at its start | processes of the replica may exist |
//! | `exit.json` | shim, or the agent for a shim that was killed | last | nothing of it exists any more |
//! | `shim.log` | shim | | its own complaints |
//! | `layers/` | agent | before `launch.json` | what the containers' installers write to |
//! | `files/` | shim | once the generation is open | the files of the job's kind |
//! | `volumes/`, `work/`, `mounts/` | shim | | what its containers see |
//!
//! Files appear whole: they are written beside their place and renamed into it. They are not forced to
//! disk: when the machine stops, the processes are gone anyway, and the agent tells so by the missing shim.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use muster_agent_core::launch::{NodeFacts, Toolbox};
use muster_environments::Users;
use muster_model::{Exit, LaunchSpec};
use serde::{Deserialize, Serialize};

use crate::machine::cgroup::Groups;

pub(crate) const LAUNCH: &str = "launch.json";
pub(crate) const SOCKET: &str = "control.sock";
pub(crate) const SHIM: &str = "shim.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SHIM_LOG: &str = "shim.log";
pub(crate) const LAYERS: &str = "layers";
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const WORK: &str = "work";
pub(crate) const FILES: &str = "files";
pub(crate) const MOUNTS: &str = "mounts";

/// Everything that a shim needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The replica.
    pub(crate) spec: LaunchSpec,
    /// What its processes carry in their environment, and nobody else's.
    pub(crate) marker: String,
    /// The node.
    pub(crate) node: NodeFacts,
    /// One for each init container and then one for each container.
    pub(crate) containers: Vec<ContainerPlan>,
    /// Where the shim notes that it uses the environments of the containers.
    #[serde(default)]
    pub(crate) environments: Vec<Users>,
    /// The control groups, with one group for each of `containers`.
    pub(crate) groups: Groups,
    /// Where the output goes.
    pub(crate) log: LogPlan,
}

/// What was decided for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerPlan {
    /// What its image stands for.
    pub(crate) toolbox: Toolbox,
    /// That, in words, for messages.
    pub(crate) described: String,
    /// The indices of its GPUs.
    pub(crate) gpus: Vec<u32>,
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPlan {
    /// The file.
    pub(crate) file: PathBuf,
    /// The size at which a new file is begun, in bytes.
    pub(crate) limit: u64,
}

/// The shim's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimProcess {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started.
    pub(crate) started: u64,
}

/// How the replica ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) exit: Exit,
}

impl Launch {
    /// All GPUs of the replica.
    pub(crate) fn gpus(&self) -> Vec<u32> {
        self.containers.iter().flat_map(|plan| plan.gpus.iter().copied()).collect()
    }
}

/// Writes a file so that it is there whole or not at all, readable to its owner only.
pub(crate) fn write<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    let aside = directory.join(format!(".{name}.new"));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    file.write_all(&bytes)?;
    fs::rename(&aside, directory.join(name))
}

/// Reads a file; `Ok(None)` when it is not there.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(
    directory: &Path,
    name: &str,
) -> io::Result<Option<T>> {
    let path = directory.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    })
}
