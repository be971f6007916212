//! Control groups: a replica's processes as one thing that can be limited, asked about and killed.
//!
//! Three layouts are in use, and all of them are served:
//!
//! * **unified** (cgroup v2): one tree with all controllers;
//! * **hybrid**: each controller in a v1 tree of its own, and beside them a v2 tree without controllers,
//!   which still can kill a whole group at once (`cgroup.kill`, Linux 5.14);
//! * **legacy** (v1 only): the freezer holds a group still while its members are killed.
//!
//! Where nothing can be written, replicas run without limits, and the agent says so. In every tree the groups
//! lie at `<parent>/muster/<agent>/<replica>/<container>`, so that agents on one machine keep apart. See
//! `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/` of Linux.

mod groups;
mod mounts;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use groups::{Groups, Join, Limits};

/// Where an agent may make control groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Make none, even where it is possible.
    pub disabled: bool,
    /// The group below which they are made, as a path from the root of each tree. `None`: the root where
    /// it can be written, else the agent's own group.
    pub parent: Option<PathBuf>,
}

/// What one tree can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum TreeKind {
    /// The v2 tree.
    Unified {
        /// Whether cpu can be limited in it.
        cpu: bool,
        /// Whether memory can.
        memory: bool,
        /// Whether it has `cgroup.kill`.
        kill: bool,
    },
    /// The v1 cpu controller.
    Cpu,
    /// The v1 memory controller.
    Memory,
    /// The v1 freezer.
    Freezer,
}

/// One directory in one tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tree {
    kind: TreeKind,
    dir: PathBuf,
}

/// The control groups of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cgroups {
    trees: Vec<Tree>,
}

impl Cgroups {
    /// Finds out what is possible and makes the agent's own directories. `agent` names the agent among
    /// those of the machine.
    pub(crate) fn open(options: &Options, agent: &str) -> Self {
        if options.disabled {
            return Self::default();
        }
        let mounts = mounts::read();
        let below = |mount: &mounts::Mount| place(mount, options, agent);
        let mut trees = Vec::new();
        let (mut cpu, mut memory, mut kill) = (false, false, false);
        if let Some(dir) = mounts.iter().find(|mount| mount.is_v2()).and_then(below) {
            (cpu, memory) = (has(&dir, "cpu"), has(&dir, "memory"));
            kill = dir.join("cgroup.kill").exists();
            let kind = TreeKind::Unified { cpu, memory, kill };
            trees.push(Tree { kind, dir });
        }
        for (missing, name, kind) in [
            (!cpu, "cpu", TreeKind::Cpu),
            (!memory, "memory", TreeKind::Memory),
            (!kill, "freezer", TreeKind::Freezer),
        ] {
            let v1 = mounts.iter().find(|mount| mount.controls(name));
            if let Some(dir) = v1.filter(|_| missing).and_then(below) {
                trees.push(Tree { kind, dir });
            }
        }
        Self { trees }
    }

    /// Why limits are not enforced, if any of them is not.
    pub(crate) fn shortcoming(&self) -> Option<String> {
        let any = |wanted: fn(TreeKind) -> bool| self.trees.iter().any(|tree| wanted(tree.kind));
        let cpu = any(|kind| matches!(kind, TreeKind::Cpu | TreeKind::Unified { cpu: true, .. }));
        let memory =
            any(|kind| matches!(kind, TreeKind::Memory | TreeKind::Unified { memory: true, .. }));
        let what = match (cpu, memory) {
            (true, true) => return None,
            (true, false) => "memory limits are",
            (false, true) => "cpu limits are",
            (false, false) => "cpu and memory limits are",
        };
        Some(format!(
            "{what} not enforced on this node: its agent cannot write control groups; run it as root, or under \
             systemd with Delegate=yes"
        ))
    }

    /// Makes the groups of a replica, one for each container's limits.
    pub(crate) fn create(&self, replica: &str, containers: &[Limits]) -> io::Result<Groups> {
        let groups = self.named(replica);
        match groups.make(containers) {
            Ok(()) => Ok(groups),
            Err(error) => {
                groups.remove();
                Err(error)
            }
        }
    }

    /// The groups of a replica, whether they are there or not.
    pub(crate) fn named(&self, replica: &str) -> Groups {
        let tree = |tree: &Tree| Tree { kind: tree.kind, dir: tree.dir.join(replica) };
        Groups::new(self.trees.iter().map(tree).collect())
    }

