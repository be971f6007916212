//! Who a process is. A pid alone is not enough: it is given out again. The start time (field 22 of
//! `/proc/PID/stat`, see proc(5)) tells two processes with one pid apart.

use std::fmt;
use std::fs;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// A process of this machine, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    pid: u32,
    /// Clock ticks after boot.
    start: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` if there is none, or only its zombie.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses and may hold anything; the last ')' ends it.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        // The state is field 3; the start time is field 22.
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, start })
    }

    /// This process.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        // Without /proc the pid must do.
        Self::of(pid).unwrap_or(Self { pid, start: 0 })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills the process group that it leads, if it still runs.
    pub(crate) fn kill_group(self) {
        if !self.is_alive() {
            return;
        }
        if let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself in the meantime, which is just as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// `PID-START`, the form of file names.
    pub(crate) fn file_name(self) -> String {
        format!("{}-{}", self.pid, self.start)
    }

    /// Reads [`Self::file_name`].
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let (pid, start) = name.split_once('-')?;
        Some(Self { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn this_process_is_alive_and_its_name_reads_back() {
        let this = ProcessId::current();
        assert!(this.is_alive());
        assert_eq!(ProcessId::from_file_name(&this.file_name()), Some(this));
    }

    #[test]
    fn another_process_with_the_same_pid_is_another_process() {
        let this = ProcessId::current();
        let earlier = ProcessId { start: this.start - 1, ..this };
        assert!(!earlier.is_alive());
    }

    #[test]
    fn a_killed_group_is_dead_and_so_is_its_zombie() {
        let mut child =
            Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep is everywhere");
        let id = ProcessId::of(child.id()).expect("it sleeps");
        id.kill_group();
        // Until wait() it may be a zombie, which counts as dead; kill() delivers before wait returns.
        child.wait().expect("our child");
        assert!(!id.is_alive());
    }
}
