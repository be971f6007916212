//! Which namespace a key belongs to.
//!
//! # The trouble
//! Since torch 2.6 every call of `init_process_group` uses the same keys (`/default_pg/0//cpu//0/<rank>` for gloo;
//! up to 2.5 `//worker/attempt_<restarts>/default_pg/...`, where the number changes only with the process). When
//! the processes of a job initialise a second time in one store, whoever comes first reads what its peers wrote
//! the first time, and connects to addresses that nobody listens on. Upstream's store has this fault: with a
//! third of a second between two processes, one second call of six succeeds.
//!
//! # The rules
//! A *round* is one call of `init_process_group` by all processes together. Each round has a namespace.
//! 1. Only keys of process groups (the two shapes above) live in rounds. All others are shared: stores that users
//!    open themselves, torchrun's rendezvous, RPC, and what users put into a store before they hand it on.
//! 2. A connection of a round announces itself with `ADD init/ 1`, which env:// does before anything else. At its
//!    first group key it *enters*: the newest round, or a new one if it was in the newest before.
//! 3. Who it is, is told by its first group key. If it writes one that ends with a number, the key itself tells:
//!    gloo writes its own rank's address before it reads, in every version from 2.2 to 2.15, for the default
//!    backend, with lazy connections and in debug mode alike; NCCL's root writes its id. So equal process ids
//!    behind one address and clients without any do no harm. If it reads, as NCCL's other ranks do, its address
//!    and process id tell. They may name several processes ([`Rules::distinct_pids`]), or be unknown (torch
//!    before 2.5 sends none): then rounds are counted full by the world size, and without that, nobody who only
//!    reads opens a second round.
//! 4. It stays in its round until it is closed. The signals of NCCL's monitor (`exception_dump`,
//!    `remote_error`) have no group in their keys; they follow the connection, so that a timeout in one
//!    round does not end the next.
//! 5. A connection that does not announce itself (a clone, or a store of the user's own) uses group keys and
//!    signals in the latest round of its process, or shared ones if there is none.
//!
//! Why the newest round, not the n-th for a process's n-th call: a process that joins late, after the others gave
//! up and called again, finds them; a spare that takes a lost rank's place does too. A round cannot be passed
//! by: gloo's and NCCL's initialisation ends for nobody before everyone has entered. The exception is gloo with
//! TORCH_GLOO_LAZY_INIT=1, initialised and destroyed without one collective in between.
//!
//! A round that is older than the newest two and has no connection left is forgotten, with its keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpaceId(u32);

/// The namespace of all that is in no round.
pub(crate) const SHARED: SpaceId = SpaceId(0);

/// How to tell processes apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether there are rounds at all.
    pub(crate) separate: bool,
    /// Whether an address and a process id name one process.
    pub(crate) distinct_pids: bool,
    /// How many processes make a round full, if known.
    pub(crate) world_size: Option<u32>,
}

/// An address and a process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) address: IpAddr,
    pub(crate) pid: u32,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    process: Option<Process>,
    announced: bool,
    space: Option<SpaceId>,
}

/// How a request uses its first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It sets it.
    Write,
    /// Anything else.
    Other,
}

/// The rounds.
#[derive(Debug)]
pub(crate) struct Inits {
    rules: Rules,
    /// Oldest first.
    rounds: VecDeque<Round>,
    latest: HashMap<Process, SpaceId>,
    last: SpaceId,
}

#[derive(Debug)]
struct Round {
    space: SpaceId,
    /// Who entered by a key.
    keys: HashSet<Box<[u8]>>,
    /// Who entered by a process id.
    processes: HashSet<Process>,
    entered: u32,
    /// The connections that are in it now.
    open: usize,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Group,
    Signal,
    Anyone,
}

/// How many rounds are kept whoever uses them.
const KEPT: usize = 2;

const GROUP: &[u8] = b"default_pg/";
const ATTEMPT: &[u8] = b"worker/attempt_";
const SIGNALS: [&[u8]; 2] = [b"/exception_dump", b"/remote_error"];

// === impl Membership ===

impl Membership {
    /// The client said who it is.
    pub(crate) fn identify(&mut self, process: Process) {
        self.process = Some(process);
    }

    /// The client announced an initialisation.
    pub(crate) fn announce(&mut self) {
        self.announced = true;
    }

