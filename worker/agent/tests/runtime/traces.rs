//! What a job has left on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_model::Uid;

/// How long anything that should happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and fails with `what` when it does not come to.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// The processes that run for a job: they have its uid in their environment.
pub(crate) fn processes(job: &Uid) -> Vec<i32> {
    let wanted = format!("MUSTER_JOB_UID={job}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes())
            })
        })
        .collect()
}

/// The shims that work in a data directory.
pub(crate) fn shims(data: &Path) -> Vec<i32> {
    let wanted = data.join("replicas");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.first().is_some_and(|name| *name == b"muster")
                && words.iter().any(|word| {
                    std::str::from_utf8(word).is_ok_and(|word| Path::new(word).starts_with(&wanted))
                })
        })
        .collect()
}

/// The control groups whose names tell of a job.
pub(crate) fn groups(job: &Uid) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec!["/sys/fs/cgroup".into()];
    while let Some(folder) = open.pop() {
        let depth = folder.components().count();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if name.to_string_lossy().contains(&job.0) {
                found.push(path);
            } else if depth < 9 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    found
}

/// The mounts of this process's namespace that have to do with a path.
pub(crate) fn mounts(path: &Path) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").expect("it is always there");
    let path = path.to_str().expect("test paths are text");
    let lines = all.lines().filter(|line| line.contains(path));
    lines.map(str::to_owned).collect()
}

/// Whether this process may do what needs root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
