//! One connection: bytes in, requests executed, replies out.
//!
//! Most requests arrive whole, in a buffer that all connections share; an idle connection has none. What is left of
//! a request that is not whole moves to a buffer of the connection's own, which is made as long as the request
//! says it will be, so that a value of a megabyte is read where it stays.

use std::mem;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{ConnectionId, Epoll};
use crate::ledger::{Charge, Ledger};
use crate::protocol::{Greeting, Scan, Scanned, Stranger, Violation, greet};
use crate::replies::Replies;
use crate::store::{Request, STOP_WAITING, Session, Store};

#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    peer: IpAddr,
    greeted: bool,
    session: Session,
    scan: Scan,
    input: Input,
    output: Option<Box<Output>>,
    watched: EventFlags,
    /// The client has sent all it will; what is left is to deliver its replies.
    ending: bool,
}

/// What came of a request that is not whole.
#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    charge: Charge,
    wanted: Wanted,
}

/// How long the request is at least, and whether it is exactly so long.
#[derive(Debug, Default)]
struct Wanted {
    at_least: usize,
    exact: bool,
}

/// What one read brought.
#[derive(Clone, Copy, Debug)]
enum Got {
    /// As many bytes as there was room for; there may be more.
    Full(usize),
    /// All there was.
    Some,
    Nothing,
    /// The client will send no more.
    End,
}

/// Replies that the kernel did not take yet.
#[derive(Debug)]
struct Output {
    replies: Replies,
    charge: Charge,
}

/// What the connections share, as there is one thread.
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) ledger: Ledger,
    pub(super) replies: Replies,
    pub(super) requests: u64,
    inbox: Vec<u8>,
}

/// Why a connection is closed.
#[derive(Debug)]
pub(super) enum Closing {
    /// The client closed it, or it broke.
    Gone,
    /// It is no client, and these were its first bytes.
    Refused(Stranger, Vec<u8>),
    /// It asked for something that is not done.
    Broke(Violation),
}

/// What one read takes, but for a request that is known to be longer.
const INBOX: usize = 64 << 10;

/// How much one connection may send before the others have their turn.
const TURN: usize = 1 << 20;

/// The least that is made room for when it is not known how much comes.
const PIECE: usize = 4 << 10;

/// From this length on a value keeps the buffer it was read into.
const KEEP: usize = 32 << 10;

// === impl Desk ===

