//! What the server holds, and what each operation does to it.
//!
//! No sockets here: an operation writes its reply into [`Replies`] and names the connections whose wait it ended
//! in [`Store::take_woken`].

mod inits;
mod keyspace;
mod number;
mod operations;
mod waits;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

pub(crate) use inits::Rules;
use inits::{Access, Inits, Membership, SHARED, SpaceId};
use keyspace::Keyspace;
pub use waits::Wait;
use waits::{Waits, Wake};

use crate::ledger::{Blob, Ledger, OVERHEAD};
use crate::protocol::{Fields, Opcode, Violation};
use crate::reactor::ConnectionId;
use crate::replies::Replies;

/// The reply to a `WAIT` or a `BARRIER` that is over.
pub(crate) const STOP_WAITING: u8 = 0;

/// Values, queues, waits and rounds.
#[derive(Debug)]
pub(crate) struct Store {
    ledger: Ledger,
    inits: Inits,
    shared: Keyspace,
    /// Oldest first; as many as there are rounds alive, which is two but for a moment.
    rounds: Vec<(SpaceId, Keyspace)>,
    waits: Waits,
    woken: Vec<ConnectionId>,
    /// Whoever a `QUEUE_PUSH` woke and has not said anything since. If it goes away, the next one is woken.
    owed: HashMap<ConnectionId, (SpaceId, Blob)>,
}

/// One connection, as the store knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: ConnectionId,
    address: IpAddr,
    membership: Membership,
    /// It has a wait, or had one whose end it was not told yet.
    waiting: bool,
}

/// One request: its operation, and its bytes from the operation's on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) bytes: &'a [u8],
}

/// A session and where its replies go.
struct Turn<'a> {
    session: &'a mut Session,
    replies: &'a mut Replies,
}

// === impl Session ===

impl Session {
    pub(crate) fn new(id: ConnectionId, address: IpAddr) -> Self {
        Self { id, address, membership: Membership::default(), waiting: false }
    }

    /// It was told that its wait is over.
    pub(crate) fn told(&mut self) {
        self.waiting = false;
    }
}

// === impl Store ===

impl Store {
    pub(crate) fn new(rules: Rules, ledger: Ledger) -> Self {
        Self {
            ledger,
            inits: Inits::new(rules),
            shared: Keyspace::default(),
            rounds: Vec::new(),
            waits: Waits::default(),
            woken: Vec::new(),
            owed: HashMap::new(),
        }
    }

    /// Moves the connections whose wait is over into `into`, which is empty.
    pub(crate) fn take_woken(&mut self, into: &mut Vec<ConnectionId>) {
        std::mem::swap(&mut self.woken, into);
    }

    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Does what a request says.
    pub(crate) fn execute(
        &mut self,
        session: &mut Session,
        request: Request<'_>,
        replies: &mut Replies,
    ) -> Result<(), Violation> {
        self.begin(session.id, request.opcode);
        self.ledger.admit(growth(request))?;
        let fields = Fields::new(request.bytes);
        let turn = Turn { session, replies };
        match request.opcode {
            Opcode::Set => self.set(turn, fields),
            Opcode::CompareSet => self.compare_set(turn, fields),
            Opcode::Get => self.get(turn, fields),
            Opcode::Add => return self.add(turn, fields),
            Opcode::Check => self.check(turn, fields),
            Opcode::Wait => self.wait(turn, fields),
            Opcode::GetNumKeys => self.count_keys(turn),
            Opcode::DeleteKey => self.delete(turn, fields),
            Opcode::Append => self.append(turn, fields),
            Opcode::MultiGet => self.multi_get(turn, fields),
            Opcode::MultiSet => self.multi_set(turn, fields),
            Opcode::CancelWait => self.cancel_wait(turn),
            Opcode::Ping => Self::ping(turn, fields),
            Opcode::QueuePush => self.queue_push(turn, fields),
            Opcode::QueuePop => self.queue_pop(turn, fields),
            Opcode::QueueLen => self.queue_len(turn, fields),
            Opcode::ListKeys => self.list_keys(turn),
            Opcode::Barrier => return self.barrier(turn, fields),
        }
        Ok(())
    }

