//! What happens to agents, their machines, clients and the operator.

use muster_model::{JobPhase, MemberId};
use muster_state::{Member as MemberRecord, MemberPhase};

use crate::agent::Wish;
use crate::client::{End, What};
use crate::invariants::{exactly_once, one_live_attempt, reads, room, whole_gangs_start};
use crate::network::Address;
use crate::processes::{Stage, Timer};
use crate::time::Span;
use crate::trace::Note;
use crate::violation::Violation;
use crate::wire::{Key, Packet, Parcel};
use crate::world::{Event, World};

// === impl World: agents ===

impl World {
    pub(crate) fn start_agent(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let agent = &mut self.agents[index];
        if agent.destroyed || agent.is_up() {
            return Ok(());
        }
        agent.start(now);
        let life = agent.life;
        self.note(Note::Fault(format!("agent {index} starts")));
        self.at(now, Event::AgentBeat(index, life));
        Ok(())
    }

    pub(crate) fn arrive_at_agent(
        &mut self,
        index: usize,
        from: Address,
        body: Parcel,
    ) -> Result<(), Violation> {
        let now = self.now;
        let wishes = match body {
            Parcel::ToAgent(session, message) => self.agents[index].take(session, message, now),
            Parcel::Told { round, address, answer } => {
                self.agents[index].told((round, &address), answer, now)
            }
            Parcel::Question { round, address } => {
                if let Some(answer) = self.agents[index].witness(now) {
                    let body = Parcel::Told { round, address, answer };
                    self.request((Address::Agent(index), from), body);
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.fulfil(index, wishes)
    }

    /// Whom an address belongs to.
    fn at_address(&self, address: &str) -> Option<Address> {
        let agent = self.agents.iter().find(|agent| format!("agent {}", agent.index) == address);
        let member = self.named.get(address).map(|id| Address::Member(*id));
        agent.map(|agent| Address::Agent(agent.index)).or(member)
    }

    pub(crate) fn fulfil(&mut self, index: usize, wishes: Vec<Wish>) -> Result<(), Violation> {
        for wish in wishes {
            match wish {
                Wish::Tell(to, session, message) => {
                    let link = (Address::Agent(index), Address::Member(to));
                    if let Some(at) = self.network.stream(link, session, self.now) {
                        let body = Parcel::ToMember(session, message);
                        let packet = Packet { from: link.0, to: link.1, body };
                        self.at(at, Event::Arrive(Box::new(packet)));
                    }
                }
                Wish::Plan(timer) => {
                    room::suffices(&self.agents[index])?;
                    self.after(timer.after, Event::Step(index, timer));
                }
                Wish::Deadline(key, at) => self.at(at, Event::Deadline(index, key)),
                Wish::Ask(round, address) => {
                    if let Some(to) = self.at_address(&address) {
                        let body = Parcel::Question { round, address };
                        self.request((Address::Agent(index), to), body);
                    }
                }
                Wish::Starts(key) => {
                    self.counts.programs += 1;
                    self.facts.started.insert(key);
                    let shims = &self.agents[index].processes.shims;
                    let size = shims.get(&key).map_or(0, |shim| shim.spec.gang_size);
                    whole_gangs_start::holds(&self.facts.prepared, key, size)?;
                    one_live_attempt::holds(&self.history, &self.agents, (index, key))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn kill_overdue(&mut self, index: usize, key: Key) -> Result<(), Violation> {
        let now = self.now;
        let agent = &mut self.agents[index];
        let Some(seen) = agent.processes.overdue(key, now) else { return Ok(()) };
        self.counts.overdue += 1;
        let (id, fence) = key;
        let wishes = agent.saw(key, seen, now);
        self.note(Note::Process { agent: index, id, fence, what: "is killed at its deadline" });
        self.fulfil(index, wishes)
    }

    pub(crate) fn step_process(&mut self, index: usize, timer: &Timer) -> Result<(), Violation> {
        let now = self.now;
        let agent = &mut self.agents[index];
        let (seen, next) = agent.processes.step(timer);
        if let Some(next) = next {
            self.after(next.after, Event::Step(index, next));
        }
        let Some(seen) = seen else { return Ok(()) };
        let agent = &mut self.agents[index];
        let (id, fence) = timer.key;
        let what = match agent.processes.shims.get(&timer.key).map(|shim| &shim.stage) {
            Some(Stage::Ready) => {
                self.facts.prepared.insert(timer.key);
                "is ready"
            }
            Some(Stage::Running) => "runs",
            _ => "has ended",
        };
        let wishes = agent.saw(timer.key, seen, now);
        self.note(Note::Process { agent: index, id, fence, what });
        self.fulfil(index, wishes)
    }
}

// === impl World: clients ===

impl World {
    pub(crate) fn beat_client(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        if self.clients[index].is_due(now) {
            let what = if index == self.operator {
                self.tidy();
                self.wishes.pop_front()
            } else {
                (!self.is_calm).then(|| self.clients[index].wish())
            };
            if let Some(what) = what {
                self.clients[index].begin(what, now);
            }
        }
        let members = self.known_members();
        let (send, end) = self.clients[index].beat(&members, self.history.told, now);
        if let Some((to, ticket, ask)) = send {
            let link = (Address::Client(index), Address::Member(to));
            if let Some(at) = self.network.request(link, now) {
                let body = Parcel::Ask(ticket, ask);
                self.at(at, Event::Arrive(Box::new(Packet { from: link.0, to: link.1, body })));
            }
        }
        end.map_or(Ok(()), |end| self.ended(index, end))
    }

    pub(crate) fn arrive_at_client(&mut self, index: usize, body: Parcel) -> Result<(), Violation> {
        let Parcel::Answer(ticket, answer) = body else { return Ok(()) };
        let end = self.clients[index].take(ticket, answer, self.now);
        end.map_or(Ok(()), |end| self.ended(index, end))
    }

    fn ended(&mut self, client: usize, end: End) -> Result<(), Violation> {
        match end {
            End::Accepted(op, accepted, index) => {
                self.counts.accepted += 1;
                self.history.told = self.history.told.max(index);
                let what = format!("{:?} {accepted:?}", std::mem::discriminant(&op.what));
                self.note(Note::Client { client, op: op.number, what });
                exactly_once::is_done(&self.history, (client, &op), &accepted)
            }
            End::Read(read, floor) => {
                self.counts.reads += 1;
                self.history.told = self.history.told.max(read.index);
                reads::is_fresh(&self.history, &read, floor)
            }
            End::Rejected => {
                self.counts.rejected += 1;
                Ok(())
            }
            End::Unknown => {
                self.counts.unknown += 1;
                Ok(())
            }
        }
    }
}

// === impl World: the operator ===

impl World {
    pub(crate) fn wish_for_member(&mut self) {
        self.addresses += 1;
        self.wishes.push_back(What::AddMember(format!("10.2.0.{}:7000", self.addresses)));
    }

    /// The members that are to stay.
    pub(crate) fn staying(&self) -> Vec<MemberId> {
        let is_staying = |record: &MemberRecord| record.phase == MemberPhase::Staying;
        let members = self.history.state.tables().members.iter();
        members.filter(|(_, record)| is_staying(record)).map(|(id, _)| *id).collect()
    }

    /// Machines that are gone for good are taken out once the coordinator has missed them.
    fn tidy(&mut self) {
        if !self.wishes.is_empty() || (self.plan.lazy_operator && !self.is_calm) {
            return;
        }
        for agent in self.agents.iter().filter(|agent| agent.destroyed) {
            let id = self.history.state.node_id(agent.name.as_str());
            let node = id.and_then(|id| self.history.state.node(id));
            if node.is_some_and(|node| !node.phase.is_ready()) {
                self.wishes.push_back(What::RemoveNode(agent.name.as_str().to_owned()));
                return;
            }
        }
    }

    /// How many jobs have succeeded, of those that are still known.
    pub(crate) fn succeeded(&self) -> u64 {
        let statuses = self.history.state.tables().statuses.iter();
        statuses.filter(|(_, status)| status.phase == JobPhase::Succeeded).count() as u64
    }

    /// A new machine joins.
    pub(crate) fn new_machine(&mut self, pause: Span) {
        let index = self.agents.len();
        let agent = crate::agent::Agent::new(index, &self.plan);
        self.agents.push(agent);
        self.after(pause, Event::StartAgent(index));
    }
}
