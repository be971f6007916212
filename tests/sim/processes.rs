//! The simulated runtime of one machine: replicas with their shims and programs, which outlive the agent's process.
//!
//! What a program will do is drawn when it starts: it ends well, badly or by a signal after a while. Asked to stop, it
//! ends soon, or hangs until it is killed.

use std::collections::BTreeMap;

use muster_agent_core::Observation;
use muster_model::{Exit, ExitStatus, LaunchSpec, Millis, Resources};

use crate::dice::Dice;
use crate::plan::Programs;
use crate::time::{SimTime, Span};
use crate::wire::Key;

/// How far a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The agent prepares it; lost with the agent.
    Preparing,
    Ready,
    Starting,
    Running,
    Exited(Exit),
}

/// What comes next for a replica, unless something else comes before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Prepared,
    NotPrepared {
        permanent: bool,
    },
    Started,
    /// Its program ends by itself.
    Ends(Ending),
    /// It has stopped because it was told to.
    Stopped(Ending),
}

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Code(u8),
    Signal(u8),
    OutOfMemory,
    NeverStarted,
}

/// A step of a replica that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) after: Span,
    pub(crate) key: Key,
    /// Which of the shims that had this key one after the other.
    pub(crate) instance: u64,
    pub(crate) step: Step,
}

#[derive(Debug, Clone)]
pub(crate) struct Shim {
    pub(crate) spec: LaunchSpec,
    pub(crate) stage: Stage,
    /// It was told to stop; told again, nothing changes.
    stopping: bool,
    instance: u64,
    /// When its shim kills it, unless that is put off.
    pub(crate) deadline: Option<SimTime>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) shims: BTreeMap<Key, Shim>,
    pub(crate) programs: Programs,
    instances: u64,
    dice: Dice,
}

impl Ending {
    fn status(self) -> ExitStatus {
        match self {
            Self::Code(code) => ExitStatus::Code(code),
            Self::Signal(signal) => ExitStatus::Signal(signal),
            Self::OutOfMemory => ExitStatus::OutOfMemory,
            Self::NeverStarted => ExitStatus::NeverStarted,
        }
    }
}

impl Shim {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Exited(_))
    }

    /// Whether its program runs or is about to.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Running)
    }

    /// What somebody who looks now sees.
    pub(crate) fn seen(&self) -> Option<Observation> {
        match &self.stage {
            Stage::Preparing => None,
            // As long as it starts, the shim has not said yet that the program runs.
            Stage::Ready | Stage::Starting => {
                let port = self.spec.holds_store.then_some(29_500);
                Some(Observation::Ready { store_port: port, free_port: port.map(|port| port + 1) })
            }
            Stage::Running => Some(Observation::Running),
            Stage::Exited(exit) => Some(Observation::Exited(exit.clone())),
        }
    }
}

impl Processes {
    pub(crate) fn new(programs: Programs, dice: Dice) -> Self {
        Self { shims: BTreeMap::new(), programs, instances: 0, dice }
    }

    pub(crate) fn prepare(&mut self, spec: LaunchSpec) -> Timer {
        let key = (spec.id, spec.fence);
        self.instances += 1;
        let instance = self.instances;
        let shim =
            Shim { spec, stage: Stage::Preparing, stopping: false, instance, deadline: None };
        self.shims.insert(key, shim);
        let after = self.dice.span(Span::millis(5), self.programs.preparation);
        let step = match self.dice.hits(self.programs.unprepared) {
            true => Step::NotPrepared { permanent: self.dice.hits(2000) },
            false => Step::Prepared,
        };
        Timer { after, key, instance, step }
    }

    /// Starts a prepared program; anything else is left as it is.
    pub(crate) fn start(&mut self, key: Key) -> Option<Timer> {
        let shim = self.shims.get_mut(&key)?;
        if shim.stage != Stage::Ready || shim.stopping {
            return None;
        }
        shim.stage = Stage::Starting;
        let after = match self.dice.hits(1000) {
            true => self.dice.span(Span::millis(500), Span::seconds(5)),
            false => self.dice.span(Span::millis(1), Span::millis(100)),
        };
        Some(Timer { after, key, instance: shim.instance, step: Step::Started })
    }

    pub(crate) fn stop(&mut self, key: Key, grace: Millis) -> Option<Timer> {
        let shim = self.shims.get_mut(&key)?;
        if shim.has_ended() || shim.stopping {
            return None;
        }
        shim.stopping = true;
        let soon = self.dice.span(Span::millis(1), Span::millis(400));
        let (after, ending) = match shim.stage {
            Stage::Starting | Stage::Running if self.dice.hits(self.programs.hangs) => {
                (Span::millis(grace.0), Ending::Signal(9))
            }
            Stage::Starting | Stage::Running => {
                let endings = [Ending::Signal(15), Ending::Code(143), Ending::Code(0)];
                (soon, self.dice.pick(&endings).expect("there are three"))
            }
            _ => (soon, Ending::NeverStarted),
        };
        // What it was about to do by itself it may still do before.
        Some(Timer { after, key, instance: shim.instance, step: Step::Stopped(ending) })
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.shims.remove(&key);
    }

