//! What a build tells its caller while it runs. A new kind of phase is told at once; news within a phase
//! at most every 200 ms, so that a caller may do something as slow as a network message with each.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk;

/// How often a caller hears of something that goes on.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// A measurement of the folder may take this share of the time at most: one part in this many.
const MEASURING_SHARE: u32 = 20;

/// One message of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Time since `ensure` was called.
    pub elapsed: Duration,
    /// Bytes of the environment on disk so far. Downloads lie in the tool's cache first and do not
    /// count; see [`Phase::Downloading`] for those.
    pub bytes_on_disk: u64,
}

/// What a build is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Another process builds the same environment.
    Waiting {
        /// Its pid, where known.
        builder: Option<u32>,
    },
    /// uv is fetched into Muster's own folder, once per machine.
    FetchingUv,
    /// The empty environment is made.
    Creating,
    /// The versions to install are worked out.
    Resolving,
    /// Packages are downloaded.
    Downloading {
        /// The package that was started or finished last.
        package: String,
        /// Its size in bytes, where known.
        size: Option<u64>,
        /// Bytes of the packages that are complete.
        done: u64,
        /// Bytes of all packages known so far.
        total: u64,
    },
    /// Packages are put in the environment.
    Installing {
        /// How many, where known.
        packages: Option<u32>,
    },
    /// Their bytecode is compiled, on all cores.
    Compiling,
    /// The environment is tried out.
    Checking {
        /// The module that is imported; empty before the first.
        module: String,
    },
    /// Everything is forced to disk.
    Syncing,
    /// The environment is ready.
    Done,
    /// Something worth knowing happened; the build goes on.
    Notice(String),
}

impl Phase {
    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { builder: Some(pid) } => {
                write!(f, "waiting for process {pid}, which builds it")
            }
            Self::Waiting { builder: None } => f.write_str("waiting for another process"),
            Self::FetchingUv => f.write_str("fetching uv"),
            Self::Creating => f.write_str("creating"),
            Self::Resolving => f.write_str("resolving"),
            Self::Downloading { package, size, done, total } => {
                write!(f, "downloading {package}")?;
                if let Some(size) = size {
                    write!(f, " ({})", disk::human(*size))?;
                }
                write!(f, ", {} of {} done", disk::human(*done), disk::human(*total))
            }
            Self::Installing { packages: Some(count) } => write!(f, "installing {count} packages"),
            Self::Installing { packages: None } => f.write_str("installing"),
            Self::Compiling => f.write_str("compiling"),
            Self::Checking { module } if module.is_empty() => f.write_str("checking"),
            Self::Checking { module } => write!(f, "checking: import {module}"),
            Self::Syncing => f.write_str("writing to disk"),
            Self::Done => f.write_str("ready"),
            Self::Notice(text) => f.write_str(text),
        }
    }
}

/// The caller's callback with what it needs to be called rightly.
pub(crate) struct Reporter<'a> {
    callback: &'a mut dyn FnMut(Progress),
    start: Instant,
    /// The phase that goes on, told or not, and when the last message was sent.
    current: Option<(Phase, Instant)>,
    /// The folder whose size is told.
    folder: Option<PathBuf>,
    bytes: u64,
    measured: Option<(Instant, Duration)>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(callback: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            callback,
            start: Instant::now(),
            current: None,
            folder: None,
            bytes: 0,
            measured: None,
        }
    }

    /// From now on the messages tell the size of this folder.
    pub(crate) fn watch(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
        self.bytes = 0;
        self.measured = None;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells a phase, unless the same kind was told a moment ago: then the next tick tells it.
    pub(crate) fn phase(&mut self, phase: Phase) {
        let now = Instant::now();
        if matches!(phase, Phase::Notice(_)) {
            // A notice does not end the phase that it interrupts.
            self.tell(phase, now);
            return;
        }
        let at = match &self.current {
            Some((current, at)) if current.same_kind(&phase) && now.duration_since(*at) < TICK => {
                *at
            }
            _ => {
                self.tell(phase.clone(), now);
                now
            }
        };
        self.current = Some((phase, at));
    }

    /// Tells the present phase again if its time has come.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        if let Some((phase, at)) = &mut self.current
            && now.duration_since(*at) >= TICK
        {
            *at = now;
            let phase = phase.clone();
            self.tell(phase, now);
        }
    }

    fn tell(&mut self, phase: Phase, now: Instant) {
        self.measure(now);
        (self.callback)(Progress {
            phase,
            elapsed: self.start.elapsed(),
            bytes_on_disk: self.bytes,
        });
    }

    fn measure(&mut self, now: Instant) {
        let Some(folder) = &self.folder else { return };
        let due =
            self.measured.is_none_or(|(at, took)| now.duration_since(at) >= took * MEASURING_SHARE);
        if due {
            self.bytes = disk::usage(folder);
            self.measured = Some((now, now.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_kind_of_phase_is_told_at_once_and_more_of_the_same_is_not() {
        let mut told = Vec::new();
        let mut callback = |progress: Progress| told.push(progress.phase);
        let mut reporter = Reporter::new(&mut callback);
        reporter.phase(Phase::Resolving);
        reporter.phase(Phase::Resolving);
        reporter.phase(Phase::Notice("a".into()));
        reporter.phase(Phase::Notice("b".into()));
        reporter.phase(Phase::Resolving);
        reporter.tick();
        reporter.phase(Phase::Installing { packages: Some(2) });
        reporter.phase(Phase::Done);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["resolving", "a", "b", "installing 2 packages", "ready"]);
    }

    #[test]
    fn a_tick_tells_what_goes_on_now_and_not_what_was_told_last() {
        let mut told = Vec::new();
        let mut callback = |progress: Progress| told.push(progress.phase.to_string());
        let mut reporter = Reporter::new(&mut callback);
        for module in ["pip", "torch"] {
            reporter.phase(Phase::Checking { module: module.to_owned() });
        }
        let (_, at) = reporter.current.as_mut().expect("a phase");
        *at -= TICK;
        reporter.tick();
        reporter.tick();
        assert_eq!(told, ["checking: import pip", "checking: import torch"]);
    }

    #[test]
    fn phases_read_as_sentences() {
        let downloading = Phase::Downloading {
            package: "torch".into(),
            size: Some(541_200_000),
            done: 3_000_000,
            total: 544_200_000,
        };
        assert_eq!(downloading.to_string(), "downloading torch (541 MB), 3.0 MB of 544 MB done");
        assert_eq!(
            Phase::Waiting { builder: Some(7) }.to_string(),
            "waiting for process 7, which builds it"
        );
    }
}
