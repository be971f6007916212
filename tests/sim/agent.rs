//! One agent: its process around the shipped core, its link to the coordinator, and the machine beneath.

use std::collections::{BTreeMap, VecDeque};

use muster_agent_core::{Action, Answer, Deadline, Observation, Promise, Replicas, Standing};
use muster_model::{JobId, Millis, NodeName, Resources};
use muster_state::{RegisterNode, ReplicaReport, Reported};

use crate::dice::Dice;
use crate::machine::to_agent;
use crate::plan::Plan;
use crate::processes::{Processes, Timer};
use crate::time::{SimTime, Span};
use crate::wire::{Key, SessionId, ToAgent, ToMember};

/// Pauses between attempts to connect.
const PAUSES: (Span, Span) = (Span::millis(50), Span::seconds(3));
/// An attempt that hears nothing for so long has failed.
const CONNECT_WITHIN: Span = Span::seconds(2);

/// The link to the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { again_at: SimTime },
    Opening { session: SessionId, to: u64, since: SimTime },
    Up { session: SessionId, to: u64, heard: SimTime },
}

/// What an agent wants done.
#[derive(Debug)]
pub(crate) enum Wish {
    Tell(u64, SessionId, ToMember),
    Plan(Timer),
    /// A program is about to start.
    Starts(Key),
    /// A replica is killed then, unless that is put off.
    Deadline(Key, SimTime),
    /// It asks a member or another agent whether there is a leader.
    Ask(u64, String),
}

/// What kills is given so much time before the end of the promise.
const KILLING: Span = Span::seconds(1);

/// Something that reached the agent while it stood still.
#[derive(Debug)]
enum Missed {
    Message(SessionId, ToAgent),
    Seen(Key, Observation),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) index: usize,
    pub(crate) name: NodeName,
    pub(crate) capacity: Resources,
    pub(crate) processes: Processes,
    /// `None` while its process is down.
    replicas: Option<Replicas>,
    /// Counts its starts.
    pub(crate) life: u64,
    /// Its machine is gone for good.
    pub(crate) destroyed: bool,
    pub(crate) paused_until: SimTime,
    missed: VecDeque<Missed>,
    link: Link,
    pause: Span,
    /// The member to try next.
    next: usize,
    leader: Option<u64>,
    lease: Span,
    /// What it promises, and how its clock runs: from where, and in thousandths of the true speed.
    promise: Promise,
    clock: (u64, u64),
    /// What its disk keeps of what was agreed.
    agreed: (Promise, Vec<String>),
    standing: Standing,
    sessions: u64,
    dice: Dice,
}

impl Agent {
    pub(crate) fn new(index: usize, plan: &Plan) -> Self {
        let mut dice = Dice::new(plan.seed, &format!("agent {index}"));
        let name = NodeName::new(format!("node-{index}")).expect("a label");
        let capacity = Resources::new().with("cpu", 1000 * dice.between(4, 8));
        let programs = Dice::new(plan.seed, &format!("programs of agent {index}"));
        let mut own = Dice::new(plan.seed, &format!("promise of agent {index}"));
        let promise =
            plan.cut_off.map_or(Promise::Nothing, |after| Promise::Stops(Millis(after.0 / 1000)));
        let clock = (own.between(0, 1_000_000), own.between(995, 1005));
        Self {
            index,
            name,
            capacity,
            processes: Processes::new(plan.programs, programs),
            replicas: None,
            life: 0,
            destroyed: false,
            paused_until: SimTime::default(),
            missed: VecDeque::new(),
            link: Link::Down { again_at: SimTime::default() },
            pause: PAUSES.0,
            next: index,
            leader: None,
            lease: plan.lease,
            promise,
            clock,
            agreed: (Promise::Unknown, Vec::new()),
            standing: Standing::new(Millis(plan.lease.0 / 1000), Promise::Unknown, Vec::new()),
            sessions: 0,
            dice,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replicas.is_some()
    }

    /// Whether it knows of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.shims.is_empty()
            && self.replicas.as_ref().is_none_or(|replicas| *replicas == Replicas::new())
    }

    pub(crate) fn start(&mut self, now: SimTime) {
        let mut replicas = Replicas::new();
        for shim in self.processes.shims.values() {
            replicas.adopt(shim.spec.clone(), shim.seen());
        }
        self.replicas = Some(replicas);
        let (promise, members) = self.agreed.clone();
        self.standing = Standing::new(Millis(self.lease.0 / 1000), promise, members);
        self.life += 1;
        self.link = Link::Down { again_at: now };
        self.pause = PAUSES.0;
    }

