//! Why an environment could not be had. Every sentence ends with what to do next; what a tool said is
//! attached with its last lines.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::process::ProcessId;
use crate::version::PythonMinor;

/// Why an environment could not be had.
#[derive(Debug, Error)]
pub enum Error {
    /// No usable interpreter.
    #[error(
        "no Python {} or newer was found ({searched}); install one (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3) or put it in the PATH of the agent",
        PythonMinor::OLDEST
    )]
    NoPython {
        /// Where was looked, and what was found there.
        searched: String,
    },
    /// An interpreter that cannot make virtual environments, and no uv that could.
    #[error(
        "{} cannot make virtual environments, its modules venv and ensurepip are missing; install them (Debian, Ubuntu: apt install python3-venv), or put uv in the PATH of the agent",
        python.display()
    )]
    NoVenv {
        /// The interpreter.
        python: PathBuf,
    },
    /// `MUSTER_UV` names something that is not uv.
    #[error(
        "MUSTER_UV is {}, but {problem}; set it to a uv program of version 0.5 or newer, to off to use pip, or leave it away",
        program.display()
    )]
    BadUv {
        /// The value.
        program: PathBuf,
        /// What happened with it.
        problem: String,
    },
    /// The disk is full, or nearly.
    #[error(
        "there is no room for the environment under {}: {} MB are free; remove unused environments (muster env prune), clear the download cache (uv cache clean), or choose another folder{output}",
        root.display(), available / 1_000_000
    )]
    NoSpace {
        /// The store's folder.
        root: PathBuf,
        /// Bytes free for us.
        available: u64,
        /// What the tool said.
        output: Output,
    },
    /// The package index cannot be reached.
    #[error(
        "{step} failed because the package index cannot be reached; check the network of this machine, or set PIP_INDEX_URL (or index-url in /etc/pip.conf) to an index that it can reach{output}"
    )]
    NoNetwork {
        /// What was being done.
        step: &'static str,
        /// What the tool said.
        output: Output,
    },
    /// No set of versions fits.
    #[error(
        "the packages {} cannot be installed together for Python {python}; change the versions in the image's rule or in the annotation muster.dev/packages{output}",
        requirements.join(", ")
    )]
    Unsatisfiable {
        /// What was asked for.
        requirements: Vec<String>,
        /// The interpreter's minor version.
        python: PythonMinor,
        /// What the tool said.
        output: Output,
    },
    /// Any other failure of a tool.
    #[error("{step} failed ({status}); its last words were:{output}")]
    Tool {
        /// What was being done.
        step: &'static str,
        /// The exit status in words.
        status: String,
        /// What the tool said.
        output: Output,
    },
    /// Everything was installed, but it does not work.
    #[error(
        "the environment was installed but does not work: {problem}; change the packages of the image's rule, or list in check: what must import{output}"
    )]
    Check {
        /// What went wrong.
        problem: String,
        /// What Python said.
        output: Output,
    },
    /// The caller gave up.
    #[error("building the environment was cancelled")]
    Cancelled,
    /// Another process built the same environment while this one waited, and failed.
    #[error("process {pid}, which this one waited for, could not build the environment: {message}")]
    FailedElsewhere {
        /// The process that tried.
        pid: u32,
        /// Its error.
        message: String,
        /// Its [`Error::is_transient`].
        transient: bool,
    },
    /// An environment that somebody still uses cannot be removed.
    #[error("environment {key} is in use{}; stop its jobs first", by(users))]
    InUse {
        /// The short key.
        key: String,
        /// The processes known to use it.
        users: Vec<ProcessId>,
    },
    /// An environment was removed before the process that was to use it had noted itself.
    #[error("environment {} was removed before it could be used; the next start builds it again", path.display())]
    Gone {
        /// The environment's folder.
        path: PathBuf,
    },
    /// No environment has this key.
    #[error("there is no environment {key:?}; muster env list shows those that are there")]
    Unknown {
        /// The key as given.
        key: String,
    },
    /// More than one environment has this beginning of a key.
    #[error("{key:?} stands for more than one environment: {}; give more of the key", matches.join(", "))]
    Ambiguous {
        /// The key as given.
        key: String,
        /// The names that fit.
        matches: Vec<String>,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later with nobody changing the job.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSpace { .. }
            | Self::NoNetwork { .. }
            | Self::Cancelled
            | Self::InUse { .. }
            | Self::Gone { .. }
            | Self::Tool { .. }
            | Self::Io { .. } => true,
            Self::FailedElsewhere { transient, .. } => *transient,
            Self::NoPython { .. }
            | Self::NoVenv { .. }
            | Self::BadUv { .. }
            | Self::Unsatisfiable { .. }
            | Self::Check { .. }
            | Self::Unknown { .. }
            | Self::Ambiguous { .. } => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn by(users: &[ProcessId]) -> String {
    if users.is_empty() {
        return String::new();
    }
    let pids: Vec<String> = users.iter().map(|user| user.pid().to_string()).collect();
    format!(" by process {}", pids.join(", "))
}

/// The last lines of a tool's output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output(pub Vec<String>);

impl Output {
    /// Whether one of the lines holds one of the texts, whatever the case.
    pub(crate) fn mentions(&self, texts: &[&str]) -> bool {
        self.0.iter().any(|line| {
            let line = line.to_lowercase();
            texts.iter().any(|text| line.contains(text))
        })
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}
