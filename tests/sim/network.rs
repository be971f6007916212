//! Who can reach whom, and how long it takes.
//!
//! Messages of consensus may be lost, late, doubled and out of order. Sessions of agents are streams, as TCP makes them:
//! in order, late while a link is cut, and broken when that lasts. Requests of clients may be lost or late.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;
use crate::plan::Links;
use crate::time::{SimTime, Span};
use crate::wire::SessionId;

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    Member(u64),
    Agent(usize),
    Client(usize),
}

/// A stream outlives a cut that is shorter than this.
const STREAM_PATIENCE: Span = Span::seconds(4);

/// See the module.
#[derive(Debug)]
pub(crate) struct Network {
    links: Links,
    dice: Dice,
    /// Until when nothing passes from one to the other.
    cuts: BTreeMap<(Address, Address), SimTime>,
    /// When the last packet of each direction of a stream arrives.
    streams: BTreeMap<(SessionId, Address), SimTime>,
    broken: BTreeSet<(SessionId, Address)>,
}

impl Network {
    pub(crate) fn new(seed: u64, links: Links) -> Self {
        let dice = Dice::new(seed, "network");
        Self {
            links,
            dice,
            cuts: BTreeMap::new(),
            streams: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// The storm is over: short delays, and nothing is lost.
    pub(crate) fn calm(&mut self) {
        self.cuts.clear();
        self.links = Links { lateness: 0, loss: 0, duplicate: 0, ..self.links };
    }

    /// Nothing passes from one to the other until then.
    pub(crate) fn cut(&mut self, from: Address, to: Address, until: SimTime) {
        self.cuts.insert((from, to), until);
    }

    /// Until when nothing passes, if so.
    pub(crate) fn is_cut(&self, from: Address, to: Address, now: SimTime) -> Option<SimTime> {
        self.cuts.get(&(from, to)).copied().filter(|until| *until > now)
    }

    /// When the copies of a packet arrive: none when it is lost.
    pub(crate) fn datagram(
        &mut self,
        (from, to): (Address, Address),
        now: SimTime,
    ) -> Vec<SimTime> {
        let lost = self.dice.hits(self.links.loss);
        let copies = if self.dice.hits(self.links.duplicate) { 2 } else { 1 };
        let arrivals = (0..copies).map(|_| now + self.delay()).collect();
        if lost || self.is_cut(from, to, now).is_some() { Vec::new() } else { arrivals }
    }

    /// When a request or its answer arrives; `None` when it is lost.
    pub(crate) fn request(&mut self, link: (Address, Address), now: SimTime) -> Option<SimTime> {
        self.datagram(link, now).into_iter().next()
    }

    /// When a packet of a stream arrives; `None` when the stream is broken.
    pub(crate) fn stream(
        &mut self,
        (from, to): (Address, Address),
        session: SessionId,
        now: SimTime,
    ) -> Option<SimTime> {
        let delay = self.delay();
        if self.broken.contains(&(session, from)) {
            return None;
        }
        let mut arrives = now + delay;
        if let Some(until) = self.is_cut(from, to, now) {
            if until > now + STREAM_PATIENCE || self.dice.hits(5000) {
                self.broken.insert((session, from));
                return None;
            }
            arrives = until + delay;
        }
        let last = self.streams.entry((session, from)).or_default();
        *last = arrives.max(*last);
        Some(*last)
    }

    fn delay(&mut self) -> Span {
        let (late, usual) = (self.links.late, self.links.delay);
        let longest = if self.dice.hits(self.links.lateness) { late } else { usual };
        self.dice.span(Span::micros(50), longest)
    }
}