    pub(crate) fn crash(&mut self) {
        self.replicas = None;
        self.life += 1;
        self.missed.clear();
        self.processes.agent_died();
    }

    /// What its clock shows.
    fn clock(&self, now: SimTime) -> Millis {
        Millis(self.clock.0 + now.as_millis() * self.clock.1 / 1000)
    }

    /// When its clock will show that.
    fn when(&self, shown: Millis) -> SimTime {
        SimTime(shown.0.saturating_sub(self.clock.0) * 1_000_000 / self.clock.1)
    }

    /// Somebody asks whether there is a leader; nobody answers for a process that stands still.
    pub(crate) fn witness(&self, now: SimTime) -> Option<Answer> {
        match (self.destroyed, self.is_up()) {
            (true, _) => None,
            (_, false) => Some(Answer::NoLeader),
            _ => (self.paused_until <= now).then(|| self.standing.witness(self.clock(now))),
        }
    }

    /// Somebody who was asked has answered.
    pub(crate) fn told(
        &mut self,
        (round, address): (u64, &str),
        answer: Answer,
        now: SimTime,
    ) -> Vec<Wish> {
        if self.replicas.is_none() || self.paused_until > now {
            return Vec::new();
        }
        self.standing.told(round, address, answer);
        self.stand(now)
    }

    /// Asks, if the lease is lost, and puts deadlines off as far as that is known to be right.
    fn stand(&mut self, now: SimTime) -> Vec<Wish> {
        let shown = self.clock(now);
        let live = self.processes.shims.iter().filter(|(_, shim)| !shim.has_ended());
        let jobs: Vec<(JobId, &[String])> =
            live.clone().map(|((id, _), shim)| (id.job, &shim.spec.witnesses[..])).collect();
        let questions = self.standing.look(shown, jobs);
        let due: Vec<_> = live.map(|(key, _)| (*key, self.standing.deadline(key.0.job))).collect();
        let mut wishes = Vec::new();
        for (key, deadline) in due {
            let deadline = match deadline {
                Deadline::AsBefore => continue,
                Deadline::Never => None,
                Deadline::At(at) => Some(SimTime(self.when(at).0.saturating_sub(KILLING.0))),
            };
            if self.processes.put_off(key, deadline)
                && let Some(at) = deadline
            {
                wishes.push(Wish::Deadline(key, at));
            }
        }
        if let Some(questions) = questions {
            let asked = questions.members.into_iter().chain(questions.witnesses);
            wishes.extend(asked.map(|address| Wish::Ask(questions.round, address)));
        }
        wishes
    }

    /// Time passes: heartbeats, and a link that is looked after.
    pub(crate) fn beat(&mut self, members: &[u64], now: SimTime) -> Vec<Wish> {
        if self.replicas.is_none() || self.paused_until > now {
            return Vec::new();
        }
        let mut wishes = self.catch_up(now);
        match self.link {
            Link::Up { session, to, heard } if heard + self.lease >= now => {
                let beat = self.standing.beat(self.clock(now));
                wishes.push(Wish::Tell(to, session, ToMember::Beat(beat)));
            }
            Link::Opening { since, .. } if since + CONNECT_WITHIN >= now => {}
            Link::Up { .. } | Link::Opening { .. } => self.down(None, now),
            Link::Down { again_at } if again_at <= now => wishes.extend(self.connect(members, now)),
            Link::Down { .. } => {}
        }
        wishes.extend(self.stand(now));
        wishes
    }

    fn connect(&mut self, members: &[u64], now: SimTime) -> Option<Wish> {
        let named = self.leader.take().filter(|leader| members.contains(leader));
        self.next += usize::from(named.is_none());
        let to = named.or_else(|| members.get(self.next % members.len().max(1)).copied())?;
        self.sessions += 1;
        // The number of a session names the agent, too, and is never used twice.
        let session = SessionId(self.sessions << 8 | self.index as u64);
        self.link = Link::Opening { session, to, since: now };
        let hello = RegisterNode {
            name: self.name.clone(),
            address: format!("10.0.0.{}", self.index),
            capacity: self.capacity.clone(),
            labels: BTreeMap::new(),
            version: "0".into(),
            agent: format!("agent {}", self.index),
            cut_off: match self.promise {
                Promise::Stops(after) => Some(after),
                _ => None,
            },
            witness: format!("agent {}", self.index),
            members: self.agreed.1.clone(),
        };
        Some(Wish::Tell(to, session, ToMember::Hello(Box::new(hello))))
    }

