//! Takes new connections.
//!
//! When the process may open no more files, a new connection is taken with a descriptor kept for this, and closed:
//! the client sees a reset and tries again until its own timeout, where it would hang without one if it were left
//! in the queue. If even that fails, the listener rests for a while; it never spins.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::{Epoll, LISTENER};

#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    /// Given up to refuse a connection that no descriptor is left for.
    spare: Option<OwnedFd>,
    resting_until: Option<Instant>,
}

/// What one turn of accepting did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// How many connections one turn takes, so that those that are open are served between.
const TURN: usize = 256;

const REST: Duration = Duration::from_millis(100);

impl Listener {
    pub(super) fn new(socket: OwnedFd, epoll: &Epoll) -> Result<Self, Errno> {
        epoll.add(&socket, LISTENER, EventFlags::IN)?;
        Ok(Self { socket, spare: spare(), resting_until: None })
    }

    /// Accepts what waits, and hands it over.
    pub(super) fn accept(
        &mut self,
        epoll: &Epoll,
        mut admit: impl FnMut(OwnedFd, IpAddr) -> Result<(), Errno>,
    ) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..TURN {
            match self.take() {
                Ok((socket, peer)) => match admit(socket, peer) {
                    Ok(()) => tally.accepted += 1,
                    Err(_) => tally.refused += 1,
                },
                Err(Errno::AGAIN) => break,
                Err(Errno::MFILE | Errno::NFILE) if self.spare.is_some() => {
                    self.spare = None;
                    // With the descriptor just given up; dropping the connection closes it.
                    let taken = self.take();
                    tally.refused += u64::from(taken.is_ok());
                    drop(taken);
                    self.spare = spare();
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.pause(epoll);
                    break;
                }
                // The connection is gone before it was taken, or a signal came.
                Err(_) => {}
            }
        }
        tally
    }

    /// How long it rests.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.resting_until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Ends a rest that is over.
    pub(super) fn wake(&mut self, epoll: &Epoll) -> Result<(), Errno> {
        if self.resting_until.is_some_and(|until| until <= Instant::now()) {
            self.resting_until = None;
            self.spare = self.spare.take().or_else(spare);
            epoll.modify(&self.socket, LISTENER, EventFlags::IN)?;
        }
        Ok(())
    }

    fn pause(&mut self, epoll: &Epoll) {
        if epoll.modify(&self.socket, LISTENER, EventFlags::empty()).is_ok() {
            self.resting_until = Some(Instant::now() + REST);
        }
    }

    fn take(&self) -> Result<(OwnedFd, IpAddr), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, peer) = acceptfrom_with(&self.socket, flags)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let address = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |peer| peer.ip().to_canonical());
        Ok((socket, address))
    }
}

/// The cheapest descriptor.
fn spare() -> Option<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC).ok()
}
