//! The processes that the shim started, and everything that they left behind.
//!
//! The shim is a subreaper: a process whose parent ends becomes the shim's child, however it was forked. So
//! when the kernel says that the shim has no children, nothing of the replica exists any more.

use std::collections::BTreeMap;

use muster_model::ExitStatus;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait,
};

use crate::machine::cgroup::Groups;
use crate::machine::processes;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An init container.
    Init,
    /// One of the main container's processes.
    Main,
    /// Another container.
    Side,
}

/// A process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its pid, which names its process group as long as that has members.
    pub(super) pid: Pid,
    pub(super) role: Role,
    /// Its container.
    pub(super) container: usize,
    pub(super) status: ExitStatus,
}

#[derive(Debug, Default)]
pub(super) struct Children {
    started: BTreeMap<i32, (Role, usize)>,
    /// Those that were asked to end.
    asked: Vec<i32>,
}

impl Children {
    pub(super) fn add(&mut self, pid: Pid, role: Role, container: usize) {
        self.started.insert(pid.as_raw_pid(), (role, container));
    }

    /// Whether a started process of this role still runs.
    pub(super) fn any(&self, role: Role) -> bool {
        self.started.values().any(|(one, _)| *one == role)
    }

    /// Collects everything that has ended. The second answer is whether no process is left, started by the
    /// shim or by any of its descendants.
    pub(super) fn reap(&mut self) -> (Vec<Ended>, bool) {
        let mut ended = Vec::new();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let known = self.started.remove(&pid.as_raw_pid());
                    if let (Some((role, container)), Some(status)) = (known, ending(status)) {
                        ended.push(Ended { pid, role, container, status });
                    }
                }
                Ok(None) => return (ended, false),
                Err(Errno::INTR) => {}
                // ECHILD; nothing else is possible.
                Err(_) => return (ended, true),
            }
        }
    }

    /// Sends SIGTERM to the process groups of the started processes that `wanted` names, once to each.
    pub(super) fn ask_to_end(&mut self, wanted: impl Fn(Role) -> bool) {
        for (pid, (role, _)) in &self.started {
            if wanted(*role) && !self.asked.contains(pid) {
                self.asked.push(*pid);
                if let Some(group) = Pid::from_raw(*pid) {
                    let _ = kill_process_group(group, Signal::TERM);
                }
            }
        }
    }

    /// Sends SIGKILL to everything: the control groups, and every descendant, as far as they can be seen
    /// at this moment. To be repeated until nothing is left.
    pub(super) fn kill_everything(groups: &Groups) {
        groups.kill();
        for pid in processes::descendants(rustix::process::getpid().as_raw_pid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn ending(status: WaitStatus) -> Option<ExitStatus> {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    if let Some(code) = status.exit_status() {
        return Some(ExitStatus::Code(byte(code)));
    }
    let signal = status.terminating_signal()?;
    Some(ExitStatus::Signal(byte(signal)))
}