    /// The names of all replicas that have groups, in any tree.
    pub(crate) fn replicas(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .trees
            .iter()
            .flat_map(|tree| children(&tree.dir))
            .filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Whether a controller is on in a v2 directory, and may be turned on for its children.
fn has(dir: &Path, controller: &str) -> bool {
    lists(&dir.join("cgroup.controllers"), controller)
        && (lists(&dir.join("cgroup.subtree_control"), controller)
            || fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).is_ok())
}

fn lists(file: &Path, word: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|one| one == word))
}

/// The directories in a directory.
fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// All directories below a directory, the innermost first: a program may make groups below its own.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for child in children(dir) {
        found.extend(below(&child));
        found.push(child);
    }
    found
}

/// The agent's directory in a tree, made; `None` where that is not possible.
fn place(mount: &mounts::Mount, options: &Options, agent: &str) -> Option<PathBuf> {
    let candidates = match &options.parent {
        Some(parent) => vec![mount.point.join(parent.strip_prefix("/").unwrap_or(parent))],
        None => vec![mount.point.clone(), mount.own()],
    };
    for parent in candidates {
        let dir = parent.join("muster").join(agent);
        if fs::create_dir_all(&dir).is_err() || !may_join(&dir) {
            continue;
        }
        if mount.is_v2() {
            enable(&mount.point, &dir);
        }
        return Some(dir);
    }
    None
}

/// Whether processes may be moved there. `create_dir_all` succeeds on a directory that somebody else made.
fn may_join(dir: &Path) -> bool {
    let procs = dir.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(procs).is_ok()
}

/// Turns the controllers on from the root down to `dir`, as far as that is allowed.
///
/// A v2 group cannot have both members and controllers for its children. Where that is in the way and the
/// agent itself is a member, it moves itself to a group beside.
fn enable(root: &Path, dir: &Path) {
    let mut parents: Vec<&Path> =
        dir.ancestors().skip(1).take_while(|one| one.starts_with(root)).collect();
    parents.reverse();
    for parent in parents {
        for controller in ["cpu", "memory"] {
            let control = parent.join("cgroup.subtree_control");
            if lists(&control, controller) || !lists(&parent.join("cgroup.controllers"), controller)
            {
                continue;
            }
            let turn_on = || fs::write(&control, format!("+{controller}"));
            let busy = |error: &io::Error| error.raw_os_error() == Some(nix::libc::EBUSY);
            if turn_on().is_err_and(|error| busy(&error)) && step_aside(parent).is_ok() {
                let _ = turn_on();
            }
        }
    }
}

fn step_aside(parent: &Path) -> io::Result<()> {
    let own = std::process::id().to_string();
    if !lists(&parent.join("cgroup.procs"), &own) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let beside = parent.join("muster-agent");
    fs::create_dir_all(&beside)?;
    fs::write(beside.join("cgroup.procs"), own)
}

/// The cpu quota of the agent's own group or of any above it, in thousandths of a core.
pub(crate) fn own_cpu_quota() -> Option<u64> {
    let v2 = |dir: &Path| {
        let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        share(quota.parse().ok()?, period.parse().ok()?)
    };
    let v1 = |dir: &Path| {
        let quota: i64 = number(&dir.join("cpu.cfs_quota_us"))?;
        share(u64::try_from(quota).ok()?, number(&dir.join("cpu.cfs_period_us"))?)
    };
    smallest("cpu", v2, v1)
}

fn share(quota: u64, period: u64) -> Option<u64> {
    quota.saturating_mul(1000).checked_div(period)
}

/// The memory limit of the agent's own group or of any above it, in bytes.
pub(crate) fn own_memory_limit() -> Option<u64> {
    let v2 = |dir: &Path| number(&dir.join("memory.max"));
    let v1 = |dir: &Path| number(&dir.join("memory.limit_in_bytes"));
    smallest("memory", v2, v1)
}

fn smallest(
    controller: &str,
    v2: impl Fn(&Path) -> Option<u64>,
    v1: impl Fn(&Path) -> Option<u64>,
) -> Option<u64> {
    let mut found = Vec::new();
    for mount in mounts::read() {
        let own = mount.own();
        let dirs = own.ancestors().take_while(|dir| dir.starts_with(&mount.point));
        if mount.is_v2() {
            found.extend(dirs.filter_map(&v2));
        } else if mount.controls(controller) {
            found.extend(dirs.filter_map(&v1));
        }
    }
    found.into_iter().min()
}

fn number<T: std::str::FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