    /// A step's time has come. Answers what can be seen of it, and what comes then.
    pub(crate) fn step(&mut self, timer: &Timer) -> (Option<Observation>, Option<Timer>) {
        let programs = self.programs;
        let Some(shim) = self.shims.get_mut(&timer.key) else { return (None, None) };
        if shim.has_ended() || timer.instance != shim.instance {
            return (None, None);
        }
        let status = match &timer.step {
            Step::Prepared if shim.stage == Stage::Preparing => {
                shim.stage = Stage::Ready;
                return (shim.seen(), None);
            }
            Step::Started if shim.stage == Stage::Starting => {
                shim.stage = Stage::Running;
                let after = self.dice.span(Span::millis(20), programs.longest);
                let ending = match self.dice.hits(programs.fails) {
                    false => Ending::Code(0),
                    true => {
                        let bad = [
                            Ending::Code(1),
                            Ending::Code(137),
                            Ending::Signal(9),
                            Ending::Signal(11),
                            Ending::OutOfMemory,
                        ];
                        self.dice.pick(&bad).expect("there are five")
                    }
                };
                let ends = Timer { after, step: Step::Ends(ending), ..timer.clone() };
                return (shim.seen(), Some(ends));
            }
            Step::Prepared | Step::Started => return (None, None),
            Step::NotPrepared { permanent } => {
                ExitStatus::StartFailed { why: "no such thing".into(), permanent: *permanent }
            }
            Step::Ends(ending) | Step::Stopped(ending) => ending.status(),
        };
        shim.stage = Stage::Exited(Exit { status, after_stop: shim.stopping });
        (shim.seen(), None)
    }

    /// The agent says until when a replica may run. Answers whether that is news.
    pub(crate) fn put_off(&mut self, key: Key, deadline: Option<SimTime>) -> bool {
        let shim = self.shims.get_mut(&key).filter(|shim| !shim.has_ended());
        let is_news = |shim: &mut Shim| {
            let near = |a: SimTime, b: SimTime| a.0.abs_diff(b.0) < Span::millis(100).0;
            match (shim.deadline, deadline) {
                (Some(old), Some(new)) if near(old, new) => false,
                (old, new) => {
                    shim.deadline = new;
                    old != new
                }
            }
        };
        shim.is_some_and(is_news)
    }

    /// A deadline is over: the shim has killed what it held, whether its agent lives or not.
    pub(crate) fn overdue(&mut self, key: Key, now: SimTime) -> Option<Observation> {
        let shim = self.shims.get_mut(&key).filter(|shim| !shim.has_ended())?;
        shim.deadline.filter(|deadline| *deadline <= now)?;
        let status = match shim.runs() {
            true => ExitStatus::Signal(9),
            false => ExitStatus::NeverStarted,
        };
        shim.stage = Stage::Exited(Exit { status, after_stop: true });
        shim.seen()
    }

    /// Somebody kills a running program.
    pub(crate) fn kill_one(&mut self) -> Option<(Key, Observation)> {
        let running = self.shims.iter().filter(|(_, shim)| shim.stage == Stage::Running);
        let running: Vec<Key> = running.map(|(key, _)| *key).collect();
        let key = self.dice.pick(&running)?;
        let shim = self.shims.get_mut(&key)?;
        let exit = Exit { status: ExitStatus::Signal(9), after_stop: shim.stopping };
        shim.stage = Stage::Exited(exit.clone());
        Some((key, Observation::Exited(exit)))
    }

    /// The agent's process is gone: what it was preparing is removed at its next start.
    pub(crate) fn agent_died(&mut self) {
        self.shims.retain(|_, shim| shim.stage != Stage::Preparing);
    }

    /// The machine restarts: nothing of what ran is left but its traces on disk.
    pub(crate) fn reboot(&mut self) {
        self.agent_died();
        for shim in self.shims.values_mut().filter(|shim| !shim.has_ended()) {
            shim.stage =
                Stage::Exited(Exit { status: ExitStatus::Lost, after_stop: shim.stopping });
        }
    }

    /// What the machine's replicas ask for, those that have not ended.
    pub(crate) fn in_use(&self) -> Resources {
        let mut sum = Resources::new();
        for shim in self.shims.values().filter(|shim| !shim.has_ended()) {
            sum.add(&shim.spec.role.pod.request());
        }
        sum
    }
}
