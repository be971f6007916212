//! What a leader does beside deciding: sessions of agents, their leases, and planning.
//!
//! The daemon has a task for each of these; here they are one value that takes events and answers with deeds. It holds
//! nothing that a crash may not take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster_coordinator_core::{Beat, Contacts, Outcome, Refused};
use muster_model::{Millis, NodeId, ReplicaId, Timestamp, View};
use muster_scheduler::{Policy, plan};
use muster_state::{
    Accepted, BindGang, Body, CutOff, Effect, HeldUp, NodeKnows, NodeUnreachable, RegisterNode,
    ReplicaReport, ReportReplicas,
};

use crate::coordinator::Input;
use crate::machine::{Found, Look, Reply};
use crate::time::{SimTime, Span};
use crate::wire::{AgentOrder, SessionId, ToAgent};

/// After something that passes, such as a full disk, planning is tried again.
const PLAN_AGAIN: Span = Span::millis(500);

/// How often is looked at what unreachable nodes hold up.
const HELD_UP_EVERY: Span = Span::millis(400);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Deed {
    Do(Input),
    Tell(SessionId, usize, ToAgent),
}

#[derive(Debug)]
struct Session {
    agent: usize,
    hello: RegisterNode,
    /// Once it is registered.
    node: Option<NodeId>,
    /// Once a majority has confirmed that this member leads.
    welcomed: bool,
    heard: SimTime,
    /// Replicas whose order may have changed.
    changed: BTreeSet<ReplicaId>,
    /// A look for orders is under way.
    writing: bool,
    /// Reports that wait for those before them to be committed.
    reports: VecDeque<Vec<ReplicaReport>>,
    reporting: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) lease: Span,
    leads: bool,
    leader: Option<u64>,
    sessions: BTreeMap<SessionId, Session>,
    /// The newest session of each node.
    current: BTreeMap<NodeId, SessionId>,
    contacts: Contacts,
    /// The newest heartbeat of each session that is to be answered, and those for which a majority is being asked.
    beats: BTreeMap<SessionId, u64>,
    confirming: Option<BTreeMap<SessionId, u64>>,
    held_up_at: SimTime,
    plan_at: Option<SimTime>,
    planning: bool,
}

// === impl Desk: what agents say ===

impl Desk {
    pub(crate) fn new(lease: Span) -> Self {
        Self {
            lease,
            leads: false,
            leader: None,
            sessions: BTreeMap::new(),
            current: BTreeMap::new(),
            contacts: Contacts::new(Millis(lease.0 / 1000)),
            beats: BTreeMap::new(),
            confirming: None,
            held_up_at: SimTime::default(),
            plan_at: None,
            planning: false,
        }
    }

    pub(crate) fn hello(
        &mut self,
        (id, agent): (SessionId, usize),
        hello: RegisterNode,
        now: SimTime,
    ) -> Vec<Deed> {
        if !self.leads {
            return vec![Deed::Tell(id, agent, ToAgent::End { leader: self.leader })];
        }
        let body = Body::RegisterNode(hello.clone());
        let session = Session {
            agent,
            hello,
            node: None,
            welcomed: false,
            heard: now,
            changed: BTreeSet::new(),
            writing: false,
            reports: VecDeque::new(),
            reporting: false,
        };
        self.sessions.insert(id, session);
        vec![Deed::Do(Input::Command(None, body, Reply::Register(id)))]
    }