    pub(crate) fn process(&self) -> Option<Process> {
        self.process
    }

    /// Its round, once it is in one.
    pub(crate) fn space(&self) -> Option<SpaceId> {
        self.space
    }
}

// === impl Inits ===

impl Inits {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, rounds: VecDeque::new(), latest: HashMap::new(), last: SHARED }
    }

    /// The namespace of a key for a connection. The connection may enter a round by it.
    pub(crate) fn place(&mut self, who: &mut Membership, access: Access, key: &[u8]) -> SpaceId {
        if !self.rules.separate {
            return SHARED;
        }
        let owner = owner(key);
        if owner == Owner::Anyone {
            return SHARED;
        }
        if let Some(space) = who.space {
            return space;
        }
        if who.announced {
            if owner == Owner::Signal {
                return SHARED;
            }
            return self.enter(who, access, key);
        }
        let latest = who.process.and_then(|process| self.latest.get(&process).copied());
        latest.map_or(SHARED, |space| self.stay(who, space))
    }

    fn enter(&mut self, who: &mut Membership, access: Access, key: &[u8]) -> SpaceId {
        let by_key = access == Access::Write && ends_with_number(key);
        let process = if by_key { None } else { who.process };
        let is_new = match self.rounds.back() {
            None => true,
            Some(newest) if by_key => newest.keys.contains(key),
            Some(newest) => {
                let full = self.rules.world_size.is_some_and(|world| newest.entered >= world);
                let known = process.is_some_and(|process| newest.processes.contains(&process));
                full || (known && self.rules.distinct_pids)
            }
        };
        if is_new {
            self.last = SpaceId(self.last.0 + 1);
            self.rounds.push_back(Round::new(self.last));
        }
        let newest = self.rounds.back_mut().expect("a round was just made if there was none");
        newest.entered += 1;
        if by_key {
            newest.keys.insert(key.into());
        }
        newest.processes.extend(process);
        let space = newest.space;
        if let Some(process) = who.process {
            self.latest.insert(process, space);
        }
        self.stay(who, space)
    }

    fn stay(&mut self, who: &mut Membership, space: SpaceId) -> SpaceId {
        who.space = Some(space);
        if let Some(round) = self.rounds.iter_mut().rfind(|round| round.space == space) {
            round.open += 1;
        }
        space
    }

    /// A connection is closed.
    pub(crate) fn leave(&mut self, who: &Membership) {
        if let Some(space) = who.space
            && let Some(round) = self.rounds.iter_mut().rfind(|round| round.space == space)
        {
            round.open -= 1;
        }
    }

    /// Forgets rounds that nobody needs, and says which.
    pub(crate) fn retire(&mut self) -> Vec<SpaceId> {
        let old = self.rounds.len().saturating_sub(KEPT);
        let gone: Vec<_> =
            self.rounds.iter().take(old).filter(|round| round.open == 0).map(|r| r.space).collect();
        if !gone.is_empty() {
            self.rounds.retain(|round| !gone.contains(&round.space));
            self.latest.retain(|_, space| !gone.contains(space));
        }
        gone
    }

    /// How many rounds there were.
    pub(crate) fn count(&self) -> u32 {
        self.last.0
    }
}

// === impl Round ===

impl Round {
    fn new(space: SpaceId) -> Self {
        Self { space, keys: HashSet::new(), processes: HashSet::new(), entered: 0, open: 0 }
    }
}

fn owner(key: &[u8]) -> Owner {
    if SIGNALS.iter().any(|signal| key.starts_with(signal)) {
        return Owner::Signal;
    }
    let Some(rest) = key.strip_prefix(b"/") else { return Owner::Anyone };
    if rest.starts_with(GROUP) {
        return Owner::Group;
    }
    let attempt = rest.strip_prefix(b"/").and_then(|rest| rest.strip_prefix(ATTEMPT));
    let group = attempt.and_then(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[digits..].strip_prefix(b"/")
    });
    if group.is_some_and(|rest| rest.starts_with(GROUP)) { Owner::Group } else { Owner::Anyone }
}

/// Whether the last part of the key's path is a number: a rank, or a communicator's.
fn ends_with_number(key: &[u8]) -> bool {
    let digits = key.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && key.len() > digits && key[key.len() - digits - 1] == b'/'
}

#[cfg(test)]
#[path = "inits/tests.rs"]
mod tests;
