//! The shim's side of its socket: whoever connects and is the shim's user, or root, may give orders and is
//! told how far the replica is.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use super::complain;
use super::protocol::{self, LONGEST, Order, Report, Stage};

/// More connections than an agent and the one that takes over from it need.
const MOST: usize = 4;

/// More notices than a replica has to give; later ones are dropped while nobody listens.
const MOST_NOTICES: usize = 16;

#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    connections: Vec<Connection>,
    stage: Stage,
    /// What nobody was there to hear.
    unheard: Vec<String>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Control {
    pub(super) fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            connections: Vec::new(),
            stage: Stage::Preparing { step: "starting".into() },
            unheard: Vec::new(),
        })
    }

    /// What to wait for input on.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let connections = self.connections.iter().map(|one| one.stream.as_fd());
        std::iter::once(self.listener.as_fd()).chain(connections)
    }

    /// Tells everybody how far the replica is.
    pub(super) fn stage(&mut self, stage: Stage) {
        self.stage = stage.clone();
        self.send(&Report::Stage(stage));
    }

    /// Tells everybody something for the job's events.
    pub(super) fn notice(&mut self, text: String) {
        let report = Report::Notice { text };
        if self.send(&report) {
            return;
        }
        if let Report::Notice { text } = report
            && self.unheard.len() < MOST_NOTICES
        {
            self.unheard.push(text);
        }
    }

    /// Answers whether anybody has heard it.
    fn send(&mut self, report: &Report) -> bool {
        let line = protocol::line(report);
        self.connections.retain_mut(|one| one.stream.write_all(&line).is_ok());
        !self.connections.is_empty()
    }

    /// Takes new connections and reads orders.
    pub(super) fn read(&mut self) -> Vec<Order> {
        while let Ok((stream, _)) = self.listener.accept() {
            // A refused connection is closed by the drop.
            if self.connections.len() < MOST && is_allowed(&stream) {
                self.welcome(stream);
            }
        }
        let mut orders = Vec::new();
        self.connections.retain_mut(|one| one.read(&mut orders));
        orders
    }

    fn welcome(&mut self, mut stream: UnixStream) {
        let mut greeting = protocol::line(&Report::Stage(self.stage.clone()));
        for text in self.unheard.drain(..) {
            greeting.extend(protocol::line(&Report::Notice { text }));
        }
        if stream.set_nonblocking(true).is_ok() && stream.write_all(&greeting).is_ok() {
            self.connections.push(Connection { stream, received: Vec::new() });
        }
    }
}

impl Connection {
    /// Reads what has come; answers whether the connection goes on.
    fn read(&mut self, orders: &mut Vec<Order>) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.received.len() > LONGEST {
                return false;
            }
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match protocol::read(&line[..end]) {
                Some(order) => orders.push(order),
                None => complain(format_args!(
                    "an order is not understood (a newer agent?): {}",
                    String::from_utf8_lossy(&line[..end])
                )),
            }
        }
        true
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}