    /// A heartbeat; an unknown session is told that it is over.
    pub(crate) fn beat(
        &mut self,
        (id, agent): (SessionId, usize),
        beat: muster_agent_core::Beat,
        now: SimTime,
    ) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return vec![Deed::Tell(id, agent, ToAgent::End { leader: self.leader })];
        };
        session.heard = now;
        if let Some(node) = session.node.filter(|node| self.current.get(node) == Some(&id)) {
            let muster_agent_core::Beat { number, hearing, lapses, heard } = beat;
            let beat = Beat { number, hearing, lapses, heard };
            self.contacts.heard(node, beat, Millis(now.as_millis()));
            self.beats.insert(id, number);
        }
        let mut deeds = vec![Deed::Tell(id, agent, ToAgent::Beat)];
        deeds.extend(self.confirm());
        deeds
    }

    /// Asks a majority whether this member still leads, for all heartbeats that have come by now.
    fn confirm(&mut self) -> Option<Deed> {
        let is_due = self.leads && self.confirming.is_none() && !self.beats.is_empty();
        is_due.then(|| {
            self.confirming = Some(std::mem::take(&mut self.beats));
            Deed::Do(Input::Look(Look::Beats))
        })
    }

    /// An agent knows where the members are.
    pub(crate) fn knows(&mut self, id: SessionId, members: Vec<String>) -> Vec<Deed> {
        let node = self.sessions.get(&id).and_then(|session| session.node);
        let body = node.map(|node| Body::NodeKnows(NodeKnows { node, members }));
        body.into_iter().map(|body| Deed::Do(Input::Command(None, body, Reply::Nobody))).collect()
    }

    pub(crate) fn reports(
        &mut self,
        (id, agent): (SessionId, usize),
        reports: Vec<ReplicaReport>,
        now: SimTime,
    ) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return vec![Deed::Tell(id, agent, ToAgent::End { leader: self.leader })];
        };
        session.heard = now;
        session.reports.push_back(reports);
        self.pass_on(id)
    }

    /// Submits the next reports: only when those before them are committed, so that they keep their order.
    fn pass_on(&mut self, id: SessionId) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let (Some(node), false) = (session.node, session.reporting) else { return Vec::new() };
        let Some(reports) = session.reports.pop_front() else { return Vec::new() };
        session.reporting = true;
        let body = Body::ReportReplicas(ReportReplicas { node, reports });
        vec![Deed::Do(Input::Command(None, body, Reply::Reports(id)))]
    }

    fn end(&mut self, id: SessionId, now: SimTime) -> Vec<Deed> {
        let Some(session) = self.sessions.remove(&id) else { return Vec::new() };
        if let Some(node) = session.node
            && self.current.get(&node) == Some(&id)
        {
            self.current.remove(&node);
            self.contacts.detached(node, Millis(now.as_millis()));
        }
        vec![Deed::Tell(id, session.agent, ToAgent::End { leader: self.leader })]
    }
}

// === impl Desk: what the core says ===

impl Desk {
    /// What it tells an agent that asks whether there is a leader.
    pub(crate) fn sees_leader(&self) -> muster_agent_core::Answer {
        match self.leads || self.leader.is_some() {
            true => muster_agent_core::Answer::Leader,
            false => muster_agent_core::Answer::NoLeader,
        }
    }

    pub(crate) fn role(&mut self, leads: bool, leader: Option<u64>, now: SimTime) -> Vec<Deed> {
        let began = leads && !self.leads;
        self.leads = leads;
        self.leader = leader;
        if began {
            self.plan_at = Some(now);
            return vec![Deed::Do(Input::Look(Look::Nodes))];
        }
        if leads {
            return Vec::new();
        }
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        let ends = sessions.into_iter().flat_map(|id| self.end(id, now)).collect();
        // What it knew of agents belongs to the leadership that is over.
        self.contacts = Contacts::new(self.contacts.lease());
        self.beats.clear();
        self.confirming = None;
        self.plan_at = None;
        ends
    }