impl Desk {
    pub(super) fn new(store: Store, ledger: Ledger) -> Self {
        let inbox = Vec::with_capacity(INBOX);
        Self { store, ledger, replies: Replies::default(), requests: 0, inbox }
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(
        socket: OwnedFd,
        id: ConnectionId,
        (peer, ledger): (IpAddr, &Ledger),
    ) -> Self {
        Self {
            socket,
            peer,
            greeted: false,
            session: Session::new(id, peer),
            scan: Scan::default(),
            input: Input { bytes: Vec::new(), charge: ledger.charge(0), wanted: Wanted::default() },
            output: None,
            watched: EventFlags::IN,
            ending: false,
        }
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Reads and serves what there is, to the end of the turn.
    fn receive(&mut self, desk: &mut Desk) -> Result<(), Closing> {
        let mut taken = 0;
        while taken < TURN && self.output.is_none() {
            let got = if self.input.bytes.is_empty() {
                self.receive_shared(desk)?
            } else {
                self.receive_own(desk)?
            };
            match got {
                Got::Full(len) => taken += len,
                Got::Some | Got::Nothing => break,
                Got::End if self.output.is_none() => return Err(Closing::Gone),
                Got::End => self.ending = true,
            }
        }
        Ok(())
    }

    /// Reads into the shared buffer.
    fn receive_shared(&mut self, desk: &mut Desk) -> Result<Got, Closing> {
        let mut inbox = mem::take(&mut desk.inbox);
        inbox.clear();
        let got = read(&self.socket, &mut inbox).and_then(|got| {
            let used = self.serve(&inbox, desk)?;
            if used < inbox.len() {
                self.input.keep(&inbox[used..], &desk.ledger)?;
            }
            Ok(got)
        });
        desk.inbox = inbox;
        got
    }

    /// Reads on, into the connection's own buffer.
    fn receive_own(&mut self, desk: &mut Desk) -> Result<Got, Closing> {
        self.input.make_room(&desk.ledger)?;
        let got = read(&self.socket, &mut self.input.bytes)?;
        self.serve_own(desk)?;
        Ok(got)
    }

    /// Serves what is in the connection's own buffer.
    fn serve_own(&mut self, desk: &mut Desk) -> Result<(), Closing> {
        let mut bytes = mem::take(&mut self.input.bytes);
        if self.greeted && bytes.len() >= KEEP {
            match self.serve_owned(bytes, desk)? {
                Some(others) => bytes = others,
                None => return Ok(()),
            }
        }
        let used = self.serve(&bytes, desk)?;
        if used < bytes.len() {
            bytes.drain(..used);
            self.input.bytes = bytes;
        } else {
            self.input.charge.resize(0);
        }
        Ok(())
    }

    /// Serves the one request that these bytes are, if its value can keep them.
    fn serve_owned(&mut self, bytes: Vec<u8>, desk: &mut Desk) -> Result<Option<Vec<u8>>, Closing> {
        match self.scan.advance(&bytes).map_err(Closing::Broke)? {
            Scanned::Whole { opcode, len } if len == bytes.len() => {
                let request = (opcode, bytes);
                let left = desk.store.execute_owned(&mut self.session, request, &mut desk.replies);
                if left.is_none() {
                    desk.requests += 1;
                    self.scan = Scan::default();
                    self.input.charge.resize(0);
                    self.flush(desk)?;
                }
                Ok(left)
            }
            _ => Ok(Some(bytes)),
        }
    }

    /// Serves the whole requests of these bytes, and says how many bytes they have.
    fn serve(&mut self, bytes: &[u8], desk: &mut Desk) -> Result<usize, Closing> {
        let served = self.execute(bytes, desk);
        // Replies to what came before a mistake are still due.
        let flushed = self.flush(desk);
        let used = served?;
        flushed?;
        Ok(used)
    }

    fn execute(&mut self, bytes: &[u8], desk: &mut Desk) -> Result<usize, Closing> {
        let mut used = 0;
        if !self.greeted {
            match greet(bytes) {
                Greeting::Client(len) => used = len,
                Greeting::Incomplete => return Ok(0),
                Greeting::Refused(who) => return Err(Closing::Refused(who, bytes.to_vec())),
            }
            self.greeted = true;
        }
        self.input.wanted = Wanted::default();
        while used < bytes.len() && self.output.is_none() {
            let bytes = &bytes[used..];
            match self.scan.advance(bytes).map_err(Closing::Broke)? {
                Scanned::Whole { opcode, len } => {
                    let request = Request { opcode, bytes: &bytes[..len] };
                    desk.store
                        .execute(&mut self.session, request, &mut desk.replies)
                        .map_err(Closing::Broke)?;
                    desk.requests += 1;
                    self.scan = Scan::default();
                    used += len;
                    if desk.replies.is_much() {
                        self.flush(desk)?;
                    }
                }
                Scanned::Partial { at_least, exact } => {
                    self.input.wanted = Wanted { at_least, exact };
                    break;
                }
            }
        }
        Ok(used)
    }

    /// Sends the gathered replies. What the kernel does not take becomes the connection's output.
    fn flush(&mut self, desk: &mut Desk) -> Result<(), Closing> {
        match desk.replies.send(&self.socket) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let output = Output::new(mem::take(&mut desk.replies), &desk.ledger)?;
                self.output = Some(Box::new(output));
                Ok(())
            }
            Err(_) => {
                desk.replies = Replies::default();
                Err(Closing::Gone)
            }
        }
    }

