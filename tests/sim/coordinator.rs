//! One member's process: inputs that wait, the shipped core, and the desk that serves agents and planner.

use std::collections::VecDeque;

use bytes::Bytes;
use muster_consensus::{Boot, Config, MemberId, Membership, Node, SnapshotOutcome, StepError};
use muster_coordinator_core::{MAX_ENTRY_BYTES, Member, Parts};
use muster_model::{RequestId, Timestamp};
use muster_state::{Body, Changes, Index, Policy, State};

use crate::desk::Desk;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::machine::{Look, Machine, Output, Reply};
use crate::plan::Plan;
use crate::time::{SimTime, Span};
use crate::violation::Violation;
use crate::wire::Load;

/// The length of a tick of consensus, and the ticks before an election and between heartbeats, as the daemon has them.
pub(crate) const TICK: Span = Span::millis(40);
const TICKS: (u32, u32) = (10, 2);
/// No clock begins at zero.
const EPOCH: i64 = 1_000_000_000;

pub(crate) type Core = Member<Reply, Look>;

/// Something for the core to take.
#[derive(Debug)]
pub(crate) enum Input {
    Message(Bytes, Option<Load>),
    SnapshotSent(u64, SnapshotOutcome),
    Command(Option<RequestId>, Body, Reply),
    Look(Look),
    Transfer,
    Tick,
}

/// See the module.
pub(crate) struct Coordinator {
    pub(crate) id: u64,
    seed: u64,
    /// `None` while the process is down.
    pub(crate) core: Option<Core>,
    pub(crate) machine: Machine,
    pub(crate) desk: Desk,
    /// Counts its starts: what was under way in an earlier life means nothing.
    pub(crate) life: u64,
    pub(crate) inbox: VecDeque<Input>,
    /// A wake-up is on its way.
    pub(crate) wakes: bool,
    /// It waits for its disk, or stands still, until then.
    pub(crate) busy_until: SimTime,
    /// How far its clock is from the true time, in milliseconds.
    pub(crate) clock: i64,
    /// It has left the cluster and is never started again.
    pub(crate) retired: bool,
    /// The leader that it last knew of.
    pub(crate) leader: Option<u64>,
}

impl Coordinator {
    /// The first member of a new cluster, or one that joins; not started yet.
    pub(crate) fn new(id: u64, plan: &Plan) -> Self {
        let boot = match id {
            1 => Boot::first_start(Membership::of_voters([MemberId(1)])),
            _ => Boot::joining(),
        };
        let mut state = State::new();
        state.apply(Index(boot.applied.0), &Changes::default());
        let dice = Dice::new(plan.seed, &format!("disk of member {id}"));
        let machine = Machine {
            disk: Disk::new(boot, state, dice),
            now: SimTime::default(),
            waited: Span::default(),
            asked_for_room: 0,
            said: Vec::new(),
            arrived: std::collections::BTreeMap::new(),
            snapshot_every: plan.snapshot_every,
            snapshot_tail: plan.snapshot_tail,
            applied: 0,
            snapshot_at: 0,
        };
        Self {
            id,
            seed: plan.seed,
            core: None,
            machine,
            desk: Desk::new(plan.lease),
            life: 0,
            inbox: VecDeque::new(),
            wakes: false,
            busy_until: SimTime::default(),
            clock: 0,
            retired: false,
            leader: None,
        }
    }

    /// Starts the process from what is on disk.
    pub(crate) fn start(&mut self) -> Result<(), Violation> {
        let broken = |what: String| {
            Violation::safety(
                "a member starts from its own disk",
                format!("member {}: {what}", self.id),
            )
        };
        let found = self.machine.disk.boot();
        let (boot, state, applied) =
            found.ok_or_else(|| broken("its applied state is no point of its log".into()))?;
        let mut config = Config::new(MemberId(self.id));
        config.seed = self.seed;
        config.max_entry_bytes = MAX_ENTRY_BYTES;
        config.max_receive_bytes = 32 << 20;
        (config.election_ticks, config.heartbeat_ticks) = TICKS;
        self.machine.applied = applied.index.0;
        self.machine.snapshot_at = boot.snapshot.at.index.0;
        let node = Node::new(config, boot).map_err(|error| broken(error.to_string()))?;
        let policy = Policy::default();
        self.core = Some(Member::new(Parts { node, state, applied, policy }));
        self.life += 1;
        Ok(())
    }

    /// The process or its power goes.
    pub(crate) fn crash(&mut self, now: SimTime, heard: u64) {
        self.machine.disk.crash(now, heard);
        self.machine.arrived.clear();
        self.core = None;
        self.life += 1;
        self.inbox.clear();
        self.wakes = false;
        self.busy_until = SimTime::default();
        self.desk = Desk::new(self.desk.lease);
        self.leader = None;
    }

    /// What its clock shows.
    pub(crate) fn clock_at(&self, now: SimTime) -> Timestamp {
        let shown = EPOCH + now.as_millis() as i64 + self.clock;
        Timestamp(shown.max(0) as u64)
    }

    /// Takes what waits, `many` inputs before each round of work, and answers what it said and when.
    pub(crate) fn work(
        &mut self,
        now: SimTime,
        many: usize,
    ) -> Result<Vec<(Span, Output)>, Violation> {
        let clock = self.clock_at(now);
        let Self { id, core, machine, inbox, .. } = self;
        let Some(core) = core else { return Ok(Vec::new()) };
        machine.disk.settle(now);
        machine.now = now;
        machine.waited = Span::default();
        machine.asked_for_room = 0;
        loop {
            for input in inbox.drain(..many.min(inbox.len())) {
                take((*id, clock), core, machine, input)?;
            }
            round((*id, clock), core, machine)?;
            if inbox.is_empty() {
                break;
            }
        }
        Ok(std::mem::take(&mut machine.said))
    }
}

fn round(
    (id, clock): (u64, Timestamp),
    core: &mut Core,
    machine: &mut Machine,
) -> Result<(), Violation> {
    core.work(clock, machine)
        .map_err(|fatal| Violation::safety("a member goes on", format!("member {id}: {fatal}")))
}

fn take(
    (id, clock): (u64, Timestamp),
    core: &mut Core,
    machine: &mut Machine,
    input: Input,
) -> Result<(), Violation> {
    match input {
        Input::Message(bytes, load) => {
            if let Some((meta, state)) = load {
                machine.arrived.insert(meta.at, (meta, state));
            }
            let mut taken = core.step(&bytes);
            if matches!(taken, Err(StepError::Unsettled)) {
                round((id, clock), core, machine)?;
                taken = core.step(&bytes);
            }
            match taken {
                Ok(()) | Err(StepError::Unsettled | StepError::Stranger(_)) => {}
                // The raft crate (0.7) adds entries to an empty append that still waits to be sent, also when they do
                // not follow the position which that names. The receiver's guard drops it, as if it were lost.
                Err(StepError::Malformed("entries that are not one run")) => {}
                Err(error) => {
                    let what = format!("member {id} refused a peer's message: {error}");
                    return Err(Violation::safety("members understand each other", what));
                }
            }
        }
        Input::SnapshotSent(member, outcome) => core.snapshot_sent(MemberId(member), outcome),
        Input::Command(request, body, reply) => core.command(request, body, reply),
        Input::Look(look) => core.look(look),
        // Refused unless it leads, and then nothing happens.
        Input::Transfer => drop(core.transfer(None)),
        Input::Tick => core.tick(),
    }
    Ok(())
}
