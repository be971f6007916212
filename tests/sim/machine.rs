//! The machine that a member runs on: its disk, and everything that it says, each with the time at which it says it.
//!
//! A sync takes its time. The member does not go on until then, so whatever it says after a sync is said that much later,
//! and never if it dies before.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use muster_consensus::{Index, Message, Position, Snapshot, SnapshotMeta, Write};
use muster_coordinator_core::{Host, Outcome, Refused, RoleView};
use muster_model::{JobKey, NodeId, ReplicaId, View};
use muster_state::{Changes, Digest, Effect, HeldUp, Order, Ordered, State};

use crate::disk::Disk;
use crate::time::{SimTime, Span};
use crate::wire::{AgentOrder, Load, Read, SessionId, Ticket};

/// More often than this no round of work looks for room on the disk.
const MANY: u32 = 10_000;

/// Who waits for the outcome of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Client(Ticket),
    /// A session whose node is to be registered.
    Register(SessionId),
    /// A session whose node turned out to be unreachable after it was registered.
    RegisterAgain(SessionId),
    Reports(SessionId),
    Bind,
    Unreachable(NodeId),
    Nobody,
}

/// Who looks at the state, and for what.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    Client(Ticket, Option<JobKey>),
    AllOrders(SessionId, NodeId),
    Orders(SessionId, NodeId, Vec<ReplicaId>),
    Plan,
    Nodes,
    /// Where the members are.
    Members,
    /// Whether this member still leads, for the heartbeats that have come so far.
    Beats,
    /// What unreachable nodes hold up.
    HeldUp(Vec<NodeId>),
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Found {
    Read(Ticket, Read),
    /// All orders for a session's node, and whether the node is usable.
    AllOrders(SessionId, Vec<AgentOrder>, bool),
    Orders(SessionId, Vec<AgentOrder>),
    View(Option<View>),
    /// All nodes, and whether each is ready.
    Nodes(Vec<(NodeId, bool)>),
    Members(Vec<String>),
    Beats,
    HeldUp(Vec<(NodeId, Option<HeldUp>)>),
}

/// What a member says or does.
#[derive(Debug)]
pub(crate) enum Output {
    Send(Message, Option<Load>),
    Applied { at: Position, changes: Changes, digest: Digest },
    Installed { index: u64, digest: Digest },
    Answer(Reply, Outcome, muster_state::Index),
    Found(Found),
    NotFound(Look),
    Effects(Vec<Effect>),
    Role(RoleView),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    /// When the present round of work began, and how long it has waited for the disk.
    pub(crate) now: SimTime,
    pub(crate) waited: Span,
    /// How often it has looked for room in that round.
    pub(crate) asked_for_room: u32,
    pub(crate) said: Vec<(Span, Output)>,
    /// Snapshots that arrived beside messages.
    pub(crate) arrived: BTreeMap<Position, Load>,
    pub(crate) snapshot_every: u64,
    pub(crate) snapshot_tail: u64,
    /// The entry that was applied last, and that of the last try of a snapshot.
    pub(crate) applied: u64,
    pub(crate) snapshot_at: u64,
}

impl Machine {
    fn say(&mut self, output: Output) {
        self.said.push((self.waited, output));
    }

    fn sync(&mut self, is_needed: bool) -> SimTime {
        if is_needed {
            self.waited = self.waited + self.disk.sync_takes(self.now);
        }
        self.now + self.waited
    }
}

