//! The event loop: one thread, all sockets.
//!
//! A turn takes what epoll reports and serves each connection once: read, execute, reply. Whoever is woken by a
//! request is told right after the replies to it. A connection whose replies the kernel does not take is not
//! read from until it does.

mod accept;
mod connection;
mod connections;
mod epoll;

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use accept::Listener;
use connection::{Closing, Connection, Desk};
pub(crate) use connections::ConnectionId;
use connections::Connections;
pub(crate) use epoll::Epoll;

use crate::event::Reporter;
use crate::ledger::Ledger;
use crate::server::Shared;
use crate::stats::Stats;
use crate::store::{Rules, Store};

/// What a reactor is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) epoll: Epoll,
    pub(crate) listener: OwnedFd,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rules: Rules,
    pub(crate) memory_limit: usize,
}

/// The event loop and all that it owns.
pub(crate) struct Reactor<'a> {
    epoll: Epoll,
    listener: Listener,
    shared: Arc<Shared>,
    reporter: &'a mut Reporter,
    connections: Connections,
    desk: Desk,
    woken: Vec<ConnectionId>,
    accepted: u64,
    refused: u64,
}

/// The listener's and the bell's tokens; no connection has them.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

impl<'a> Reactor<'a> {
    pub(crate) fn new(setup: Setup, reporter: &'a mut Reporter) -> Result<Self, Errno> {
        let Setup { epoll, listener, shared, rules, memory_limit } = setup;
        let ledger = Ledger::new(memory_limit);
        epoll.add(shared.bell(), BELL, EventFlags::IN)?;
        let listener = Listener::new(listener, &epoll)?;
        Ok(Self {
            epoll,
            listener,
            shared,
            reporter,
            connections: Connections::default(),
            desk: Desk::new(Store::new(rules, ledger.clone()), ledger),
            woken: Vec::new(),
            accepted: 0,
            refused: 0,
        })
    }

    /// Serves until the handle says stop.
    pub(crate) fn run(mut self) -> Result<(), Errno> {
        let mut events = Vec::with_capacity(Epoll::EVENTS);
        while !self.shared.should_stop() {
            let timeout = self.listener.rest();
            self.epoll.wait(&mut events, timeout)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    BELL => self.answer(),
                    token => self.serve(ConnectionId::from(token)),
                }
            }
            self.listener.wake(&self.epoll)?;
            self.connections.end_turn();
            self.publish();
        }
        Ok(())
    }

    fn accept(&mut self) {
        let connections = &mut self.connections;
        let epoll = &self.epoll;
        let ledger = &self.desk.ledger;
        let tally = self.listener.accept(epoll, |socket, peer| {
            connections.insert(|id| {
                epoll.add(&socket, id.into(), EventFlags::IN)?;
                Ok(Connection::new(socket, id, (peer, ledger)))
            })
        });
        self.accepted += tally.accepted;
        self.refused += tally.refused;
        if tally.refused > 0 {
            let connections = self.connections.len();
            self.reporter.tell(crate::Event::NoDescriptors { connections });
        }
    }

    fn answer(&mut self) {
        let mut count = [0; 8];
        // Only silences the bell; what it rang for is looked at in any case.
        let _ = rustix::io::read(self.shared.bell(), &mut count);
        for question in self.shared.take_questions() {
            let waits = self.desk.store.longest_waits(question.most);
            // Whoever asked may have given up.
            let _ = question.answer.try_send(waits);
        }
    }

    fn serve(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let served = connection.turn(&mut self.desk);
        self.desk.replies.trim();
        match served.and_then(|()| connection.watch(&self.epoll)) {
            Ok(()) => {}
            Err(closing) => self.close(id, closing),
        }
        while self.desk.store.has_woken() {
            self.tell_woken();
        }
    }

    fn tell_woken(&mut self) {
        let mut woken = mem::take(&mut self.woken);
        self.desk.store.take_woken(&mut woken);
        for id in woken.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let told = connection.stop_waiting(&self.desk.ledger);
            if let Err(closing) = told.and_then(|()| connection.watch(&self.epoll)) {
                self.close(id, closing);
            }
        }
        self.woken = woken;
    }

    fn close(&mut self, id: ConnectionId, closing: Closing) {
        let Some(connection) = self.connections.remove(id) else { return };
        let peer = connection.peer();
        match closing {
            Closing::Gone => {}
            Closing::Refused(stranger, said) => {
                self.refused += 1;
                self.reporter.stranger(peer, stranger, &said);
            }
            Closing::Broke(violation) => {
                self.refused += 1;
                self.reporter.violation(peer, violation);
            }
        }
        self.desk.store.disconnect(connection.session());
    }

    fn publish(&self) {
        let store = &self.desk.store;
        self.shared.stats.write(&Stats {
            connections: self.connections.len() as u64,
            accepted: self.accepted,
            refused: self.refused,
            requests: self.desk.requests,
            waiting: store.waiting() as u64,
            keys: store.keys() as u64,
            inits: u64::from(store.inits()),
            memory: self.desk.ledger.used() as u64,
        });
    }
}