    pub(crate) fn answered(&mut self, reply: Reply, outcome: &Outcome, now: SimTime) -> Vec<Deed> {
        match (reply, outcome) {
            (Reply::Register(id), Ok(Accepted::Registered(node))) => {
                self.registered(id, *node, now)
            }
            (Reply::Register(id) | Reply::Reports(id) | Reply::RegisterAgain(id), Err(_)) => {
                self.end(id, now)
            }
            (Reply::RegisterAgain(id), Ok(Accepted::Registered(node))) => {
                let is_same = self.sessions.get(&id).is_none_or(|s| s.node == Some(*node));
                if is_same { Vec::new() } else { self.end(id, now) }
            }
            (Reply::Reports(id), Ok(_)) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.reporting = false;
                }
                self.pass_on(id)
            }
            (Reply::Bind, Err(Refused::DiskFull(_) | Refused::Overloaded)) => {
                self.plan_at = Some(now + PLAN_AGAIN);
                Vec::new()
            }
            (Reply::Unreachable(node), Err(_)) if self.leads => {
                self.contacts.not_declared(node);
                Vec::new()
            }
            // It was lost with a leadership that is there again.
            (Reply::Bind, Err(Refused::NotLeader { .. })) if self.leads => {
                self.plan_at = Some(now + PLAN_AGAIN);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn registered(&mut self, id: SessionId, node: NodeId, now: SimTime) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        session.node = Some(node);
        session.writing = true;
        let mut deeds = vec![
            // It is welcomed once a majority has confirmed that this member leads: the command may have changed nothing.
            Deed::Do(Input::Look(Look::AllOrders(id, node))),
        ];
        let replaced = self.current.insert(node, id).filter(|old| *old != id);
        self.contacts.attached(node);
        self.plan_at.get_or_insert(now);
        // It hears of no change any more. Should it be the one that the agent lives by, because this one was held up
        // on its way, then the agent must know.
        deeds.extend(replaced.into_iter().flat_map(|old| self.end(old, now)));
        deeds.extend(self.pass_on(id));
        deeds
    }

    pub(crate) fn effects(&mut self, effects: &[Effect], now: SimTime) -> Vec<Deed> {
        let mut touched = BTreeSet::new();
        let mut deeds = Vec::new();
        for effect in effects {
            match effect {
                Effect::Order(node, replica) | Effect::Clear(node, replica) => {
                    let session = self.current.get(node).copied();
                    let found = session.and_then(|id| Some((id, self.sessions.get_mut(&id)?)));
                    if let Some((id, session)) = found {
                        session.changed.insert(*replica);
                        touched.insert(id);
                    }
                }
                Effect::Plan if self.leads => {
                    self.plan_at.get_or_insert(now);
                }
                Effect::MembersChanged => deeds.push(Deed::Do(Input::Look(Look::Members))),
                _ => {}
            }
        }
        deeds.extend(touched.into_iter().flat_map(|id| self.write(id)));
        deeds
    }

