//! The rendezvous store that rank 0's shim holds: reserved when the replica is prepared, served from the
//! opening of the generation to the replica's end.
//!
//! It runs on a thread of its own. What it has to say to the user comes to the shim's loop as notices.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use muster_rendezvous::{Error, Options, Reservation, Server, ServerHandle};
use rustix::event::{EventfdFlags, eventfd};

/// More notices than are worth reading.
const MOST: usize = 16;

#[derive(Debug)]
pub(super) struct Store {
    port: u16,
    state: State,
    /// Rung by the store's thread when there is something to hear.
    bell: Arc<OwnedFd>,
    told: Receiver<String>,
    tell: SyncSender<String>,
}

#[derive(Debug)]
enum State {
    Reserved(Reservation),
    Serving(ServerHandle),
    Ended,
}

impl Store {
    /// Takes a port. Clients that connect to it wait, until the store is started or gone. Where the node is known by a
    /// loopback address, only this machine reaches it: the protocol has no authentication.
    pub(super) fn reserve(node_address: &str) -> Result<Self, Error> {
        let is_loopback = node_address.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
        let reservation = match is_loopback {
            true => Reservation::bind_loopback(None)?,
            false => Reservation::bind(None)?,
        };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = eventfd(0, flags).map_err(|source| Error::Bind { source })?;
        let (tell, told) = sync_channel(MOST);
        Ok(Self {
            port: reservation.port(),
            state: State::Reserved(reservation),
            bell: Arc::new(bell),
            told,
            tell,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Serves. `processes` is how many the whole gang has.
    pub(super) fn start(&mut self, processes: u32) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Reserved(reservation) => {
                let (tell, bell) = (self.tell.clone(), Arc::clone(&self.bell));
                let options = Options {
                    world_size: Some(processes),
                    events: Some(Box::new(move |event| {
                        // A full channel has more to read than anybody will.
                        let _ = tell.try_send(event.to_string());
                        let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
                    })),
                    ..Options::default()
                };
                self.state = State::Serving(Server::start(reservation, options)?);
            }
            other => self.state = other,
        }
        Ok(())
    }

    /// What to wait for notices on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        (*self.bell).as_fd()
    }

    /// What the store has to say.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut count = [0; 8];
        let _: Result<usize, _> = rustix::io::read(&*self.bell, &mut count);
        self.told.try_iter().collect()
    }

    /// Closes every connection.
    pub(super) fn close(self) {
        if let State::Serving(server) = self.state {
            server.close();
        }
    }
}

/// A store's error as one of input and output.
pub(super) fn plain(error: Error) -> io::Error {
    io::Error::other(error)
}
