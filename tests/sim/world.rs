//! The whole system in one value: members, agents, clients, the network between them, and one queue of events.

use std::collections::{BTreeMap, VecDeque};

use muster_consensus::SnapshotOutcome;

use crate::agent::Agent;
use crate::client::{Client, What};
use crate::coordinator::{Coordinator, TICK};
use crate::dice::Dice;
use crate::history::History;
use crate::invariants::reports_are_true::Facts;
use crate::machine::Output;
use crate::network::{Address, Network};
use crate::plan::Plan;
use crate::processes::Timer;
use crate::time::{SimTime, Span};
use crate::trace::{Note, Trace};
use crate::violation::Violation;
use crate::wire::{Key, Packet};

/// How often agents and clients look at what is due, and how often something may go wrong.
const AGENT_BEAT: Span = Span::millis(200);
const CLIENT_BEAT: Span = Span::millis(40);
const WEATHER: Span = Span::millis(100);

/// Something that is to come. The number is the life of the process that it belongs to.
#[derive(Debug)]
pub(crate) enum Event {
    MemberTick(u64, u64),
    Wake(u64, u64),
    /// A member says something, after it has waited for its disk.
    Said(u64, u64, Vec<Output>),
    StartMember(u64),
    /// A member that has left is stopped for good.
    RetireMember(u64),
    /// A member hears how the sending of a snapshot to another went.
    SnapshotSent {
        to: (u64, u64),
        about: u64,
        outcome: SnapshotOutcome,
    },
    Arrive(Box<Packet>),
    StartAgent(usize),
    AgentBeat(usize, u64),
    Step(usize, Timer),
    /// A replica is killed unless that was put off.
    Deadline(usize, Key),
    ClientBeat(usize),
    Weather,
}

/// What a run has seen, so that one in which nothing happened is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) unknown: u64,
    pub(crate) reads: u64,
    pub(crate) programs: u64,
    pub(crate) jobs_succeeded: u64,
    pub(crate) member_crashes: u64,
    pub(crate) agent_crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) destroyed: u64,
    pub(crate) members_joined: u64,
    pub(crate) members_left: u64,
    /// Replicas that their shims killed because a deadline was over.
    pub(crate) overdue: u64,
    /// Gangs that were given up on a node without an operator.
    pub(crate) given_up: u64,
}

/// See the module.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: SimTime,
    queue: BTreeMap<(SimTime, u64), Event>,
    sequence: u64,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    pub(crate) members: BTreeMap<u64, Coordinator>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) clients: Vec<Client>,
    /// The client that is the operator, and what it is to do.
    pub(crate) operator: usize,
    pub(crate) wishes: VecDeque<What>,
    pub(crate) history: History,
    pub(crate) facts: Facts,
    pub(crate) counts: Counts,
    pub(crate) fault_dice: Dice,
    pub(crate) pace_dice: Dice,
    /// Which member each address belongs to, or belonged to last.
    pub(crate) named: BTreeMap<String, u64>,
    /// Addresses that were given to members so far.
    pub(crate) addresses: u64,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, aloud: bool) -> Self {
        let seed = plan.seed;
        let mut world = Self {
            now: SimTime::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            trace: Trace::new(aloud),
            network: Network::new(seed, plan.links),
            members: BTreeMap::from([(1, Coordinator::new(1, &plan))]),
            agents: (0..plan.agents).map(|index| Agent::new(index, &plan)).collect(),
            clients: (0..=plan.clients).map(|index| Client::new(index, &plan)).collect(),
            operator: plan.clients,
            wishes: VecDeque::new(),
            history: History::new(),
            facts: Facts::default(),
            counts: Counts::default(),
            fault_dice: Dice::new(seed, "faults"),
            pace_dice: Dice::new(seed, "pace"),
            named: BTreeMap::new(),
            addresses: 1,
            is_calm: false,
            plan,
        };
        world.at(SimTime::default(), Event::StartMember(1));
        for agent in 0..world.agents.len() {
            world.at(SimTime::default(), Event::StartAgent(agent));
        }
        for client in 0..world.clients.len() {
            world.at(SimTime::default(), Event::ClientBeat(client));
        }
        for _ in 1..world.plan.members {
            world.wish_for_member();
        }
        // Half of the clusters are complete before anything goes wrong.
        let calm = if world.fault_dice.hits(5000) { Span::seconds(4) } else { Span::default() };
        world.after(calm, Event::Weather);
        world
    }

    /// Does what is due until then.
    pub(crate) fn run_until(&mut self, end: SimTime) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.take(event)?;
        }
        self.now = end;
        Ok(())
    }

    pub(crate) fn at(&mut self, time: SimTime, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    pub(crate) fn after(&mut self, span: Span, event: Event) {
        self.at(self.now + span, event);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.trace.note(self.now, note);
    }

    fn take(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::MemberTick(id, life) => {
                if self.tick_member((id, life))? {
                    self.after(TICK, Event::MemberTick(id, life));
                }
                Ok(())
            }
            Event::Wake(id, life) => self.wake_member((id, life)),
            Event::Said(id, life, outputs) => self.heard((id, life), outputs),
            Event::StartMember(id) => self.start_member(id),
            Event::RetireMember(id) => self.retire_member(id),
            Event::SnapshotSent { to, about, outcome } => self.snapshot_sent(to, about, outcome),
            Event::Arrive(packet) => self.arrive(*packet),
            Event::StartAgent(agent) => self.start_agent(agent),
            Event::AgentBeat(agent, life) => {
                if self.agents[agent].life == life {
                    let members = self.known_members();
                    let wishes = self.agents[agent].beat(&members, self.now);
                    self.fulfil(agent, wishes)?;
                    self.after(AGENT_BEAT, Event::AgentBeat(agent, life));
                }
                Ok(())
            }
            Event::Step(agent, timer) => self.step_process(agent, &timer),
            Event::Deadline(agent, key) => self.kill_overdue(agent, key),
            Event::ClientBeat(client) => {
                self.after(CLIENT_BEAT, Event::ClientBeat(client));
                self.beat_client(client)
            }
            Event::Weather => {
                if self.is_calm {
                    return Ok(());
                }
                self.after(WEATHER, Event::Weather);
                self.weather()
            }
        }
    }

    fn arrive(&mut self, packet: Packet) -> Result<(), Violation> {
        let (from, to) = (packet.from, packet.to);
        self.note(Note::Packet { from, to, what: packet.body.word(), print: packet.body.print() });
        match to {
            Address::Member(id) => self.arrive_at_member(id, packet),
            Address::Agent(agent) => self.arrive_at_agent(agent, from, packet.body),
            Address::Client(client) => self.arrive_at_client(client, packet.body),
        }
    }

    /// The members that can be asked: those whose process is not stopped for good.
    pub(crate) fn known_members(&self) -> Vec<u64> {
        self.members.values().filter(|member| !member.retired).map(|member| member.id).collect()
    }
}
