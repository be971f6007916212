//! The control groups of one replica: made and limited by the agent, joined and watched by the shim, killed
//! and removed by either.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster_model::{ContainerSpec, ResourceName};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{Tree, TreeKind, below};

/// The period over which a cpu quota is counted, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

/// The smallest quota that the kernel takes, in microseconds.
const SMALLEST_QUOTA: u64 = 1000;

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// Thousandths of cores that it gets when all are wanted; 0 for no say.
    pub(crate) cpu_request: u64,
    /// Thousandths of cores that it may not pass; 0 for none.
    pub(crate) cpu_limit: u64,
    /// Bytes that it may not pass; 0 for none.
    pub(crate) memory_limit: u64,
}

impl Limits {
    pub(crate) fn of(container: &ContainerSpec) -> Self {
        Self {
            cpu_request: container.requests.get(&ResourceName::cpu()),
            cpu_limit: container.limits.get(&ResourceName::cpu()),
            memory_limit: container.limits.get(&ResourceName::memory()),
        }
    }

    /// Whether a group in this tree has a purpose. To join one of v1 makes the kernel wait for every processor, so
    /// it is done only where something is limited; that a program without a memory limit was killed
    /// because the whole machine was out of memory is therefore not told from other kills there.
    fn need(self, kind: TreeKind) -> bool {
        match kind {
            TreeKind::Unified { .. } | TreeKind::Freezer => true,
            TreeKind::Cpu => self.cpu_request > 0 || self.cpu_limit > 0,
            TreeKind::Memory => self.memory_limit > 0,
        }
    }

    pub(crate) fn limits_anything(&self) -> bool {
        self.cpu_limit > 0 || self.memory_limit > 0
    }

    /// The v1 weight: 1024 for a whole core, as Kubernetes converts it.
    pub(super) fn shares(self) -> u64 {
        (self.cpu_request * 1024 / 1000).clamp(2, 262_144)
    }

    /// The v2 weight, 1 ..= 10000, on the line that systemd and Kubernetes use.
    pub(super) fn weight(self) -> u64 {
        1 + (self.shares() - 2) * 9999 / 262_142
    }

    fn quota(self) -> u64 {
        (self.cpu_limit * PERIOD / 1000).max(SMALLEST_QUOTA)
    }
}

/// The control groups of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Groups {
    trees: Vec<Tree>,
}

/// How a process gets into the groups of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Join {
    /// The directory in the v2 tree in which it is made.
    pub(crate) unified: Option<PathBuf>,
    /// The files into which it writes `0` to join.
    pub(crate) files: Vec<PathBuf>,
}

impl Groups {
    pub(super) fn new(trees: Vec<Tree>) -> Self {
        Self { trees }
    }

    pub(super) fn make(&self, containers: &[Limits]) -> io::Result<()> {
        for tree in &self.trees {
            create(&tree.dir)?;
            if let TreeKind::Unified { cpu, memory, .. } = tree.kind {
                for (on, controller) in [(cpu, "+cpu"), (memory, "+memory")] {
                    if on {
                        write(&tree.dir.join("cgroup.subtree_control"), controller)?;
                    }
                }
            }
            for (index, limits) in containers.iter().enumerate() {
                if !limits.need(tree.kind) {
                    continue;
                }
                let dir = container(&tree.dir, index);
                create(&dir)?;
                limit(tree.kind, &dir, *limits)?;
            }
        }
        Ok(())
    }

    /// How a process gets into a container's groups.
    pub(crate) fn join(&self, index: usize) -> Join {
        let mut join = Join::default();
        for tree in &self.trees {
            let dir = container(&tree.dir, index);
            match tree.kind {
                TreeKind::Unified { .. } => join.unified = Some(dir),
                // There is none where nothing is limited.
                _ if dir.is_dir() => join.files.push(dir.join("cgroup.procs")),
                _ => {}
            }
        }
        join
    }

    /// How many processes of a container the kernel has killed because memory was short.
    pub(crate) fn oom_kills(&self, index: usize) -> u64 {
        let count = |tree: &Tree| {
            let dir = container(&tree.dir, index);
            let file = match tree.kind {
                TreeKind::Unified { memory: true, .. } => dir.join("memory.events"),
                TreeKind::Memory => dir.join("memory.oom_control"),
                _ => return None,
            };
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            line?.trim().parse::<u64>().ok()
        };
        self.trees.iter().find_map(count).unwrap_or(0)
    }

