//! Who waits for which keys.
//!
//! A connection has at most one wait: a set of keys, each struck off when it appears. A key that appears and is
//! deleted again stays struck off, as in upstream's server. Among those who wait for one key, the longest
//! waiting is first.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::inits::SpaceId;
use crate::ledger::{Blob, Charge, Ledger};
use crate::reactor::ConnectionId;

/// All waits.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    next: Ticket,
    by_key: HashMap<SpaceId, Keys>,
    by_connection: HashMap<ConnectionId, Parked>,
}

type Keys = HashMap<Blob, BTreeMap<Ticket, Waiter>>;

/// A place in the order of waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

#[derive(Clone, Copy, Debug)]
struct Waiter {
    connection: ConnectionId,
    goal: Goal,
}

/// What ends a wait for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// There is a value, or something in the queue.
    Presence,
    /// A value is set, or the barrier is complete. That its counter exists is not enough.
    Barrier,
}

/// Whom a change of a key concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Everyone.
    All,
    /// Everyone who waits for the key to exist.
    Present,
    /// The first who waits for nothing else.
    One,
}

#[derive(Debug)]
struct Parked {
    ticket: Ticket,
    since: Instant,
    /// How many keys are not struck off.
    missing: usize,
    keys: Vec<(SpaceId, Blob)>,
    _charge: Charge,
}

/// What some connections wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The key; bytes that are not text are replaced.
    pub key: String,
    /// How many connections wait for it.
    pub connections: usize,
    /// How long the first of them has waited.
    pub longest: Duration,
}

/// What a wait for one key takes beside the key itself.
const OVERHEAD: usize = 96;

impl Waits {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_connection.is_empty()
    }

    /// How many connections wait.
    pub(crate) fn len(&self) -> usize {
        self.by_connection.len()
    }

    /// Starts a wait for these keys, of which there is at least one, in place of any before.
    pub(crate) fn park(
        &mut self,
        connection: ConnectionId,
        goal: Goal,
        mut keys: Vec<(SpaceId, Blob)>,
        (since, ledger): (Instant, &Ledger),
    ) {
        self.cancel(connection);
        self.next.0 += 1;
        let ticket = self.next;
        let waiter = Waiter { connection, goal };
        keys.retain(|(space, key)| {
            let waiters = self.by_key.entry(*space).or_default().entry(key.clone()).or_default();
            waiters.insert(ticket, waiter).is_none()
        });
        let charge = ledger.charge(keys.len() * OVERHEAD);
        let parked = Parked { ticket, since, missing: keys.len(), keys, _charge: charge };
        self.by_connection.insert(connection, parked);
    }

    /// Ends a connection's wait, if it has one.
    pub(crate) fn cancel(&mut self, connection: ConnectionId) {
        let Some(parked) = self.by_connection.remove(&connection) else { return };
        for (space, key) in &parked.keys {
            let Some(keys) = self.by_key.get_mut(space) else { continue };
            let Some(waiters) = keys.get_mut(key.as_slice()) else { continue };
            waiters.remove(&parked.ticket);
            if waiters.is_empty() {
                keys.remove(key.as_slice());
            }
        }
    }

    /// Strikes a key off, and adds the connections whose wait that ends to `woken`.
    pub(crate) fn notify(
        &mut self,
        space: SpaceId,
        key: &[u8],
        wake: Wake,
        woken: &mut Vec<ConnectionId>,
    ) {
        if self.is_empty() {
            return;
        }
        let Some(keys) = self.by_key.get_mut(&space) else { return };
        let Some(waiters) = keys.get_mut(key) else { return };
        match wake {
            Wake::All => {
                for waiter in std::mem::take(waiters).into_values() {
                    strike(&mut self.by_connection, waiter.connection, woken);
                }
            }
            Wake::Present => waiters.retain(|_, waiter| {
                let ends = waiter.goal == Goal::Presence;
                if ends {
                    strike(&mut self.by_connection, waiter.connection, woken);
                }
                !ends
            }),
            Wake::One => {
                let before = woken.len();
                while woken.len() == before {
                    let first = waiters.iter().find(|(_, waiter)| waiter.goal == Goal::Presence);
                    let Some((&ticket, &Waiter { connection, .. })) = first else { break };
                    waiters.remove(&ticket);
                    strike(&mut self.by_connection, connection, woken);
                }
            }
        }
        if waiters.is_empty() {
            keys.remove(key);
        }
    }

    /// Forgets the waiters' table of a namespace that has none.
    pub(crate) fn forget(&mut self, space: SpaceId) {
        self.by_key.remove(&space);
    }

    /// The keys that are waited for, the longest waited first, at most so many.
    pub(crate) fn longest(&self, most: usize, now: Instant) -> Vec<Wait> {
        let mut found: Vec<_> = self
            .by_key
            .values()
            .flatten()
            .filter_map(|(key, waiters)| {
                let first = waiters.values().next()?;
                let since = self.by_connection.get(&first.connection)?.since;
                Some((since, key, waiters.len()))
            })
            .collect();
        found.sort_by(|a, b| (a.0, a.1.as_slice()).cmp(&(b.0, b.1.as_slice())));
        found
            .into_iter()
            .take(most)
            .map(|(since, key, connections)| Wait {
                key: String::from_utf8_lossy(key.as_slice()).into_owned(),
                connections,
                longest: now.saturating_duration_since(since),
            })
            .collect()
    }
}

fn strike(
    parked: &mut HashMap<ConnectionId, Parked>,
    connection: ConnectionId,
    woken: &mut Vec<ConnectionId>,
) {
    let Some(wait) = parked.get_mut(&connection) else { return };
    wait.missing -= 1;
    if wait.missing == 0 {
        parked.remove(&connection);
        woken.push(connection);
    }
}
