//! Where the control group trees are mounted, and where this process is in them.

use std::fs;
use std::path::{Path, PathBuf};

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where.
    pub(super) point: PathBuf,
    /// The v1 controllers in it; none for v2.
    controllers: Vec<String>,
    /// The path of this process's group in the tree.
    own: PathBuf,
}

impl Mount {
    pub(super) fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    pub(super) fn controls(&self, controller: &str) -> bool {
        self.controllers.iter().any(|one| one == controller)
    }

    /// The directory of this process's group. In a container it may lie outside of what is mounted;
    /// then the top of what is mounted stands for it.
    pub(super) fn own(&self) -> PathBuf {
        let dir = self.point.join(self.own.strip_prefix("/").unwrap_or(Path::new("")));
        if dir.is_dir() { dir } else { self.point.clone() }
    }
}

/// All trees of this machine.
pub(super) fn read() -> Vec<Mount> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    parse(&mounts, &own)
}

/// `mounts` as in fstab(5), `own` as in cgroups(7).
fn parse(mounts: &str, own: &str) -> Vec<Mount> {
    let own_path = |controllers: &[String]| {
        let line = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let fits = match controllers.first() {
                None => names.is_empty(),
                Some(first) => names.split(',').any(|name| name == first),
            };
            fits.then(|| PathBuf::from(path))
        });
        line.unwrap_or_else(|| PathBuf::from("/"))
    };
    let mut found: Vec<Mount> = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, kind, options, ..] = fields[..] else {
            continue;
        };
        let controllers: Vec<String> = match kind {
            "cgroup2" => Vec::new(),
            "cgroup" => {
                let known = ["cpu", "memory", "freezer"];
                let all = options.split(',').filter(|one| known.contains(one));
                all.map(str::to_owned).collect()
            }
            _ => continue,
        };
        let named_only = kind == "cgroup" && controllers.is_empty();
        let again = found.iter().any(|have| have.controllers == controllers);
        if named_only || again {
            continue;
        }
        found.push(Mount { point: PathBuf::from(point), own: own_path(&controllers), controllers });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_has_v1_controllers_and_a_v2_tree() {
        let mounts = "\
            proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
            cgroup2 /mnt/again cgroup2 rw 0 0\n";
        let own = "5:cpu,cpuacct:/a\n4:memory:/b/c\n1:name=systemd:/s\n0::/u\n";
        let trees = parse(mounts, own);
        let points: Vec<_> = trees.iter().map(|tree| tree.point.to_str()).collect();
        assert_eq!(
            points,
            [
                Some("/sys/fs/cgroup/cpu,cpuacct"),
                Some("/sys/fs/cgroup/memory"),
                Some("/sys/fs/cgroup/unified")
            ]
        );
        assert!(trees[0].controls("cpu") && !trees[0].controls("memory"));
        assert_eq!(trees[1].own, Path::new("/b/c"));
        assert!(trees[2].is_v2());
        assert_eq!(trees[2].own, Path::new("/u"));
    }
}
