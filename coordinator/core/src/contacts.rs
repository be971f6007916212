//! Which agents the leader is in contact with, and from when on a silent one must have stopped what it ran.
//!
//! An agent is heard through its session. When that is gone, its lease runs; when the lease is over its node counts as
//! unreachable, and later, by the promise of `docs/adr/0014-cut-off-agents.md`, nothing of it runs any more. All of this is
//! known to the leader only, by its own monotonic clock, and a leader that begins knows nothing: it gives every agent the
//! whole time from then on.
//!
//! When a silent agent must have stopped follows from what it could have heard:
//!
//! * From a leader: nothing since its session was gone.
//! * From members that see no leader: only answers from before this leader led.
//! * From its witnesses, the agents of other nodes of the gang: that they hear no leader. One witness that has heard this
//!   leader all the while rules it out. Heartbeats prove that: they count how often the agent has ever lost its
//!   lease, and name the newest answer that it has got.

use std::collections::BTreeMap;

use muster_model::{Millis, NodeId};

/// What a clock of an agent may differ from the leader's, as a part of what is measured.
const DRIFT: u64 = 100;
/// The time that processes which were killed may take to be gone, and messages to be handled.
const SLACK: Millis = Millis(2000);

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The agent's number of it, which the answer names.
    pub number: u64,
    /// Whether the agent's lease holds, by its own reckoning.
    pub hearing: bool,
    /// How often it has been lost since the agent started.
    pub lapses: u64,
    /// The newest answer that the agent has got.
    pub heard: Option<u64>,
}

/// The contact with an agent that has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Present {
    /// For how long its lease is known to hold without a break: by a heartbeat that has come, and by an answer of that time
    /// which it has got.
    steady: Option<Steady>,
    /// The newest answer to it, and when it was given.
    answered: Option<(u64, Millis)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steady {
    lapses: u64,
    from: Millis,
    to: Millis,
}

/// An agent without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Absent {
    since: Millis,
    /// Its node was declared unreachable.
    declared: bool,
}

/// See the module. Moments are milliseconds of a monotonic clock, from wherever it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacts {
    lease: Millis,
    present: BTreeMap<NodeId, Present>,
    absent: BTreeMap<NodeId, Absent>,
    /// When the leases were last looked at.
    looked: Option<Millis>,
}

// === impl Contacts: what happens ===

impl Contacts {
    /// Of agents with leases of this length.
    #[must_use]
    pub fn new(lease: Millis) -> Self {
        Self { lease, present: BTreeMap::new(), absent: BTreeMap::new(), looked: None }
    }

    /// The length of a lease.
    #[must_use]
    pub fn lease(&self) -> Millis {
        self.lease
    }

    /// This member begins to lead, and these are all nodes.
    pub fn began(&mut self, nodes: impl IntoIterator<Item = (NodeId, bool)>, now: Millis) {
        self.absent.clear();
        self.looked = None;
        // What sessions said before belongs to another leader's time.
        self.present.values_mut().for_each(|present| *present = Present::default());
        for (node, is_ready) in nodes {
            if !self.present.contains_key(&node) {
                self.absent.insert(node, Absent { since: now, declared: !is_ready });
            }
        }
    }

    /// A node has a session.
    pub fn attached(&mut self, node: NodeId) {
        self.absent.remove(&node);
        self.present.insert(node, Present::default());
    }

    /// A node's session is gone.
    pub fn detached(&mut self, node: NodeId, now: Millis) {
        self.present.remove(&node);
        self.absent.insert(node, Absent { since: now, declared: false });
    }

    /// A node's record is gone.
    pub fn removed(&mut self, node: NodeId) {
        self.absent.remove(&node);
    }

    /// A heartbeat has come.
    pub fn heard(&mut self, node: NodeId, beat: Beat, now: Millis) {
        let Some(present) = self.present.get_mut(&node) else { return };
        if !beat.hearing {
            present.steady = None;
            return;
        }
        let steady = match &mut present.steady {
            Some(steady) if steady.lapses == beat.lapses => steady,
            other => other.insert(Steady { lapses: beat.lapses, from: now, to: now }),
        };
        // It was sent after that answer had come, and so after the answer was given.
        if let Some((number, at)) = present.answered
            && beat.heard == Some(number)
        {
            steady.to = steady.to.max(at);
        }
    }

    /// A heartbeat is answered. Only a leader that a majority has confirmed since the heartbeat came may do so.
    pub fn answers(&mut self, node: NodeId, number: u64, now: Millis) {
        if let Some(present) = self.present.get_mut(&node) {
            present.answered = Some((number, now));
        }
    }

    /// The command that was to declare a node has failed: it is to be declared again.
    pub fn not_declared(&mut self, node: NodeId) {
        if let Some(absent) = self.absent.get_mut(&node) {
            absent.declared = false;
        }
    }
}

// === impl Contacts: what follows ===

impl Contacts {
    /// Whether a node has a session.
    #[must_use]
    pub fn is_present(&self, node: NodeId) -> bool {
        self.present.contains_key(&node)
    }

    /// Whether any node has none, so that time matters.
    #[must_use]
    pub fn any_absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Nodes whose leases have ended and that are to be declared unreachable, each once. To be called at least twice in
    /// the length of a lease while [`Contacts::any_absent`].
    pub fn ended(&mut self, now: Millis) -> Vec<NodeId> {
        let slept = self.looked.is_some_and(|looked| now.0 > looked.0 + self.lease.0);
        self.looked = self.any_absent().then_some(now);
        if slept {
            // This process stood still, and what agents said meanwhile still waits to be read.
            self.absent.values_mut().for_each(|absent| absent.since = now);
            self.present.values_mut().for_each(|present| present.steady = None);
        }
        let mut ended = Vec::new();
        for (node, absent) in &mut self.absent {
            if !absent.declared && absent.since.0 + self.lease.0 <= now.0 {
                absent.declared = true;
                ended.push(*node);
            }
        }
        ended
    }

    /// Nodes that were declared unreachable.
    pub fn declared(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.absent.iter().filter(|(_, absent)| absent.declared).map(|(node, _)| *node)
    }

    /// When an absent agent must have stopped what it ran of a gang with these witnesses, if that is known. `cut_off` is
    /// how long after the last word of a leader it promised to have stopped.
    #[must_use]
    pub fn stopped_at(
        &self,
        node: NodeId,
        cut_off: Millis,
        witnesses: &[NodeId],
    ) -> Option<Millis> {
        let since = self.absent.get(&node)?.since;
        let span = cut_off.0;
        let stopped = if witnesses.is_empty() {
            Some(since.0 + span)
        } else {
            let steady = witnesses.iter().filter_map(|node| self.present.get(node)?.steady);
            let begins = steady.filter_map(|steady| {
                let begin = since.0.max(steady.from.0);
                (steady.to.0 >= begin + span).then_some(begin + span)
            });
            begins.min()
        };
        let stopped = if cfg!(sim_bug = "give_up_early") { Some(since.0) } else { stopped };
        let margin = if cfg!(sim_bug = "give_up_early") { 0 } else { span / DRIFT + SLACK.0 };
        stopped.map(|at| Millis(at + margin))
    }

    /// When that would be if a witness is heard from now on; what somebody who waits is told.
    #[must_use]
    pub fn earliest(&self, node: NodeId, cut_off: Millis) -> Option<Millis> {
        let span = cut_off.0;
        Some(Millis(self.absent.get(&node)?.since.0 + span + span / DRIFT + SLACK.0))
    }
}

#[cfg(test)]
mod tests;
