//! What happens to members: inputs, rounds of work, and what comes of them.

use std::collections::BTreeMap;

use muster_consensus::{Message, SnapshotOutcome};
use muster_model::MemberId;
use muster_state::{AnnounceMember, Body, Change, Changes};

use crate::coordinator::{Coordinator, Input, TICK};
use crate::desk::Deed;
use crate::history::Applied;
use crate::invariants::{brain, exactly_once, one_history, one_leader, reports_are_true};
use crate::machine::{Found, Look, Output, Reply};
use crate::network::Address;
use crate::time::{SimTime, Span};
use crate::trace::{self, Note};
use crate::violation::Violation;
use crate::wire::{Answer, Ask, Load, Packet, Parcel, ToMember};
use crate::world::{Event, World};

/// A member and its life.
type Alive = (u64, u64);

// === impl World: into members ===

impl World {
    pub(crate) fn start_member(&mut self, id: u64) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if member.retired || member.core.is_some() {
            return Ok(());
        }
        member.start()?;
        let life = member.life;
        self.history.reached.remove(&id);
        self.note(Note::Fault(format!("member {id} starts")));
        self.at(self.now, Event::MemberTick(id, life));
        Ok(())
    }

    pub(crate) fn crash_member(&mut self, id: u64, down: Span) {
        let (now, heard) = (self.now, self.history.state.applied().0);
        let Some(member) = self.members.get_mut(&id).filter(|member| member.core.is_some()) else {
            return;
        };
        member.crash(now, heard);
        self.counts.member_crashes += 1;
        self.note(Note::Fault(format!("member {id} dies")));
        self.after(down, Event::StartMember(id));
    }

    /// A member whose record is gone is switched off.
    pub(crate) fn retire_member(&mut self, id: u64) -> Result<(), Violation> {
        if let Some(member) = self.members.get_mut(&id) {
            member.crash(self.now, self.history.state.applied().0);
            member.retired = true;
            self.counts.members_left += 1;
            self.note(Note::Fault(format!("member {id} is gone for good")));
        }
        Ok(())
    }

    fn alive(&mut self, (id, life): Alive) -> Option<&mut Coordinator> {
        self.members.get_mut(&id).filter(|member| member.life == life && member.core.is_some())
    }

    /// Answers whether the member lives on.
    pub(crate) fn tick_member(&mut self, alive: Alive) -> Result<bool, Violation> {
        let now = self.now;
        let Some(member) = self.alive(alive) else { return Ok(false) };
        // A member that stands still does not catch up on ticks.
        if !member.inbox.iter().any(|input| matches!(input, Input::Tick)) {
            member.inbox.push_back(Input::Tick);
        }
        if member.busy_until <= now {
            let deeds = member.desk.tick(now);
            self.perform(alive, deeds);
        }
        self.wake(alive.0);
        Ok(true)
    }

    /// Inputs wait for a member: it takes them as soon as it can.
    fn wake(&mut self, id: u64) {
        let now = self.now;
        // Now and then several gather before it looks.
        let pause = match self.pace_dice.hits(2000) {
            true => self.pace_dice.span(Span::micros(10), Span::millis(5)),
            false => Span::default(),
        };
        let Some(member) = self.members.get_mut(&id).filter(|member| member.core.is_some()) else {
            return;
        };
        if !std::mem::replace(&mut member.wakes, true) {
            let (at, life) = (member.busy_until.max(now + pause), member.life);
            self.at(at, Event::Wake(id, life));
        }
    }

    pub(crate) fn wake_member(&mut self, alive: Alive) -> Result<(), Violation> {
        let now = self.now;
        let many = self.pace_dice.between(1, 16) as usize;
        let Some(member) = self.alive(alive) else { return Ok(()) };
        member.wakes = false;
        if member.busy_until > now {
            self.wake(alive.0);
            return Ok(());
        }
        let said = member.work(now, many)?;
        member.busy_until = now + member.machine.waited;
        let mut by_time: BTreeMap<SimTime, Vec<Output>> = BTreeMap::new();
        for (waited, output) in said {
            by_time.entry(now + waited).or_default().push(output);
        }
        for (at, outputs) in by_time {
            if at == now {
                self.heard(alive, outputs)?;
            } else {
                self.at(at, Event::Said(alive.0, alive.1, outputs));
            }
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, id: u64, input: Input) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| member.core.is_some()) {
            member.inbox.push_back(input);
            self.wake(id);
        }
    }

    pub(crate) fn snapshot_sent(
        &mut self,
        to: Alive,
        about: u64,
        outcome: SnapshotOutcome,
    ) -> Result<(), Violation> {
        if self.alive(to).is_some() {
            self.put(to.0, Input::SnapshotSent(about, outcome));
        }
        Ok(())
    }

    pub(crate) fn arrive_at_member(&mut self, id: u64, packet: Packet) -> Result<(), Violation> {
        let now = self.now;
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        let is_up = member.core.is_some();
        let alive = (id, member.life);
        match (packet.body, packet.from) {
            (Parcel::Raft { message, load, life }, Address::Member(from)) => {
                if load.is_some() {
                    let outcome =
                        if is_up { SnapshotOutcome::Delivered } else { SnapshotOutcome::Failed };
                    self.snapshot_fate((from, life), id, outcome);
                }
                self.put(id, Input::Message(message.bytes, load));
            }
            (Parcel::ToMember(session, message), Address::Agent(agent)) if is_up => {
                let deeds = match message {
                    ToMember::Hello(hello) => member.desk.hello((session, agent), *hello, now),
                    ToMember::Reports(reports) => {
                        member.desk.reports((session, agent), reports, now)
                    }
                    ToMember::Beat(beat) => member.desk.beat((session, agent), beat, now),
                    ToMember::Knows(members) => member.desk.knows(session, members),
                };
                self.perform(alive, deeds);
            }
            // Nobody listens: the machine says so, if it is there.
            (Parcel::ToMember(session, _), Address::Agent(agent)) => {
                let deed = Deed::Tell(session, agent, crate::wire::ToAgent::End { leader: None });
                self.perform(alive, vec![deed]);
            }
            (Parcel::Question { round, address }, from) => {
                let answers = !is_up || member.busy_until <= now;
                let answer = match is_up {
                    true => member.desk.sees_leader(),
                    false => muster_agent_core::Answer::NoLeader,
                };
                if answers {
                    let body = Parcel::Told { round, address, answer };
                    self.request((Address::Member(id), from), body);
                }
            }
            (Parcel::Ask(ticket, ask), _) if is_up => {
                let input = match ask {
                    Ask::Command { request, body } => {
                        Input::Command(request, body, Reply::Client(ticket))
                    }
                    Ask::Read(key) => Input::Look(Look::Client(ticket, key)),
                };
                self.put(id, input);
            }
            _ => {}
        }
        Ok(())
    }
}

