//! Until when the replica may run, as the agent has last said.
//!
//! The agent puts the end off as long as it knows that nobody can have started the replica elsewhere. It may die or stand
//! still, and the promise holds all the same: the shim keeps it. A shim that was told nothing has no end to keep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use muster_model::Millis;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::protocol::Until;
use crate::machine::clock::since_boot;

/// What is to be done by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask the processes to end, and kill them after so long.
    Ask(Millis),
    /// Kill what is left.
    Kill,
}

#[derive(Debug)]
pub(super) struct Lease {
    timer: OwnedFd,
    until: Option<Until>,
    /// They were asked; that is not taken back.
    asked: bool,
}

impl Lease {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { timer, until: None, asked: false })
    }

    /// Becomes readable when something is due.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// The agent has spoken.
    pub(super) fn set(&mut self, until: Option<Until>) -> io::Result<()> {
        self.until = until;
        self.arm()
    }

    /// What is due, each once.
    pub(super) fn due(&mut self) -> io::Result<Due> {
        let Some(until) = self.until else { return Ok(Due::Nothing) };
        let now = since_boot();
        let due = if now >= until.kill {
            self.until = None;
            Due::Kill
        } else if now >= until.stop && !self.asked {
            self.asked = true;
            Due::Ask(Millis(until.kill.0 - now.0))
        } else {
            return Ok(Due::Nothing);
        };
        self.arm()?;
        Ok(due)
    }

    /// Sets the timer to what comes next. That also makes it unreadable until then.
    fn arm(&self) -> io::Result<()> {
        let next = self.until.map(|until| if self.asked { until.kill } else { until.stop });
        // Zero would disarm it.
        let at = next.map_or(Millis(0), |at| Millis(at.0.max(1)));
        let at = Timespec {
            tv_sec: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at.0 % 1000 * 1_000_000).unwrap_or(0),
        };
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: once, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn waits_for_it(lease: &Lease) -> bool {
        let mut watched = [PollFd::from_borrowed_fd(lease.descriptor(), PollFlags::IN)];
        poll(&mut watched, None).is_ok_and(|ready| ready == 1)
    }

    #[test]
    fn processes_are_asked_and_then_killed() {
        let mut lease = Lease::new().unwrap();
        assert_eq!(lease.due().unwrap(), Due::Nothing);
        let now = since_boot().0;
        lease.set(Some(Until { stop: Millis(now + 30), kill: Millis(now + 60) })).unwrap();
        assert!(waits_for_it(&lease));
        assert!(matches!(lease.due().unwrap(), Due::Ask(left) if left.0 <= 30));
        assert_eq!(lease.due().unwrap(), Due::Nothing);
        assert!(waits_for_it(&lease));
        assert_eq!(lease.due().unwrap(), Due::Kill);
        assert_eq!(lease.due().unwrap(), Due::Nothing);
    }

    #[test]
    fn the_end_is_put_off_and_taken_away() {
        let mut lease = Lease::new().unwrap();
        let now = since_boot().0;
        lease.set(Some(Until { stop: Millis(now), kill: Millis(now + 600_000) })).unwrap();
        let far = Until { stop: Millis(now + 600_000), kill: Millis(now + 700_000) };
        lease.set(Some(far)).unwrap();
        assert_eq!(lease.due().unwrap(), Due::Nothing);
        lease.set(Some(Until { stop: Millis(0), kill: Millis(0) })).unwrap();
        lease.set(None).unwrap();
        assert_eq!(lease.due().unwrap(), Due::Nothing);
    }
}