    /// Does what a `SET` or `QUEUE_PUSH` says, and keeps the request as the value's memory. Other requests come
    /// back.
    pub(crate) fn execute_owned(
        &mut self,
        session: &mut Session,
        (opcode, bytes): (Opcode, Vec<u8>),
        replies: &mut Replies,
    ) -> Option<Vec<u8>> {
        if !matches!(opcode, Opcode::Set | Opcode::QueuePush) {
            return Some(bytes);
        }
        self.begin(session.id, opcode);
        let mut fields = Fields::new(&bytes);
        let key = fields.string().to_vec();
        let start = bytes.len() - fields.string().len();
        let value = self.ledger.blob_from(bytes, start);
        let mut turn = Turn { session, replies };
        if opcode == Opcode::Set {
            self.put(&mut turn, &key, value);
        } else {
            self.push(&mut turn, &key, value);
        }
        None
    }

    /// A connection is closed.
    pub(crate) fn disconnect(&mut self, session: &Session) {
        self.waits.cancel(session.id);
        self.pass_on(session.id);
        self.inits.leave(&session.membership);
        for space in self.inits.retire() {
            self.rounds.retain(|(round, _)| *round != space);
            self.waits.forget(space);
        }
    }

    /// The keys that are waited for, the longest waited first, at most so many.
    pub(crate) fn longest_waits(&self, most: usize) -> Vec<Wait> {
        self.waits.longest(most, Instant::now())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }

    pub(crate) fn keys(&self) -> usize {
        self.shared.len() + self.rounds.iter().map(|(_, round)| round.len()).sum::<usize>()
    }

    pub(crate) fn inits(&self) -> u32 {
        self.inits.count()
    }

    /// Whoever was woken for a queue and gives up leaves its turn to the next.
    fn begin(&mut self, connection: ConnectionId, opcode: Opcode) {
        if self.owed.is_empty() {
            return;
        }
        if opcode == Opcode::CancelWait {
            self.pass_on(connection);
        } else {
            self.owed.remove(&connection);
        }
    }

    fn pass_on(&mut self, connection: ConnectionId) {
        if let Some((space, key)) = self.owed.remove(&connection)
            && self.space(space).queue_len(key.as_slice()) > 0
        {
            self.wake_one(space, key.as_slice());
        }
    }

    fn space(&mut self, id: SpaceId) -> &mut Keyspace {
        if id == SHARED {
            return &mut self.shared;
        }
        let found = self.rounds.iter().rposition(|(round, _)| *round == id);
        let index = found.unwrap_or_else(|| {
            self.rounds.push((id, Keyspace::default()));
            self.rounds.len() - 1
        });
        &mut self.rounds[index].1
    }

    fn place(&mut self, session: &mut Session, access: Access, key: &[u8]) -> SpaceId {
        self.inits.place(&mut session.membership, access, key)
    }

    /// The namespace of a key that is not set by the request.
    fn find(&mut self, session: &mut Session, key: &[u8]) -> (SpaceId, &mut Keyspace) {
        let space = self.place(session, Access::Other, key);
        (space, self.space(space))
    }

    /// Ends waits, and tells this connection first if its own was among them: its reply to this very request
    /// comes after.
    fn wake(&mut self, turn: &mut Turn<'_>, space: SpaceId, (key, wake): (&[u8], Wake)) {
        self.waits.notify(space, key, wake, &mut self.woken);
        if turn.session.waiting
            && let Some(own) = self.woken.iter().rposition(|woken| *woken == turn.session.id)
        {
            self.woken.remove(own);
            turn.session.waiting = false;
            turn.replies.push(&[STOP_WAITING]);
        }
    }

    fn wake_one(&mut self, space: SpaceId, key: &[u8]) {
        let before = self.woken.len();
        self.waits.notify(space, key, Wake::One, &mut self.woken);
        if let Some(connection) = self.woken.get(before) {
            self.owed.insert(*connection, (space, self.ledger.blob(key)));
        }
    }
}

/// By how much a request can make the store grow, at most.
fn growth(request: Request<'_>) -> usize {
    let strings = match request.opcode {
        Opcode::Set
        | Opcode::CompareSet
        | Opcode::Add
        | Opcode::Append
        | Opcode::QueuePush
        | Opcode::Barrier => 2,
        Opcode::Wait => Fields::new(request.bytes).word() as usize,
        Opcode::MultiSet => 2 * Fields::new(request.bytes).word() as usize,
        _ => return 0,
    };
    request.bytes.len() + strings * OVERHEAD
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
