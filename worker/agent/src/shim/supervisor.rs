//! The life of one replica, as one loop on one thread.
//!
//! ```text
//!            init containers          order Start
//!  Preparing ---------------> Ready ---------------> Running
//!      |                        |                       | the main container ends,
//!      | failure, order Stop    | order Stop            | fails in one process, or is stopped
//!      |                        |                       v
//!      |                        |                    Winding: the others have been asked to end
//!      |                        |                       | all have ended, or the grace period is over
//!      +------------------------+-----------------------+--> Killing: SIGKILL until nothing is left --> Exited
//! ```
//!
//! What is reported as the replica's end is settled when the main container's end is: its first failing
//! process, or success when all of them have ended well. What comes later (sidecars, the killing) does not
//! change it.

mod begin;
mod end;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use muster_environments::User;
use muster_model::{ExitStatus, GenerationContext, Millis};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::children::Children;
use super::complain;
use super::control::Control;
use super::lease::{Due, Lease};
use super::mounts::Namespaces;
use super::output::Output;
use super::ports::FreePort;
use super::protocol::Order;
use super::record::Launch;
use super::signals::{Signals, Wake};
use super::store::Store;

/// How often what is left is killed again.
const KILL_AGAIN: Duration = Duration::from_millis(10);

/// How long a process may take to die after SIGKILL. One that takes longer hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// Where the replica is; see the module's drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Preparing {
        /// How many init containers have been started.
        begun: usize,
    },
    Ready,
    Running,
    Winding,
    Killing {
        since: Instant,
        again: Instant,
    },
    Exited,
}

pub(super) struct Supervisor {
    directory: PathBuf,
    launch: Launch,
    control: Control,
    signals: Signals,
    lease: Lease,
    output: Output,
    children: Children,
    /// Keeps the environments of the containers from being pruned.
    users: Vec<User>,
    namespaces: Namespaces,
    free_port: Option<FreePort>,
    store: Option<Store>,
    phase: Phase,
    /// The end that will be reported.
    verdict: Option<ExitStatus>,
    /// Whether an order to stop came before the end was settled.
    stopped_first: bool,
    /// When everything is killed.
    deadline: Option<Instant>,
    /// An order to start that came too early.
    early: Option<GenerationContext>,
    /// Whether the shim killed because the grace period was over.
    killed: bool,
}

/// What a supervisor is made of.
pub(super) struct Parts {
    pub(super) directory: PathBuf,
    pub(super) launch: Launch,
    pub(super) control: Control,
    pub(super) signals: Signals,
    pub(super) lease: Lease,
    pub(super) output: Output,
}

impl Supervisor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            directory: parts.directory,
            launch: parts.launch,
            control: parts.control,
            signals: parts.signals,
            lease: parts.lease,
            output: parts.output,
            children: Children::default(),
            users: Vec::new(),
            namespaces: Namespaces::default(),
            free_port: None,
            store: None,
            phase: Phase::Preparing { begun: 0 },
            verdict: None,
            stopped_first: false,
            deadline: None,
            early: None,
            killed: false,
        }
    }

    /// Lives the replica's life, until its end is written down.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.prepare();
        while self.phase != Phase::Exited {
            self.wait()?;
            self.reap();
            for order in self.control.read() {
                self.order(order);
            }
            if let Some(complaint) = self.output.read() {
                self.control.notice(complaint);
            }
            self.keep_lease()?;
            self.tick();
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut watched: Vec<PollFd<'_>> = self
            .control
            .descriptors()
            .chain(self.output.pipes())
            .chain([self.signals.descriptor(), self.lease.descriptor()])
            .chain(self.store.as_ref().map(Store::descriptor))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let now = Instant::now();
        let again = match &self.phase {
            Phase::Killing { again, .. } => Some(*again),
            _ => None,
        };
        let next = [self.deadline, self.output.deadline(), again];
        let timeout = next.into_iter().flatten().min().map(|at| {
            // Rounded up, so that what is waited for is due afterwards.
            let left = at.saturating_duration_since(now) + Duration::from_micros(50);
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 })
        });
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(watched);
        for notice in self.store.as_ref().map(Store::notices).unwrap_or_default() {
            self.control.notice(notice);
        }
        for wake in self.signals.read() {
            match wake {
                Wake::Child => {}
                Wake::Terminate => self.stop(self.launch.spec.role.pod.termination_grace),
            }
        }
        Ok(())
    }

    /// The replica may have been started elsewhere soon after its lease is over.
    fn keep_lease(&mut self) -> io::Result<()> {
        match self.lease.due()? {
            Due::Nothing => {}
            Due::Ask(grace) => {
                self.control.notice(format!(
                    "{} is stopped: its node is cut off from the coordinator, which may start it elsewhere soon",
                    self.launch.spec.name
                ));
                self.stop(grace);
            }
            Due::Kill => {
                self.stop(Millis(0));
                self.killed = true;
                self.kill();
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.killed = true;
            self.kill();
        }
        if let Phase::Killing { since, again } = self.phase
            && now >= again
        {
            if now >= since + KILL_PATIENCE {
                self.control.notice(format!(
                    "processes of {} do not die although they were killed; they hang in the kernel, perhaps on a \
                     device or a network file system",
                    self.launch.spec.name
                ));
                self.finish();
                return;
            }
            Children::kill_everything(&self.launch.groups);
            self.phase = Phase::Killing { since, again: now + KILL_AGAIN };
            self.reap();
        }
    }

    fn reap(&mut self) {
        let (ended, nothing_left) = self.children.reap();
        for one in ended {
            self.ended(&one);
        }
        if nothing_left && matches!(self.phase, Phase::Killing { .. }) {
            self.finish();
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Start(context) => match self.phase {
                Phase::Ready => self.start(&context),
                Phase::Preparing { .. } => self.early = Some(context),
                _ => {}
            },
            Order::Stop { grace } => {
                // What has ended by itself before the order came was not stopped by it.
                self.reap();
                self.stop(grace);
            }
            Order::Lease(until) => {
                if let Err(error) = self.lease.set(until) {
                    // Without its timer the promise would not be kept.
                    complain(format_args!(
                        "the timer of the replica's lease cannot be set: {error}"
                    ));
                    self.stop(self.launch.spec.role.pod.termination_grace);
                }
            }
        }
    }
}
