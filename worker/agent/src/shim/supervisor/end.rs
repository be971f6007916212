//! From the first end of a process to the replica's.

use std::time::{Duration, Instant};

use muster_model::{Exit, ExitStatus, Millis};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_process_group};

use super::super::children::{Ended, Role};
use super::super::complain;
use super::super::failure::Failure;
use super::super::protocol::Stage;
use super::super::record::{self, EXIT, ExitRecord};
use super::{Phase, Supervisor};

/// How often an end that could not be written down is tried again.
const WRITE_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };

impl Supervisor {
    pub(super) fn ended(&mut self, ended: &Ended) {
        match ended.role {
            Role::Init => self.init_ended(ended),
            Role::Main => self.main_ended(ended),
            Role::Side if self.phase == Phase::Running => {
                let name = &self.container(ended.container).spec.name;
                let text = format!(
                    "container {name} has ended ({}) before the main container",
                    ended.status
                );
                self.control.notice(text);
            }
            Role::Side => {}
        }
        if self.phase == Phase::Winding && self.nothing_started() {
            self.kill();
        }
    }

    fn nothing_started(&self) -> bool {
        [Role::Init, Role::Main, Role::Side].into_iter().all(|role| !self.children.any(role))
    }

    fn init_ended(&mut self, ended: &Ended) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            return;
        }
        // What it left behind ends with it, as far as it can be told from the other containers'.
        let _ = kill_process_group(ended.pid, Signal::KILL);
        self.launch.groups.kill_container(ended.container);
        if ended.status.is_success() {
            return self.next_init();
        }
        let status = self.out_of_memory(ended);
        let name = &self.container(ended.container).spec.name;
        let text = format!("init container {name} has failed: {status}; its output is in the log");
        self.control.notice(text);
        // It is the program's own failure, as the main container's would be, and no failed start.
        self.verdict = self.verdict.take().or(Some(status));
        self.kill();
    }

    fn main_ended(&mut self, ended: &Ended) {
        let failed = !ended.status.is_success();
        let left = self.children.any(Role::Main);
        if self.verdict.is_none() && (failed || !left) {
            self.verdict = Some(self.out_of_memory(ended));
        }
        if !matches!(self.phase, Phase::Running | Phase::Winding) {
            return;
        }
        if left && self.verdict.is_some() {
            self.wind(|role| role == Role::Main);
        } else if !left && self.children.any(Role::Side) {
            self.wind(|role| role == Role::Side);
        } else if !left {
            self.kill();
        }
    }

    /// Asks processes to end, and gives them the pod's grace period for it.
    fn wind(&mut self, wanted: impl Fn(Role) -> bool) {
        self.phase = Phase::Winding;
        self.children.ask_to_end(wanted);
        self.kill_after(self.launch.spec.role.pod.termination_grace);
    }

    fn kill_after(&mut self, grace: Millis) {
        let at = Instant::now() + Duration::from_millis(grace.0);
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// The kernel says SIGKILL when it ends a process for want of memory; its control group knows better.
    fn out_of_memory(&mut self, ended: &Ended) -> ExitStatus {
        let status = ended.status.clone();
        if status.is_success() || self.killed {
            return status;
        }
        let kills = self.launch.groups.oom_kills(ended.container);
        if kills == 0 {
            return status;
        }
        match status {
            // 137: a shell that reports the same of its child.
            ExitStatus::Signal(9) | ExitStatus::Code(137) => ExitStatus::OutOfMemory,
            other => {
                self.control.notice(format!(
                    "{kills} processes of container {} were killed by the kernel for want of memory",
                    self.container(ended.container).spec.name
                ));
                other
            }
        }
    }

    pub(super) fn stop(&mut self, grace: Millis) {
        match self.phase {
            Phase::Killing { .. } | Phase::Exited => {}
            Phase::Preparing { .. } | Phase::Ready => {
                self.verdict = Some(ExitStatus::NeverStarted);
                self.stopped_first = true;
                self.phase = Phase::Winding;
                self.children.ask_to_end(|_| true);
                self.kill_after(grace);
                if self.nothing_started() {
                    self.kill();
                }
            }
            Phase::Running => {
                self.stopped_first = true;
                self.phase = Phase::Winding;
                self.children.ask_to_end(|_| true);
                self.kill_after(grace);
            }
            // Everything has been asked, or is about to be; only the time may be cut.
            Phase::Winding => {
                if self.verdict.is_none() {
                    self.stopped_first = true;
                }
                self.children.ask_to_end(|_| true);
                self.kill_after(grace);
            }
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.verdict = self.verdict.take().or(Some(failure.into()));
        self.kill();
    }

    /// From now on everything is killed; what is still to be reported as the end is not changed by it.
    pub(super) fn kill(&mut self) {
        self.deadline = None;
        if matches!(self.phase, Phase::Killing { .. } | Phase::Exited) {
            return;
        }
        let now = Instant::now();
        self.phase = Phase::Killing { since: now, again: now };
        self.reap();
    }

    /// Nothing is left: writes the end down and tells it.
    pub(super) fn finish(&mut self) {
        if self.phase == Phase::Exited {
            return;
        }
        self.phase = Phase::Exited;
        // An agent that has just connected shall hear everything; orders come too late.
        self.control.read();
        if let Some(complaint) = self.output.finish() {
            self.control.notice(complaint);
        }
        if let Some(store) = self.store.take() {
            store.close();
        }
        let exit = Exit {
            // Only a main process that hangs in the kernel has no status yet.
            status: self.verdict.take().unwrap_or(ExitStatus::Signal(9)),
            after_stop: self.stopped_first,
        };
        let record = ExitRecord { exit: exit.clone() };
        let mut written = record::write(&self.directory, EXIT, &record);
        self.control.stage(Stage::Exited(exit.clone()));
        if let Err(error) = &written {
            complain(format_args!("cannot write down how the replica ended ({exit:?}): {error}"));
        }
        // On a full disk the shim is all that knows it. Whoever connects meanwhile is told.
        while written.is_err() && self.directory.exists() {
            let mut watched: Vec<PollFd<'_>> = self
                .control
                .descriptors()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            // Cut short by whoever connects, who is answered at once.
            let _ = poll(&mut watched, Some(&WRITE_AGAIN));
            drop(watched);
            self.control.read();
            written = record::write(&self.directory, EXIT, &record);
        }
    }
}