    /// Sends on; when all is sent, serves what waited for that.
    fn drain(&mut self, desk: &mut Desk) -> Result<(), Closing> {
        if let Some(output) = &mut self.output
            && !output.send(&self.socket)?
        {
            return Ok(());
        }
        self.output = None;
        if !self.input.bytes.is_empty() {
            self.serve_own(desk)?;
        }
        if self.ending && self.output.is_none() { Err(Closing::Gone) } else { Ok(()) }
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, desk: &mut Desk) -> Result<(), Closing> {
        if self.output.is_some() { self.drain(desk) } else { self.receive(desk) }
    }

    /// Tells the client that what it waits for is there.
    pub(super) fn stop_waiting(&mut self, ledger: &Ledger) -> Result<(), Closing> {
        self.session.told();
        if let Some(output) = &mut self.output {
            output.replies.push(&[STOP_WAITING]);
            return Ok(());
        }
        match send(&self.socket, &[STOP_WAITING], SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::INTR) => {
                let mut replies = Replies::default();
                replies.push(&[STOP_WAITING]);
                self.output = Some(Box::new(Output::new(replies, ledger)?));
                Ok(())
            }
            Err(_) => Err(Closing::Gone),
        }
    }

    /// Watches for what comes next: room for replies, or requests.
    pub(super) fn watch(&mut self, epoll: &Epoll) -> Result<(), Closing> {
        let wanted = if self.output.is_some() { EventFlags::OUT } else { EventFlags::IN };
        if wanted != self.watched {
            let id = self.session.id.into();
            epoll.modify(&self.socket, id, wanted).map_err(|_| Closing::Gone)?;
            self.watched = wanted;
        }
        Ok(())
    }
}

// === impl Input ===

impl Input {
    /// Keeps the beginning of a request.
    fn keep(&mut self, bytes: &[u8], ledger: &Ledger) -> Result<(), Closing> {
        let len = bytes.len().max(self.wanted.at_least);
        ledger.admit(len).map_err(Closing::Broke)?;
        self.bytes = Vec::with_capacity(len);
        self.bytes.extend_from_slice(bytes);
        self.charge.resize(self.bytes.capacity());
        Ok(())
    }

    /// Makes room for the rest of a request, or for a good part of it.
    fn make_room(&mut self, ledger: &Ledger) -> Result<(), Closing> {
        let len = self.bytes.len();
        let missing = self.wanted.at_least.saturating_sub(len).max(1);
        if self.bytes.capacity() - len < missing {
            // A list's length is known only at its end: grow by doubling.
            let more = if self.wanted.exact { missing } else { missing.max(len).max(PIECE) };
            ledger.admit(more).map_err(Closing::Broke)?;
            self.bytes.reserve_exact(more);
            self.charge.resize(self.bytes.capacity());
        }
        Ok(())
    }
}

// === impl Output ===

impl Output {
    fn new(replies: Replies, ledger: &Ledger) -> Result<Self, Closing> {
        let memory = replies.memory();
        ledger.admit(memory).map_err(Closing::Broke)?;
        Ok(Self { replies, charge: ledger.charge(memory) })
    }

    /// Whether all is sent.
    fn send(&mut self, socket: &OwnedFd) -> Result<bool, Closing> {
        let all = self.replies.send(socket).map_err(|_| Closing::Gone)?;
        self.charge.resize(self.replies.memory());
        Ok(all)
    }
}

/// Reads once into a buffer's room, of which there is some.
fn read(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Got, Closing> {
    let room = buffer.capacity() - buffer.len();
    match recv(socket, spare_capacity(buffer), RecvFlags::empty()) {
        Ok((0, _)) => Ok(Got::End),
        Ok((len, _)) if len == room => Ok(Got::Full(len)),
        Ok(_) => Ok(Got::Some),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Got::Nothing),
        Err(_) => Err(Closing::Gone),
    }
}
