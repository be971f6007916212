//! The operations.

use std::time::Instant;

use super::inits::{Access, Process, SpaceId};
use super::keyspace::{Compared, Keyspace};
use super::waits::{Goal, Wake};
use super::{STOP_WAITING, Session, Store, Turn};
use crate::ledger::Blob;
use crate::protocol::{Fields, Violation};
use crate::replies::Replies;

/// The counter with which clients announce an initialisation. The only key without a `/`.
const INIT: &[u8] = b"init/";

const WAIT_CANCELED: u8 = 1;
const READY: u8 = 0;
const NOT_READY: u8 = 1;

impl Store {
    pub(super) fn put(&mut self, turn: &mut Turn<'_>, key: &[u8], value: Blob) {
        let space = self.place(turn.session, Access::Write, key);
        let ledger = self.ledger.clone();
        self.space(space).set(key, value, &ledger);
        self.wake(turn, space, (key, Wake::All));
    }

    pub(super) fn push(&mut self, turn: &mut Turn<'_>, key: &[u8], value: Blob) {
        let ledger = self.ledger.clone();
        let (space, keys) = self.find(turn.session, key);
        keys.queue_push(key, value, &ledger);
        self.wake_one(space, key);
        if turn.session.waiting && self.woken.last() == Some(&turn.session.id) {
            self.woken.pop();
            turn.session.waiting = false;
            turn.replies.push(&[STOP_WAITING]);
        }
    }

    pub(super) fn set(&mut self, mut turn: Turn<'_>, mut fields: Fields<'_>) {
        let key = fields.string();
        let value = self.ledger.blob(fields.string());
        self.put(&mut turn, key, value);
    }

    pub(super) fn multi_set(&mut self, mut turn: Turn<'_>, mut fields: Fields<'_>) {
        for _ in 0..fields.word() {
            let key = fields.string();
            let value = self.ledger.blob(fields.string());
            self.put(&mut turn, key, value);
        }
    }

    pub(super) fn compare_set(&mut self, mut turn: Turn<'_>, mut fields: Fields<'_>) {
        let (key, expected, new) = (fields.string(), fields.string(), fields.string());
        let ledger = self.ledger.clone();
        let (space, keys) = self.find(turn.session, key);
        let (swapped, value) = match keys.compare_set(key, [expected, new], &ledger) {
            Compared::Swapped(value) => (true, value.clone()),
            Compared::Differs(value) => (false, value.clone()),
            // Upstream answers with what was expected, and so do we: clients read it as "no value yet".
            Compared::Missing => return turn.replies.push_string(expected),
        };
        if swapped {
            self.wake(&mut turn, space, (key, Wake::All));
        }
        turn.replies.push_value(&value);
    }

    pub(super) fn get(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        self.reply_with(turn.session, turn.replies, fields.string());
    }

    pub(super) fn multi_get(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        for key in fields.keys() {
            self.reply_with(turn.session, turn.replies, key);
        }
    }

    /// The value, or an empty one.
    fn reply_with(&mut self, session: &mut Session, replies: &mut Replies, key: &[u8]) {
        match self.find(session, key).1.get(key) {
            Some(value) => replies.push_value(value),
            None => replies.push_string(b""),
        }
    }

    pub(super) fn add(
        &mut self,
        mut turn: Turn<'_>,
        mut fields: Fields<'_>,
    ) -> Result<(), Violation> {
        let key = fields.string();
        let amount = fields.word() as i64;
        if key == INIT && amount == 1 {
            turn.session.membership.announce();
        }
        let (space, sum) = self.count(turn.session, key, amount)?;
        self.wake(&mut turn, space, (key, Wake::All));
        turn.replies.push_word(sum);
        Ok(())
    }

    fn count(
        &mut self,
        session: &mut Session,
        key: &[u8],
        amount: i64,
    ) -> Result<(SpaceId, i64), Violation> {
        let ledger = self.ledger.clone();
        let (space, keys) = self.find(session, key);
        let sum = keys
            .add(key, amount, &ledger)
            .ok_or_else(|| Violation::NotANumber { key: key.escape_ascii().to_string() })?;
        Ok((space, sum))
    }

    pub(super) fn check(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        let all = fields.keys().all(|key| self.find(turn.session, key).1.has(key));
        turn.replies.push(&[if all { READY } else { NOT_READY }]);
    }