impl Host for Machine {
    type Reply = Reply;
    type Look = Look;
    type Error = Infallible;

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let newest = self.disk.newest();
            let load = message.snapshot.filter(|index| newest.0.at.index == *index).map(|_| newest);
            self.say(Output::Send(message, load));
        }
    }

    fn persist(&mut self, write: &Write) -> Result<(), Infallible> {
        let durable_at = self.sync(write.sync);
        self.disk.write(write, write.sync.then_some(durable_at));
        Ok(())
    }

    fn install(&mut self, snapshot: &Snapshot, write: &Write) -> Result<State, Infallible> {
        let at = snapshot.meta.at;
        let (_, sent) = self.arrived.get(&at).expect("a snapshot arrives before its message");
        let applied = muster_state::Index(at.index.0);
        let rows: Vec<_> = sent.export().collect();
        let state = State::import(applied, rows).expect("what a member exports can be imported");
        let durable_at = self.sync(true);
        let load = (snapshot.meta.clone(), Rc::new(state.clone()));
        self.disk.install(load, write, durable_at);
        self.applied = at.index.0;
        self.snapshot_at = at.index.0;
        self.say(Output::Installed { index: at.index.0, digest: state.digest() });
        Ok(state)
    }

    fn applied(&mut self, at: Position, changes: &Changes, state: &State) {
        self.applied = at.index.0;
        self.disk.record(at.index, changes);
        self.say(Output::Applied { at, changes: changes.clone(), digest: state.digest() });
    }

    fn reload(&mut self) -> Result<State, Infallible> {
        Ok(self.disk.records().clone())
    }

    fn room(&mut self) -> Result<(), String> {
        self.asked_for_room += 1;
        assert!(self.asked_for_room < MANY, "the member spins: it asks for room again and again");
        let is_full = self.disk.full_until > self.now;
        if is_full { Err("There is nothing left.".into()) } else { Ok(()) }
    }

    fn snapshot_is_due(&self) -> bool {
        self.applied - self.snapshot_at >= self.snapshot_every
    }

    fn snapshot(
        &mut self,
        meta: &SnapshotMeta,
        state: &State,
    ) -> Result<Option<Index>, Infallible> {
        self.snapshot_at = self.applied;
        if self.room().is_err() {
            return Ok(None);
        }
        let durable_at = self.sync(true);
        let load = (meta.clone(), Rc::new(state.clone()));
        Ok(Some(self.disk.save(load, self.snapshot_tail, durable_at)))
    }

    fn newest_snapshot(&self) -> Option<SnapshotMeta> {
        let (meta, _) = self.disk.newest();
        (meta.at.index.0 > 0).then_some(meta)
    }

    fn answer(&mut self, reply: Reply, outcome: Outcome) {
        let applied = muster_state::Index(self.applied);
        self.say(Output::Answer(reply, outcome, applied));
    }

    fn look(&mut self, look: Look, state: Result<&State, Refused>) {
        let output = match state {
            Ok(state) => Output::Found(find(look, state)),
            Err(_) => Output::NotFound(look),
        };
        self.say(output);
    }

    fn publish(&mut self, effects: &[Effect]) {
        self.say(Output::Effects(effects.to_vec()));
    }

    fn role_changed(&mut self, view: RoleView) {
        self.say(Output::Role(view));
    }
}

fn find(look: Look, state: &State) -> Found {
    match look {
        Look::Client(ticket, key) => {
            let id = key.and_then(|key| state.job_id(&key));
            let job = id.and_then(|id| {
                let version = state.tables().jobs.version(&id)?;
                Some((id, version, Box::new(state.job(id)?.gang.clone())))
            });
            Found::Read(ticket, Read { index: state.applied(), digest: state.digest(), job })
        }
        Look::AllOrders(session, node) => {
            let orders = state.orders_for(node).into_iter().map(AgentOrder::Order).collect();
            let is_ready = state.node(node).is_some_and(|node| node.phase.is_ready());
            Found::AllOrders(session, orders, is_ready)
        }
        Look::Orders(session, node, replicas) => {
            let order = |id| match state.order(id) {
                Some((of, ordered)) if of == node => AgentOrder::Order(ordered),
                _ => AgentOrder::Clear(id),
            };
            Found::Orders(session, replicas.into_iter().map(order).collect())
        }
        Look::Plan => Found::View(state.has_waiting().then(|| state.view())),
        Look::Nodes => {
            let nodes = state.tables().nodes.iter();
            Found::Nodes(nodes.map(|(id, node)| (*id, node.phase.is_ready())).collect())
        }
        Look::Members => {
            let members = state.tables().members.iter();
            Found::Members(members.map(|(_, member)| member.address.clone()).collect())
        }
        Look::Beats => Found::Beats,
        Look::HeldUp(nodes) => {
            Found::HeldUp(nodes.into_iter().map(|node| (node, state.held_up(node))).collect())
        }
    }
}

/// An order as the agent's core takes it.
pub(crate) fn to_agent(
    order: AgentOrder,
) -> (ReplicaId, muster_model::Fence, muster_agent_core::Order) {
    use muster_agent_core::Order as Agent;
    use muster_model::{Attempt, Fence, Generation};
    match order {
        AgentOrder::Order(Ordered { id, fence, order }) => {
            let order = match order {
                Order::Prepare(spec) => Agent::Prepare(spec),
                Order::Run(context) => Agent::Run(context),
                Order::Stop { grace } => Agent::Stop(grace),
                Order::Clear => Agent::Clear,
            };
            (id, fence, order)
        }
        AgentOrder::Clear(id) => {
            let newest = Fence { attempt: Attempt(u32::MAX), generation: Generation(u32::MAX) };
            (id, newest, Agent::Clear)
        }
    }
}
