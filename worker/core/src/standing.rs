//! How an agent stands with its cluster: whether a leader holds it for alive, and until when its replicas may run.
//!
//! Two promises pull against each other, and `docs/adr/0014-cut-off-agents.md` says how both are kept: training goes on
//! through any outage of the coordinator, and no job ever has two live attempts. So every replica has a deadline. It is
//! moved on
//!
//! * by a leader's answer to a heartbeat: to the promised time after the heartbeat was *sent*,
//! * by a round of questions that finds no leader: to the promised time after the round *began*. It must have found
//!   none at all members, or, for a gang on several nodes, at all of its witnesses.
//!
//! Members and witnesses of which nothing is heard at all prove nothing: there may be a leader behind that silence,
//! which will place the gang elsewhere. A refused connection does prove something: a member that does not run does not
//! lead, and one that starts gives every agent the whole time anew.
//!
//! Moments are milliseconds of a clock that goes on while the machine sleeps.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{JobId, Millis};

/// What the agent has promised its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promise {
    /// Not known: it has just started, and has never told any cluster.
    #[default]
    Unknown,
    /// Nothing: its replicas have no deadline.
    Nothing,
    /// So long after the last word of a leader everything has stopped, unless nobody leads.
    Stops(Millis),
}

/// Until when something may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// As was said before.
    AsBefore,
    /// For ever.
    Never,
    /// Until then.
    At(Millis),
}

/// A heartbeat to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Its number.
    pub number: u64,
    /// Whether the lease holds.
    pub hearing: bool,
    /// How often it was lost.
    pub lapses: u64,
    /// The newest answer that was got.
    pub heard: Option<u64>,
}

/// Whom to ask whether there is a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// To be named with each answer.
    pub round: u64,
    /// Addresses of members.
    pub members: Vec<String>,
    /// Addresses of other agents.
    pub witnesses: Vec<String>,
}

/// What somebody said who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There is a leader.
    Leader,
    /// None is known, or nobody runs there who could know.
    NoLeader,
}

/// A round of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Round {
    number: u64,
    began: Millis,
    members: Vec<String>,
    without: BTreeSet<String>,
    leader_seen: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    lease: Millis,
    promise: Promise,
    members: Vec<String>,
    /// When the heartbeats were sent that nobody has answered yet.
    sent: BTreeMap<u64, Millis>,
    beats: u64,
    heard: Option<u64>,
    /// When that was sent whose answer is the newest.
    alive_at: Option<Millis>,
    lapses: u64,
    lapsed: bool,
    rounds: u64,
    round: Option<Round>,
    /// When the last round began that found no leader anywhere.
    outage_at: Option<Millis>,
    /// When the last round began that found none at the witnesses of a job.
    alone_at: BTreeMap<JobId, Millis>,
}

/// So many heartbeats wait for an answer; later answers to earlier ones say nothing new.
const UNANSWERED: usize = 64;

// === impl Standing: what happens ===

impl Standing {
    /// Of an agent that has just started. `promise` and `members` are what it had agreed on before.
    #[must_use]
    pub fn new(lease: Millis, promise: Promise, members: Vec<String>) -> Self {
        Self {
            lease,
            promise,
            members,
            sent: BTreeMap::new(),
            beats: 0,
            heard: None,
            alive_at: None,
            lapses: 0,
            // It has not heard of a leader yet; that is no loss.
            lapsed: true,
            rounds: 0,
            round: None,
            outage_at: None,
            alone_at: BTreeMap::new(),
        }
    }

    /// A promise is about to be told to a leader. Whether that has heard it may never be known, so the shorter of both
    /// holds until a session is opened; what had no end before gets one that counts from now.
    pub fn announces(&mut self, promise: Promise, now: Millis) {
        self.promise = match (self.promise, promise) {
            (Promise::Stops(old), Promise::Stops(new)) => Promise::Stops(old.min(new)),
            (_, Promise::Stops(new)) => {
                self.outage_at = self.outage_at.max(Some(now));
                Promise::Stops(new)
            }
            (old, Promise::Nothing | Promise::Unknown) => old,
        };
    }

    /// The members that it would ask.
    #[must_use]
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// What it has promised.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// A session was opened: what holds from now on. It was opened by a leader that a majority has confirmed since the
    /// session's first message, which was sent at `sent`.
    pub fn welcomed(&mut self, (lease, promise): (Millis, Promise), sent: Millis, now: Millis) {
        self.look_at_lease(now);
        (self.lease, self.promise) = (lease, promise);
        self.sent.clear();
        self.alive(sent);
    }

    /// The members that there are.
    pub fn members_are(&mut self, members: Vec<String>) {
        self.members = members;
        self.round = None;
    }

