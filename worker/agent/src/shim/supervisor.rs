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

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_model::{Exit, ExitStatus, GenerationContext, Millis};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::children::{Children, Ended, Role};
use super::control::Control;
use super::failure::Failure;
use super::mounts::Namespaces;
use super::output::Output;
use super::ports::FreePort;
use super::program::{self, Container, Moment, Program};
use super::protocol::{Order, Stage};
use super::record::{self, EXIT, ExitRecord, Launch, WORK};
use super::signals::{Signals, Wake};
use super::spawn::{self, Start, Step};
use super::store::Store;
use crate::runtime::line::Tags;

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
    output: Output,
    children: Children,
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
    pub(super) output: Output,
}

impl Supervisor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            directory: parts.directory,
            launch: parts.launch,
            control: parts.control,
            signals: parts.signals,
            output: parts.output,
            children: Children::default(),
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
            self.tick();
        }
        Ok(())
    }

    // --- the loop ---

    fn wait(&mut self) -> io::Result<()> {
        let mut watched: Vec<PollFd<'_>> = self
            .control
            .descriptors()
            .chain(self.output.pipes())
            .chain([self.signals.descriptor()])
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
        for wake in self.signals.read() {
            match wake {
                Wake::Child => {}
                Wake::Terminate => self.stop(self.launch.spec.role.pod.termination_grace),
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
        }
    }

    // --- preparing ---

    fn prepare(&mut self) {
        match Namespaces::make(&self.launch.spec.role.pod, &self.directory) {
            Ok(namespaces) => self.namespaces = namespaces,
            Err(failure) => return self.fail(failure),
        }
        for notice in std::mem::take(&mut self.namespaces.notices) {
            self.control.notice(notice);
        }
        self.next_init();
    }

    /// Starts the next init container, or, when there is none left, checks that everything is there.
    fn next_init(&mut self) {
        let Phase::Preparing { begun } = self.phase else {
            return;
        };
        let all = &self.launch.spec.role.pod.init_containers;
        let Some(next) = all.get(begun) else {
            return self.ready();
        };
        let step = format!("init container {} ({} of {})", next.name, begun + 1, all.len());
        self.control.stage(Stage::Preparing { step });
        self.phase = Phase::Preparing { begun: begun + 1 };
        let moment = Moment { opened: None, local_rank: 0 };
        if let Err(failure) = self.launch_one(begun, Role::Init, moment) {
            self.fail(failure);
        }
    }

    fn ready(&mut self) {
        let checked = self.check().and_then(|()| self.reserve());
        let (store_port, free_port) = match checked {
            Ok(ports) => ports,
            Err(failure) => return self.fail(failure),
        };
        self.phase = Phase::Ready;
        self.control.stage(Stage::Ready { store_port, free_port });
        if let Some(context) = self.early.take() {
            self.start(&context);
        }
    }

    /// Checks that every container could be started, as far as that is known before the generation is open.
    fn check(&mut self) -> Result<(), Failure> {
        let first = self.launch.spec.role.pod.init_containers.len();
        let count = self.launch.spec.role.pod.containers.len();
        let moment = Moment { opened: None, local_rank: 0 };
        for index in first..first + count {
            let program = self.resolve(index, moment)?;
            if let Some(notice) = program.notice {
                self.control.notice(notice);
            }
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<(Option<u16>, Option<u16>), Failure> {
        let port = |error: io::Error| Failure::passing(format!("cannot reserve a port: {error}"));
        if self.launch.spec.holds_store {
            self.store = Some(Store::reserve().map_err(port)?);
        }
        if self.launch.spec.id.rank.0 == 0 {
            self.free_port = Some(FreePort::reserve().map_err(port)?);
        }
        Ok((self.store.as_ref().map(Store::port), self.free_port.as_ref().map(|port| port.number)))
    }

    // --- running ---

    fn start(&mut self, context: &GenerationContext) {
        if context.generation != self.launch.spec.fence.generation {
            eprintln!(
                "an order to start generation {} is not for this replica",
                context.generation
            );
            return;
        }
        match self.start_all(context) {
            Ok(()) => {
                self.phase = Phase::Running;
                self.control.stage(Stage::Running);
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn start_all(&mut self, context: &GenerationContext) -> Result<(), Failure> {
        if let Some(store) = &mut self.store {
            store.start().map_err(|error| {
                Failure::passing(format!("cannot start the rendezvous store: {error}"))
            })?;
        }
        // From here on the program may bind it.
        self.free_port = None;
        let pod = &self.launch.spec.role.pod;
        let (first, main, count) = (pod.init_containers.len(), pod.main, pod.containers.len());
        for place in 0..count {
            let (role, processes) = match place == main {
                true => (Role::Main, self.launch.spec.role.processes.max(1)),
                false => (Role::Side, 1),
            };
            for local_rank in 0..processes {
                let moment = Moment { opened: Some(context), local_rank };
                self.launch_one(first + place, role, moment)?;
            }
        }
        Ok(())
    }

    fn container(&self, index: usize) -> Container<'_> {
        let pod = &self.launch.spec.role.pod;
        let mut all = pod.init_containers.iter().chain(&pod.containers);
        Container {
            index,
            spec: all.nth(index).expect("only indices of the pod are used"),
            plan: &self.launch.containers[index],
        }
    }

    fn resolve(&self, index: usize, moment: Moment<'_>) -> Result<Program, Failure> {
        let own = self.directory.join(WORK);
        program::resolve(&self.launch, self.container(index), &self.namespaces, &own, moment)
    }

    fn launch_one(&mut self, index: usize, role: Role, moment: Moment<'_>) -> Result<(), Failure> {
        let program = self.resolve(index, moment)?;
        let started = spawn::spawn(&Start {
            program: &program.file,
            argv: &program.argv,
            environment: &program.environment,
            directory: &program.directory,
            namespace: self.namespaces.of(index),
            join: &self.launch.groups.join_files(index),
        });
        let name = self.container(index).spec.name.clone();
        let started =
            started.map_err(|(step, error)| not_started(&name, &program, step, &error))?;
        self.children.add(started.pid, role, index);
        let several = role == Role::Main && self.launch.spec.role.processes > 1;
        let tags = Tags::new(
            (role != Role::Main).then_some(name.as_str()),
            several.then_some(moment.local_rank),
        );
        self.output
            .add(started.stdout, started.stderr, &tags)
            .map_err(|error| Failure::passing(format!("cannot read its output: {error}")))
    }

    // --- ending ---

    fn ended(&mut self, ended: &Ended) {
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
        if ended.status.is_success() {
            return self.next_init();
        }
        let status = self.out_of_memory(ended);
        let name = &self.container(ended.container).spec.name;
        self.fail(Failure::passing(format!(
            "init container {name} has failed: {status}; its output is in the log"
        )));
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

    fn stop(&mut self, grace: Millis) {
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

    fn fail(&mut self, failure: Failure) {
        self.verdict = self.verdict.take().or(Some(failure.into()));
        self.kill();
    }

    /// From now on everything is killed; what is still to be reported as the end is not changed by it.
    fn kill(&mut self) {
        self.deadline = None;
        if matches!(self.phase, Phase::Killing { .. } | Phase::Exited) {
            return;
        }
        let now = Instant::now();
        self.phase = Phase::Killing { since: now, again: now };
        self.reap();
    }

    /// Nothing is left: writes the end down and tells it.
    fn finish(&mut self) {
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
        if let Err(error) = record::write(&self.directory, EXIT, &record) {
            eprintln!("cannot write down how the replica ended ({exit:?}): {error}");
        }
        self.control.stage(Stage::Exited(exit));
    }
}

fn not_started(name: &str, program: &Program, step: Step, error: &io::Error) -> Failure {
    let file = program.file.display();
    match step {
        Step::Fork => Failure::passing(format!(
            "cannot start a process for container {name}: {error}; the node is short of processes or memory"
        )),
        Step::Join => {
            Failure::passing(format!("container {name} cannot join its control group: {error}"))
        }
        Step::Namespace => {
            Failure::passing(format!("container {name} cannot enter its mount namespace: {error}"))
        }
        Step::Directory => Failure::permanent(format!(
            "container {name} cannot start in {}: {error}",
            program.directory
        )),
        Step::Execute => {
            Failure::permanent(format!("cannot run {file} in container {name}: {error}"))
        }
    }
}

/// Makes the directory in which containers start that name none.
pub(super) fn make_work(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory.join(WORK))
}
