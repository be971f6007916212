//! Why a port could not be reserved or a server not be started.

use rustix::io::Errno;
use thiserror::Error;

/// Why a port could not be reserved or a server not be started.
#[derive(Debug, Error)]
pub enum Error {
    /// No socket could be bound.
    #[error(
        "no port for the rendezvous store could be bound: {source}; free some sockets, or check the machine's network settings"
    )]
    Bind {
        /// What the kernel said.
        source: Errno,
    },
    /// The event loop's descriptors or thread could not be had.
    #[error(
        "the rendezvous store could not start, {what} failed: {source}; raise the limit of open files (ulimit -n) or of processes"
    )]
    Start {
        /// The call that failed.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn start(what: &'static str, source: impl Into<std::io::Error>) -> Self {
        Self::Start { what, source: source.into() }
    }
}
