//! Processes of this machine as `/proc` shows them.
//!
//! A pid alone names nothing for long: it is reused. A process is therefore named by its pid and its
//! start time, or held by a pidfd while it is looked at and killed.

use std::collections::BTreeMap;
use std::fs;

use muster_agent_core::launch::MARKER_VARIABLE;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: i32,
    /// In clock ticks since the machine started.
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The second field is the program's name in parentheses, which may itself contain anything.
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// When the process was started, in clock ticks since the machine was; `None` when there is no such
/// process, or only its zombie.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid).filter(|stat| stat.state != 'Z').map(|stat| stat.started)
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// All living processes that descend from `ancestor`, itself not included.
pub(crate) fn descendants(ancestor: i32) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in all() {
        if let Some(stat) = stat(pid).filter(|stat| stat.state != 'Z') {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.extend(Pid::from_raw(child));
            open.push(child);
        }
    }
    found
}

/// Sends SIGKILL to every process that carries the marker, and answers how many there were.
///
/// The pidfd is opened before the environment is read, so that the signal can only reach the process
/// that was looked at. Zombies have no environment and are not counted. In the middle of an exec a process has
/// none either for a moment: only two rounds without a find, some time apart, say that nothing is left.
pub(crate) fn kill_marked(marker: &str) -> usize {
    let wanted = format!("{MARKER_VARIABLE}={marker}");
    let mut count = 0;
    for pid in all().filter_map(Pid::from_raw) {
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if carries(pid.as_raw_pid(), wanted.as_bytes()) {
            count += 1;
            let _ = pidfd_send_signal(&held, Signal::KILL);
        }
    }
    count
}

/// Kills the process with this pid, if it is still the one that was started then.
pub(crate) fn kill_exactly(pid: i32, started: u64) {
    let Some(held) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    if start_ticks(pid) == Some(started) {
        let _ = pidfd_send_signal(&held, Signal::KILL);
    }
}

fn carries(pid: i32, wanted: &[u8]) -> bool {
    // Unreadable: another user's process, and so none of ours.
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == wanted))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_has_a_start_time_and_a_dead_one_has_none() {
        let own = i32::try_from(std::process::id()).expect("pids are small");
        assert!(start_ticks(own).is_some());
        let mut child = Command::new("true").spawn().expect("true exists");
        let pid = i32::try_from(child.id()).expect("pids are small");
        child.wait().expect("it ends");
        assert_eq!(start_ticks(pid), None);
    }

    #[test]
    fn a_marked_process_is_found_and_killed() {
        let marker = format!("test-{}-{:?}", std::process::id(), std::time::Instant::now());
        let mut child = Command::new("sleep")
            .arg("1000")
            .env(MARKER_VARIABLE, &marker)
            .spawn()
            .expect("sleep exists");
        assert_eq!(kill_marked("another"), 0);
        // In the middle of its exec a process has no environment to be seen.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while kill_marked(&marker) != 1 {
            assert!(std::time::Instant::now() < deadline, "it is not found");
            std::thread::yield_now();
        }
        assert!(!child.wait().expect("it ends").success());
        assert_eq!(kill_marked(&marker), 0);
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'sleep 1000; true' & wait"])
            .spawn()
            .expect("sh exists");
        let pid = i32::try_from(child.id()).expect("pids are small");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut found = descendants(pid);
        while found.len() < 2 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
            found = descendants(pid);
        }
        assert!(found.len() >= 2, "{found:?}");
        // The shell may still be starting some: until there are none.
        while !found.is_empty() {
            for one in found {
                let _ = rustix::process::kill_process(one, Signal::KILL);
            }
            found = descendants(pid);
        }
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
}
