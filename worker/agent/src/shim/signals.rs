//! The signals that the shim hears, as input to its loop. They stay blocked, so that none interrupts it; a
//! started process gets an empty mask and default actions.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// A child has ended.
    Child,
    /// Somebody wants the shim to end, such as the machine on its way down.
    Terminate,
}

#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals. To be called before any thread is started.
    pub(super) fn listen() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in
            [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]
        {
            mask.add(signal);
        }
        mask.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&mask, flags)?))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What has come.
    pub(super) fn read(&self) -> Vec<Wake> {
        let mut wakes = Vec::new();
        while let Ok(Some(info)) = self.0.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) => wakes.push(Wake::Child),
                Ok(Signal::SIGTERM) => wakes.push(Wake::Terminate),
                // The terminal that the agent was once started in is no concern of its replicas.
                _ => {}
            }
        }
        wakes
    }
}
