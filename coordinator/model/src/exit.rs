//! How a replica ended, and what that says about why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The way in which a replica's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It ended by itself with this code, 0 ..= 255.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
    /// The kernel ended it because it passed its memory limit.
    OutOfMemory,
    /// It could not be prepared or started.
    StartFailed {
        /// Why, and what to do, as a sentence.
        why: String,
        /// Whether trying again without a change is pointless: a command that does not exist, say, but
        /// not a package that could not be fetched.
        permanent: bool,
    },
    /// It was ordered to stop before it had been started.
    NeverStarted,
    /// Its agent finds no trace of it: the machine restarted, or its supervisor was killed before
    /// it could write down how the process ended.
    Lost,
}

/// An ended replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it ended after its agent had been ordered to stop it.
    pub after_stop: bool,
}

/// What an ending says about its cause. It decides whether a restart without an explicit
/// `backoffLimit` is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The program itself: an exit code of its own, a crash, too much memory. A restart alone rarely
    /// helps.
    Program,
    /// Something around it: killed from outside, machine lost. A restart usually helps.
    Surroundings,
}

impl ExitStatus {
    /// The exit code as a shell and Kubernetes report it: 128 + signal for a signal, 137 for
    /// out of memory and lost processes, 128 for what never started (as `StartError` in Kubernetes).
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Code(code) => u16::from(*code),
            Self::Signal(signal) => 128 + u16::from(*signal),
            Self::OutOfMemory | Self::Lost => 137,
            Self::StartFailed { .. } | Self::NeverStarted => 128,
        }
    }

    /// Whether the process ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// Whether the same would happen again without a change.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::StartFailed { permanent: true, .. })
    }

    /// What this ending says about its cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Code(_) | Self::OutOfMemory | Self::StartFailed { permanent: true, .. } => {
                Cause::Program
            }
            // What may pass: a full disk, an index of packages that does not answer.
            Self::StartFailed { permanent: false, .. } | Self::NeverStarted | Self::Lost => {
                Cause::Surroundings
            }
            // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS come from the program's own deeds.
            Self::Signal(4 | 5 | 6 | 7 | 8 | 11 | 31) => Cause::Program,
            Self::Signal(_) => Cause::Surroundings,
        }
    }

    /// The word that Kubernetes puts into a terminated container's `reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Code(0) => "Completed",
            Self::OutOfMemory => "OOMKilled",
            Self::StartFailed { .. } => "StartError",
            Self::Lost | Self::NeverStarted => "ContainerStatusUnknown",
            Self::Code(_) | Self::Signal(_) => "Error",
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}{}", signal_name(*signal)),
            Self::OutOfMemory => f.write_str("out of memory: it passed its memory limit"),
            Self::StartFailed { why, .. } => write!(f, "could not be started: {why}"),
            Self::NeverStarted => f.write_str("stopped before it was started"),
            Self::Lost => f.write_str("lost: its node restarted or its supervisor was killed"),
        }
    }
}

fn signal_name(signal: u8) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