    /// Sends SIGKILL to every member of any of the groups. Members that appear while it runs may be
    /// missed where the kernel has no `cgroup.kill`: call it until [`Self::is_empty`].
    pub(crate) fn kill(&self) {
        for tree in &self.trees {
            match tree.kind {
                TreeKind::Unified { kill: true, .. } => {
                    let _ = fs::write(tree.dir.join("cgroup.kill"), "1");
                }
                TreeKind::Unified { .. } => held(&tree.dir, "cgroup.freeze", ("1", "0")),
                TreeKind::Freezer => held(&tree.dir, "freezer.state", ("FROZEN", "THAWED")),
                TreeKind::Cpu | TreeKind::Memory => kill_members(&tree.dir),
            }
        }
    }

    /// Sends SIGKILL to every member of one container's groups, where the kernel can do that at once.
    pub(crate) fn kill_container(&self, index: usize) {
        for tree in &self.trees {
            if let TreeKind::Unified { kill: true, .. } = tree.kind {
                let _ = fs::write(container(&tree.dir, index).join("cgroup.kill"), "1");
            }
        }
    }

    /// Whether no process is in any of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.trees.iter().all(|tree| members(&tree.dir).is_empty())
    }

    /// Removes the groups, and answers whether they are gone. A group with a member stays.
    pub(crate) fn remove(&self) -> bool {
        let mut gone = true;
        for tree in &self.trees {
            for group in below(&tree.dir) {
                let _ = fs::remove_dir(group);
            }
            gone &= match fs::remove_dir(&tree.dir) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
        }
        gone
    }
}

fn container(replica: &Path, index: usize) -> PathBuf {
    replica.join(format!("c{index}"))
}

fn create(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(dir, &error)),
        _ => Ok(()),
    }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| named(file, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn limit(kind: TreeKind, dir: &Path, limits: Limits) -> io::Result<()> {
    let set = |file: &str, value: &str| write(&dir.join(file), value);
    let (cpu_v2, memory_v2) = match kind {
        TreeKind::Unified { cpu, memory, .. } => (cpu, memory),
        _ => (false, false),
    };
    if limits.cpu_request > 0 {
        if cpu_v2 {
            set("cpu.weight", &limits.weight().to_string())?;
        } else if kind == TreeKind::Cpu {
            set("cpu.shares", &limits.shares().to_string())?;
        }
    }
    if limits.cpu_limit > 0 {
        if cpu_v2 {
            set("cpu.max", &format!("{} {PERIOD}", limits.quota()))?;
        } else if kind == TreeKind::Cpu {
            set("cpu.cfs_period_us", &PERIOD.to_string())?;
            set("cpu.cfs_quota_us", &limits.quota().to_string())?;
        }
    }
    if limits.memory_limit > 0 {
        let bytes = limits.memory_limit.to_string();
        // Swap is left out of the count where the kernel has no swap accounting.
        if memory_v2 {
            set("memory.max", &bytes)?;
            let _ = set("memory.swap.max", "0");
        } else if kind == TreeKind::Memory {
            set("memory.limit_in_bytes", &bytes)?;
            let _ = set("memory.memsw.limit_in_bytes", &bytes);
        }
    }
    Ok(())
}

/// The members of a group and of the groups below it.
fn members(dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for group in below(dir).into_iter().chain([dir.to_owned()]) {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.parse().ok());
        found.extend(pids.filter_map(Pid::from_raw));
    }
    found
}

fn kill_members(dir: &Path) {
    for pid in members(dir) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills the members while they are held still, so that none can fork away.
fn held(dir: &Path, file: &str, (hold, free): (&str, &str)) {
    // The v1 freezer does not reach into the groups below by itself on every kernel.
    let groups: Vec<PathBuf> = below(dir).into_iter().chain([dir.to_owned()]).collect();
    for group in &groups {
        let _ = fs::write(group.join(file), hold);
    }
    kill_members(dir);
    for group in &groups {
        let _ = fs::write(group.join(file), free);
    }
}

/// The limits as the kernel holds them, for tests: memory bytes and cpu quota in microseconds.
#[cfg(test)]
pub(super) fn effective(groups: &Groups, index: usize) -> (Option<u64>, Option<u64>) {
    use super::number;
    let (mut bytes, mut quota) = (None, None);
    for tree in &groups.trees {
        let dir = container(&tree.dir, index);
        bytes = bytes
            .or_else(|| number(&dir.join("memory.max")))
            .or_else(|| number(&dir.join("memory.limit_in_bytes")));
        let v2 = || {
            let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        quota = quota.or_else(v2).or_else(|| number(&dir.join("cpu.cfs_quota_us")));
    }
    (bytes, quota)
}