    fn down(&mut self, leader: Option<u64>, now: SimTime) {
        self.leader = leader;
        if leader.is_some() {
            self.pause = PAUSES.0;
        }
        self.link =
            Link::Down { again_at: now + self.dice.span(Span(self.pause.0 / 2), self.pause) };
        self.pause = Span((self.pause.0 * 2).min(PAUSES.1.0));
    }

    /// What a process has missed while it stood still, before anything that comes after.
    fn catch_up(&mut self, now: SimTime) -> Vec<Wish> {
        let missed = std::mem::take(&mut self.missed);
        let mut wishes = Vec::new();
        for one in missed {
            wishes.extend(match one {
                Missed::Message(session, message) => self.take(session, message, now),
                Missed::Seen(key, seen) => self.saw(key, seen, now),
            });
        }
        wishes
    }

    /// A message of a member.
    pub(crate) fn take(&mut self, session: SessionId, message: ToAgent, now: SimTime) -> Vec<Wish> {
        if self.paused_until > now {
            self.missed.push_back(Missed::Message(session, message));
            return Vec::new();
        }
        let mut wishes = self.catch_up(now);
        wishes.extend(self.obey(session, message, now));
        wishes.extend(self.stand(now));
        wishes
    }

    fn obey(&mut self, session: SessionId, message: ToAgent, now: SimTime) -> Vec<Wish> {
        let shown = self.clock(now);
        let (to, opened) = match self.link {
            Link::Opening { session: own, to, since } if own == session => {
                (to, Some(self.clock(since)))
            }
            Link::Up { session: own, to, .. } if own == session => (to, None),
            _ => return Vec::new(),
        };
        let Some(replicas) = &mut self.replicas else { return Vec::new() };
        let actions = match message {
            ToAgent::End { leader } => {
                self.down(leader, now);
                return Vec::new();
            }
            ToAgent::Welcome => {
                self.pause = PAUSES.0;
                if let Some(sent) = opened {
                    self.agreed.0 = self.promise;
                    let terms = (Millis(self.lease.0 / 1000), self.promise);
                    self.standing.welcomed(terms, sent, shown);
                }
                replicas.reports()
            }
            ToAgent::Members(members) => {
                self.agreed.1.clone_from(&members);
                self.standing.members_are(members.clone());
                self.link = Link::Up { session, to, heard: now };
                return vec![Wish::Tell(to, session, ToMember::Knows(members))];
            }
            ToAgent::Heard(number) => {
                self.standing.answered(number, shown);
                Vec::new()
            }
            ToAgent::Orders { full, orders } => {
                replicas.ordered(full, orders.into_iter().map(to_agent))
            }
            ToAgent::Beat => Vec::new(),
        };
        self.link = Link::Up { session, to, heard: now };
        self.perform(actions)
    }

    /// The runtime saw something.
    pub(crate) fn saw(&mut self, (id, fence): Key, seen: Observation, now: SimTime) -> Vec<Wish> {
        if self.paused_until > now && self.replicas.is_some() {
            self.missed.push_back(Missed::Seen((id, fence), seen));
            return Vec::new();
        }
        let mut wishes = self.catch_up(now);
        let Some(replicas) = &mut self.replicas else { return wishes };
        let actions = replicas.observed(id, fence, seen);
        wishes.extend(self.perform(actions));
        wishes.extend(self.stand(now));
        wishes
    }

    fn perform(&mut self, actions: Vec<Action>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let mut reports = Vec::new();
        for action in actions {
            match action {
                Action::Prepare(spec) => wishes.push(Wish::Plan(self.processes.prepare(*spec))),
                Action::Start(id, fence, _) => {
                    if let Some(timer) = self.processes.start((id, fence)) {
                        wishes.push(Wish::Starts((id, fence)));
                        wishes.push(Wish::Plan(timer));
                    }
                }
                Action::Stop(id, fence, grace) => {
                    wishes.extend(self.processes.stop((id, fence), grace).map(Wish::Plan));
                }
                Action::Remove(id, fence) => self.processes.remove((id, fence)),
                Action::Report(id, fence, seen) => {
                    let what = match seen {
                        Observation::Ready { store_port, free_port } => {
                            Reported::Ready { store_port, free_port }
                        }
                        Observation::Running => Reported::Running,
                        Observation::Exited(exit) => Reported::Exited(exit),
                    };
                    reports.push(ReplicaReport { id, fence, what });
                }
            }
        }
        if let Link::Up { session, to, .. } = self.link
            && !reports.is_empty()
        {
            wishes.push(Wish::Tell(to, session, ToMember::Reports(reports)));
        }
        wishes
    }
}