    fn write(&mut self, id: SessionId) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let (Some(node), false) = (session.node, session.writing) else { return Vec::new() };
        if session.changed.is_empty() {
            return Vec::new();
        }
        session.writing = true;
        let replicas = std::mem::take(&mut session.changed).into_iter().collect();
        vec![Deed::Do(Input::Look(Look::Orders(id, node, replicas)))]
    }

    pub(crate) fn found(&mut self, found: Found, clock: Timestamp, now: SimTime) -> Vec<Deed> {
        match found {
            Found::AllOrders(id, orders, is_ready) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
                session.welcomed = true;
                let mut deeds = vec![Deed::Tell(id, session.agent, ToAgent::Welcome)];
                deeds.extend(self.send(id, (true, orders)));
                deeds.push(Deed::Do(Input::Look(Look::Members)));
                if let Some(session) = self.sessions.get(&id).filter(|_| !is_ready) {
                    let body = Body::RegisterNode(session.hello.clone());
                    deeds.push(Deed::Do(Input::Command(None, body, Reply::RegisterAgain(id))));
                }
                deeds
            }
            Found::Orders(id, orders) => self.send(id, (false, orders)),
            Found::View(view) => self.plan(view, clock),
            Found::Nodes(nodes) => {
                self.contacts.began(nodes, Millis(now.as_millis()));
                Vec::new()
            }
            Found::Members(members) => {
                let tell = |(id, session): (&SessionId, &Session)| {
                    Deed::Tell(*id, session.agent, ToAgent::Members(members.clone()))
                };
                self.sessions.iter().filter(|(_, s)| s.welcomed).map(tell).collect()
            }
            Found::Beats => self.confirmed(now),
            Found::HeldUp(all) => all
                .into_iter()
                .filter_map(|(node, held_up)| self.give_up(node, held_up, now))
                .collect(),
            Found::Read(..) => Vec::new(),
        }
    }

    pub(crate) fn not_found(&mut self, look: &Look, now: SimTime) -> Vec<Deed> {
        match look {
            Look::AllOrders(id, _) | Look::Orders(id, ..) => self.end(*id, now),
            Look::Plan => {
                self.planning = false;
                self.plan_at = self.leads.then_some(now + PLAN_AGAIN);
                Vec::new()
            }
            Look::Nodes if self.leads => vec![Deed::Do(Input::Look(Look::Nodes))],
            Look::Beats => {
                self.confirming = None;
                self.confirm().into_iter().collect()
            }
            Look::Members | Look::HeldUp(_) | Look::Nodes | Look::Client(..) => Vec::new(),
        }
    }

    /// A majority has confirmed that this member leads: the heartbeats from before that are answered.
    fn confirmed(&mut self, now: SimTime) -> Vec<Deed> {
        let confirmed = self.confirming.take().unwrap_or_default();
        let mut deeds = Vec::new();
        for (id, number) in confirmed {
            let Some(session) = self.sessions.get(&id) else { continue };
            if let Some(node) = session.node {
                self.contacts.answers(node, number, Millis(now.as_millis()));
            }
            deeds.push(Deed::Tell(id, session.agent, ToAgent::Heard(number)));
        }
        deeds.extend(self.confirm());
        deeds
    }

    /// What an unreachable node holds up and must have stopped by now.
    fn give_up(&mut self, node: NodeId, held_up: Option<HeldUp>, now: SimTime) -> Option<Deed> {
        let HeldUp { since, cut_off, jobs } = held_up?;
        let stopped = |witnesses: &[NodeId]| {
            let at = self.contacts.stopped_at(node, cut_off, witnesses);
            at.is_some_and(|at| at.0 <= now.as_millis())
        };
        let jobs = jobs.into_iter().filter(|(_, witnesses)| stopped(witnesses));
        let jobs: Vec<_> = jobs.map(|(job, _)| job).collect();
        let body = Body::CutOff(CutOff { node, since, jobs: jobs.clone() });
        (!jobs.is_empty()).then(|| Deed::Do(Input::Command(None, body, Reply::Nobody)))
    }

    fn send(&mut self, id: SessionId, (full, orders): (bool, Vec<AgentOrder>)) -> Vec<Deed> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        session.writing = false;
        let mut deeds = vec![Deed::Tell(id, session.agent, ToAgent::Orders { full, orders })];
        deeds.extend(self.write(id));
        deeds
    }
}

// === impl Desk: time and planning ===

impl Desk {
    /// Looks at leases, silent sessions and whether to plan.
    pub(crate) fn tick(&mut self, now: SimTime) -> Vec<Deed> {
        let silent = self.sessions.iter().filter(|(_, session)| session.heard + self.lease < now);
        let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
        let mut deeds: Vec<Deed> = silent.into_iter().flat_map(|id| self.end(id, now)).collect();
        if !self.leads {
            return deeds;
        }
        for node in self.contacts.ended(Millis(now.as_millis())) {
            let body = Body::NodeUnreachable(NodeUnreachable { node });
            deeds.push(Deed::Do(Input::Command(None, body, Reply::Unreachable(node))));
        }
        let declared: Vec<NodeId> = self.contacts.declared().collect();
        if !declared.is_empty() && self.held_up_at <= now {
            self.held_up_at = now + HELD_UP_EVERY;
            deeds.push(Deed::Do(Input::Look(Look::HeldUp(declared))));
        }
        if !self.planning && self.plan_at.take_if(|at| *at <= now).is_some() {
            self.planning = true;
            deeds.push(Deed::Do(Input::Look(Look::Plan)));
        }
        deeds
    }

    fn plan(&mut self, view: Option<View>, clock: Timestamp) -> Vec<Deed> {
        self.planning = false;
        let Some(mut view) = view else { return Vec::new() };
        for node in &mut view.nodes {
            node.usable &= self.current.contains_key(&node.id);
        }
        let placements = plan(&view, &Policy::default(), clock).placements;
        let bodies = placements.into_iter().map(|placement| Body::BindGang(BindGang { placement }));
        bodies.map(|body| Deed::Do(Input::Command(None, body, Reply::Bind))).collect()
    }
}