    /// A heartbeat is about to be sent.
    pub fn beat(&mut self, now: Millis) -> Beat {
        self.look_at_lease(now);
        self.beats += 1;
        if self.sent.len() >= UNANSWERED {
            self.sent.pop_first();
        }
        self.sent.insert(self.beats, now);
        Beat { number: self.beats, hearing: !self.lapsed, lapses: self.lapses, heard: self.heard }
    }

    /// A heartbeat was answered.
    pub fn answered(&mut self, number: u64, now: Millis) {
        self.look_at_lease(now);
        if let Some(sent) = self.sent.remove(&number) {
            self.sent = self.sent.split_off(&number);
            self.heard = Some(number);
            self.alive(sent);
        }
    }

    fn alive(&mut self, sent: Millis) {
        self.alive_at = self.alive_at.max(Some(sent));
    }

    /// Counts the loss of the lease. To be called before anything renews it, so that none is missed.
    fn look_at_lease(&mut self, now: Millis) {
        let holds = self.hears_until().is_some_and(|until| now < until);
        if !holds && !self.lapsed {
            self.lapses += 1;
        }
        self.lapsed = !holds;
    }

    /// Somebody was asked and answered.
    pub fn told(&mut self, number: u64, address: &str, answer: Answer) {
        let Some(round) = self.round.as_mut().filter(|round| round.number == number) else {
            return;
        };
        match answer {
            Answer::Leader => round.leader_seen = true,
            Answer::NoLeader => {
                round.without.insert(address.to_owned());
            }
        }
    }
}

// === impl Standing: what follows ===

impl Standing {
    /// Until when the lease holds: until then whoever asks is told that a leader is heard.
    #[must_use]
    pub fn hears_until(&self) -> Option<Millis> {
        self.alive_at.map(|at| Millis(at.0 + self.lease.0))
    }

    /// What somebody who asks this agent is to be told. One that has promised nothing has no way to know.
    #[must_use]
    pub fn witness(&self, now: Millis) -> Answer {
        let silent = self.hears_until().is_none_or(|until| until <= now);
        match self.promise {
            Promise::Stops(_) if silent => Answer::NoLeader,
            _ => Answer::Leader,
        }
    }

    /// Takes what the last round has found about jobs, each with its witnesses, and asks again if the lease is lost. To be
    /// called a few times in the length of a lease.
    pub fn look<'a>(
        &mut self,
        now: Millis,
        jobs: impl IntoIterator<Item = (JobId, &'a [String])>,
    ) -> Option<Questions> {
        self.look_at_lease(now);
        let jobs: BTreeMap<JobId, &[String]> = jobs.into_iter().collect();
        self.conclude(&jobs);
        let is_asked = matches!(self.promise, Promise::Stops(_)) && self.lapsed;
        let is_due =
            self.round.as_ref().is_none_or(|round| now.0 >= round.began.0 + self.lease.0 / 3);
        if !is_asked || !is_due || jobs.is_empty() {
            return None;
        }
        self.rounds += 1;
        self.round = Some(Round {
            number: self.rounds,
            began: now,
            members: self.members.clone(),
            without: BTreeSet::new(),
            leader_seen: false,
        });
        let asked: BTreeSet<&String> =
            jobs.values().flat_map(|all| all.iter()).filter(|one| !one.is_empty()).collect();
        Some(Questions {
            round: self.rounds,
            members: self.members.clone(),
            witnesses: asked.into_iter().cloned().collect(),
        })
    }

    /// What the answers that have come so far mean.
    pub fn conclude(&mut self, jobs: &BTreeMap<JobId, &[String]>) {
        self.alone_at.retain(|job, _| jobs.contains_key(job));
        let Some(round) = self.round.as_ref().filter(|round| !round.leader_seen) else { return };
        let none_at = |all: &[String]| {
            let said = |one: &String| round.without.contains(one);
            !all.is_empty()
                && all.iter().all(|one| said(one) || cfg!(sim_bug = "silence_is_an_answer"))
        };
        if none_at(&round.members) {
            self.outage_at = self.outage_at.max(Some(round.began));
        }
        for (job, witnesses) in jobs {
            if none_at(witnesses) {
                let at = self.alone_at.entry(*job).or_insert(round.began);
                *at = (*at).max(round.began);
            }
        }
    }

    /// When nothing of a job may run here any more.
    #[must_use]
    pub fn deadline(&self, job: JobId) -> Deadline {
        let promised = match self.promise {
            Promise::Unknown => return Deadline::AsBefore,
            Promise::Nothing => return Deadline::Never,
            Promise::Stops(after) => after,
        };
        let proofs = [self.alive_at, self.outage_at, self.alone_at.get(&job).copied()];
        let newest = proofs.into_iter().flatten().max();
        // An agent that has heard of nobody since it started leaves the deadlines as they are.
        newest.map_or(Deadline::AsBefore, |at| Deadline::At(Millis(at.0 + promised.0)))
    }
}

#[cfg(test)]
mod tests;