    pub(super) fn wait(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        let ledger = self.ledger.clone();
        let mut missing = Vec::new();
        for key in fields.keys() {
            let (space, keys) = self.find(turn.session, key);
            if !keys.has(key) {
                missing.push((space, ledger.blob(key)));
            }
        }
        if missing.is_empty() {
            self.waits.cancel(turn.session.id);
            turn.session.waiting = false;
            turn.replies.push(&[STOP_WAITING]);
        } else {
            self.park(turn.session, Goal::Presence, missing);
        }
    }

    fn park(&mut self, session: &mut Session, goal: Goal, keys: Vec<(SpaceId, Blob)>) {
        session.waiting = true;
        self.waits.park(session.id, goal, keys, (Instant::now(), &self.ledger));
    }

    pub(super) fn cancel_wait(&mut self, turn: Turn<'_>) {
        self.waits.cancel(turn.session.id);
        turn.session.waiting = false;
        turn.replies.push(&[WAIT_CANCELED]);
    }

    pub(super) fn barrier(
        &mut self,
        mut turn: Turn<'_>,
        mut fields: Fields<'_>,
    ) -> Result<(), Violation> {
        let key = fields.string();
        let world = fields.word() as i64;
        let (space, arrived) = self.count(turn.session, key, 1)?;
        if arrived >= world {
            self.waits.cancel(turn.session.id);
            self.wake(&mut turn, space, (key, Wake::All));
            turn.replies.push(&[STOP_WAITING]);
        } else {
            self.wake(&mut turn, space, (key, Wake::Present));
            let key = self.ledger.blob(key);
            self.park(turn.session, Goal::Barrier, vec![(space, key)]);
        }
        Ok(())
    }

    /// Shared keys, and those of the connection's round.
    fn visible<'a>(&'a self, session: &Session) -> impl Iterator<Item = &'a Keyspace> {
        let round = session.membership.space();
        let rounds = self.rounds.iter().filter(move |(space, _)| Some(*space) == round);
        std::iter::once(&self.shared).chain(rounds.map(|(_, keys)| keys))
    }

    pub(super) fn count_keys(&mut self, turn: Turn<'_>) {
        let count: usize = self.visible(turn.session).map(Keyspace::len).sum();
        turn.replies.push_word(count as i64);
    }

    pub(super) fn list_keys(&mut self, turn: Turn<'_>) {
        let count: usize = self.visible(turn.session).map(Keyspace::len).sum();
        turn.replies.push_word(count as i64);
        for key in self.visible(turn.session).flat_map(Keyspace::keys) {
            turn.replies.push_value(key);
        }
    }

    pub(super) fn delete(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        let key = fields.string();
        let deleted = self.find(turn.session, key).1.delete(key);
        turn.replies.push_word(i64::from(deleted));
    }

    pub(super) fn append(&mut self, mut turn: Turn<'_>, mut fields: Fields<'_>) {
        let (key, more) = (fields.string(), fields.string());
        let ledger = self.ledger.clone();
        let (space, keys) = self.find(turn.session, key);
        keys.append(key, more, &ledger);
        self.wake(&mut turn, space, (key, Wake::All));
    }

    pub(super) fn queue_push(&mut self, mut turn: Turn<'_>, mut fields: Fields<'_>) {
        let key = fields.string();
        let value = self.ledger.blob(fields.string());
        self.push(&mut turn, key, value);
    }

    pub(super) fn queue_pop(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        let key = fields.string();
        match self.find(turn.session, key).1.queue_pop(key) {
            Some((len, value)) => {
                turn.replies.push_word(len as i64);
                turn.replies.push_value(&value);
            }
            None => turn.replies.push_word(0),
        }
    }

    pub(super) fn queue_len(&mut self, turn: Turn<'_>, mut fields: Fields<'_>) {
        let key = fields.string();
        let len = self.find(turn.session, key).1.queue_len(key);
        turn.replies.push_word(len as i64);
    }

    /// Answers, and notes who it is: the number is the client's process id.
    pub(super) fn ping(turn: Turn<'_>, mut fields: Fields<'_>) {
        let nonce = fields.nonce();
        if turn.session.membership.process().is_none() {
            let process = Process { address: turn.session.address, pid: u32::from_le_bytes(nonce) };
            turn.session.membership.identify(process);
        }
        turn.replies.push(&nonce);
    }
}