// === impl World: out of members ===

impl World {
    fn perform(&mut self, (id, _): Alive, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Do(input) => self.put(id, input),
                Deed::Tell(session, agent, message) => {
                    let link = (Address::Member(id), Address::Agent(agent));
                    if let Some(at) = self.network.stream(link, session, self.now) {
                        let body = Parcel::ToAgent(session, message);
                        let packet = Packet { from: link.0, to: link.1, body };
                        self.at(at, Event::Arrive(Box::new(packet)));
                    }
                }
            }
        }
    }

    /// What a member said reaches the world.
    pub(crate) fn heard(&mut self, alive: Alive, outputs: Vec<Output>) -> Result<(), Violation> {
        for output in outputs {
            if self.alive(alive).is_some() {
                self.hear(alive, output)?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, alive: Alive, output: Output) -> Result<(), Violation> {
        let (id, now) = (alive.0, self.now);
        let Some(member) = self.alive(alive) else { return Ok(()) };
        let clock = member.clock_at(now);
        let deeds = match output {
            Output::Send(message, load) => {
                self.send(alive, message, load);
                return Ok(());
            }
            Output::Applied { at, changes, digest } => {
                let note = Note::Applied {
                    member: id,
                    index: at.index.0,
                    digest: trace::digest(digest),
                    installed: false,
                };
                self.note(note);
                return self.applied(&Applied { member: id, at, changes: &changes, digest });
            }
            Output::Installed { index, digest } => {
                let print = trace::digest(digest);
                self.note(Note::Applied { member: id, index, digest: print, installed: true });
                return one_history::installed(&mut self.history, (id, index), digest);
            }
            Output::Role(role) => {
                one_leader::holds(&mut self.history, role)?;
                let (term, leader, leads) = (role.term, role.leader, role.leads);
                self.note(Note::Role { member: id, term, leader, leads });
                let Some(member) = self.alive(alive) else { return Ok(()) };
                member.leader = leader;
                let mut deeds = member.desk.role(leads, leader, now);
                if leads {
                    deeds.push(announce(id));
                }
                deeds
            }
            Output::Answer(Reply::Client(ticket), outcome, index) => {
                self.reply(
                    alive,
                    ticket.client,
                    Parcel::Answer(ticket, Answer::Outcome(outcome, index)),
                );
                return Ok(());
            }
            Output::Answer(reply, outcome, _) => member.desk.answered(reply, &outcome, now),
            Output::Found(Found::Read(ticket, read)) => {
                self.reply(alive, ticket.client, Parcel::Answer(ticket, Answer::Read(read)));
                return Ok(());
            }
            Output::Found(found) => member.desk.found(found, clock, now),
            Output::NotFound(Look::Client(ticket, _)) => {
                let leader = member.leader;
                self.reply(alive, ticket.client, Parcel::Answer(ticket, Answer::Elsewhere(leader)));
                return Ok(());
            }
            Output::NotFound(look) => member.desk.not_found(&look, now),
            Output::Effects(effects) => member.desk.effects(&effects, now),
        };
        self.perform(alive, deeds);
        Ok(())
    }

    fn send(&mut self, (id, life): Alive, message: Message, load: Option<Load>) {
        let to = message.to.0;
        let link = (Address::Member(id), Address::Member(to));
        let has_snapshot = message.snapshot.is_some();
        let mut arrivals = self.network.datagram(link, self.now);
        if has_snapshot {
            // It takes longer, is not doubled, and is lost when the sender has a newer one by now.
            arrivals.truncate(usize::from(load.is_some()));
            if arrivals.is_empty() {
                self.snapshot_fate((id, life), to, SnapshotOutcome::Failed);
            }
        }
        for at in arrivals {
            let at = if has_snapshot { at + Span::millis(20) } else { at };
            let body = Parcel::Raft { message: message.clone(), load: load.clone(), life };
            self.at(at, Event::Arrive(Box::new(Packet { from: link.0, to: link.1, body })));
        }
    }

    /// A sender hears how its snapshot fared; if the word does not get through, it takes it for lost.
    fn snapshot_fate(&mut self, sender: Alive, about: u64, outcome: SnapshotOutcome) {
        let link = (Address::Member(about), Address::Member(sender.0));
        let (at, outcome) = match self.network.request(link, self.now) {
            Some(at) => (at, outcome),
            None => (self.now + Span::seconds(1), SnapshotOutcome::Failed),
        };
        self.at(at, Event::SnapshotSent { to: sender, about, outcome });
    }

    fn reply(&mut self, (id, _): Alive, client: usize, body: Parcel) {
        self.request((Address::Member(id), Address::Client(client)), body);
    }

    pub(crate) fn request(&mut self, link: (Address, Address), body: Parcel) {
        if let Some(at) = self.network.request(link, self.now) {
            self.at(at, Event::Arrive(Box::new(Packet { from: link.0, to: link.1, body })));
        }
    }

    fn applied(&mut self, applied: &Applied<'_>) -> Result<(), Violation> {
        one_history::continues(&mut self.history, applied)?;
        if self.history.take(applied, self.now) {
            brain::hold(&self.history)?;
            exactly_once::counts(&mut self.history, applied.changes)?;
            let facts = (&self.facts, &self.history);
            reports_are_true::hold(facts, &self.agents, applied.changes)?;
            self.members_changed(applied.changes);
        }
        one_history::agrees(&self.history, applied)
    }

    /// Members that were taken in are started, and those that have left are stopped.
    fn members_changed(&mut self, changes: &Changes) {
        for change in changes.iter() {
            if matches!(change, Change::Event(_, Some(event)) if event.reason == "NodeCutOff".into())
            {
                self.counts.given_up += 1;
            }
            if let Change::Member(id, Some(record)) = change {
                self.named.insert(record.address.clone(), id.0);
            }
            match change {
                Change::Member(id, Some(_)) if !self.members.contains_key(&id.0) => {
                    self.members.insert(id.0, Coordinator::new(id.0, &self.plan));
                    self.counts.members_joined += 1;
                    let pause = self.pace_dice.span(TICK, Span::seconds(1));
                    self.after(pause, Event::StartMember(id.0));
                }
                Change::Member(id, None) => {
                    let pause = self.pace_dice.span(TICK, Span::seconds(3));
                    self.after(pause, Event::RetireMember(id.0));
                }
                _ => {}
            }
        }
    }
}

/// A leader writes down where it is.
fn announce(id: u64) -> Deed {
    let body = Body::AnnounceMember(AnnounceMember {
        id: MemberId(id),
        address: address(id),
        version: "0".into(),
    });
    Deed::Do(Input::Command(None, body, Reply::Nobody))
}

fn address(id: u64) -> String {
    format!("10.1.0.{id}:7000")
}
