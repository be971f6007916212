//! The brain's thread: waits for inputs, ticks and timers, and lets the member work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_consensus::{Config, MemberId, Node, SnapshotOutcome, StepError};
use muster_coordinator_core::{MAX_ENTRY_BYTES, Member, Parts, RoleView};
use muster_service::Latch;
use muster_state::{Policy, State};
use muster_store::Snapshots;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::disk::{Disk, DiskError, Opened, Origin};
use super::handle::{AddressBook, Brain, Input, Look, PEER_QUEUE, PeerInbox, PeerInput, QUEUE};
use super::host::Machine;
use crate::access::Known;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::metrics::{Metrics, PhaseLabel};
use crate::peers::Outbox;

/// The length of a tick of consensus.
const TICK: Duration = Duration::from_millis(40);
/// Ticks without a leader before an election, and between heartbeats.
const TICKS: (u32, u32) = (10, 2);
/// Jobs are counted every so many ticks.
const COUNT: u64 = 25;
/// Inputs are taken this many at a time.
const TAKE: usize = 1024;
/// How long a member that stops waits for another to take its leadership over.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// Why the brain must end. What is in memory may not be what is on disk.
#[derive(Debug, Error)]
pub(crate) enum Fatal {
    /// The member.
    #[error(transparent)]
    Member(#[from] muster_coordinator_core::Fatal<DiskError>),
    /// The leader says that this member's disk has lost what it had acknowledged.
    #[error("{0}")]
    LogLost(StepError),
    /// The thread panicked.
    #[error("the brain's thread panicked; the coordinator must be started again")]
    Panicked,
}

type Core = Member<oneshot::Sender<muster_coordinator_core::Outcome>, Look>;

/// What the brain needs.
#[derive(Debug, Clone)]
pub(crate) struct BrainConfig {
    /// Where log, snapshots and records lie.
    pub(crate) data: PathBuf,
    /// What a directory without a member begins as.
    pub(crate) origin: Origin,
    /// Members that are known before the state tells of them.
    pub(crate) known: AddressBook,
}

/// Why the brain cannot start.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Consensus.
    #[error(transparent)]
    Node(#[from] muster_consensus::NodeError),
    /// The thread cannot be made.
    #[error("the brain's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A brain that has been opened.
pub(crate) struct OpenBrain {
    pub(crate) brain: Brain,
    pub(crate) peers: PeerInbox,
    /// The cluster's uid.
    pub(crate) cluster: String,
    /// This member.
    pub(crate) member: u64,
    /// The snapshots of this member.
    pub(crate) snapshots: Snapshots,
    /// Ends when the thread has; an error is fatal for the process.
    pub(crate) ended: oneshot::Receiver<Result<(), Fatal>>,
}

/// Recovers what is on disk and starts the thread. The latch is dropped once this member leads or follows.
pub(crate) fn open(
    config: &BrainConfig,
    (hub, metrics, outbox): (Arc<Hub>, Metrics, Outbox),
    (stop, latch): (CancellationToken, Latch),
) -> Result<OpenBrain, OpenError> {
    let Opened { disk, boot, state, cluster, member, applied } =
        Disk::open(&config.data, &config.origin)?;
    let mut consensus = Config::new(MemberId(member));
    consensus.seed = seed(&cluster);
    consensus.max_entry_bytes = MAX_ENTRY_BYTES;
    consensus.max_receive_bytes = muster_proto::MAX_MESSAGE_BYTES;
    (consensus.election_ticks, consensus.heartbeat_ticks) = TICKS;
    let node = Node::new(consensus, boot)?;
    info!(member, applied = %state.applied(), jobs = state.tables().jobs.len(), "state recovered");
    let snapshots = disk.snapshots();
    let (inputs, queue) = mpsc::channel(QUEUE);
    let (peer_inputs, peer_queue) = mpsc::channel(PEER_QUEUE);
    let (role, roles) = watch::channel(RoleView { member, ..RoleView::default() });
    let (book, books) = watch::channel(config.known.clone());
    let (known, knowns) = watch::channel(Known::of(&state));
    let machine = Machine { disk, hub, metrics, outbox, role, book, known, proposed: None };
    machine.show_members(&state);
    let core: Core = Member::new(Parts { node, state, applied, policy: Policy::default() });
    let pump = Pump { core, machine, latch: Some(latch) };
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(OpenError::Thread)?;
    let work = move || {
        let result = runtime.block_on(pump.run((queue, peer_queue), stop));
        let _ = done.send(result);
    };
    std::thread::Builder::new().name("brain".into()).spawn(work).map_err(OpenError::Thread)?;
    Ok(OpenBrain {
        brain: Brain { inputs, role: roles, book: books, known: knowns },
        peers: PeerInbox { inputs: peer_inputs },
        cluster,
        member,
        snapshots,
        ended,
    })
}

/// Elections of different clusters fall at different times.
fn seed(cluster: &str) -> u64 {
    cluster.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

struct Pump {
    core: Core,
    machine: Machine,
    latch: Option<Latch>,
}

impl Pump {
    async fn run(
        mut self,
        (mut queue, mut peers): (mpsc::Receiver<Input>, mpsc::Receiver<PeerInput>),
        stop: CancellationToken,
    ) -> Result<(), Fatal> {
        let mut inputs = Vec::with_capacity(TAKE);
        let mut from_peers = Vec::with_capacity(TAKE);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0u64;
        let mut leaves_by: Option<Instant> = None;
        loop {
            if let Err(fatal) = self.work() {
                self.core.stop(&mut self.machine);
                return Err(fatal);
            }
            if leaves_by.is_some_and(|by| by <= Instant::now() || !self.core.retire()) {
                break;
            }
            let due = self.core.next_due().map(|at| {
                let wait = at.since(Clock.now());
                Instant::now() + Duration::from_millis(wait.0)
            });
            tokio::select! {
                biased;
                () = stop.cancelled(), if leaves_by.is_none() => {
                    leaves_by = Some(Instant::now() + HAND_OVER_WITHIN);
                }
                // Messages of peers come first: heartbeats must not wait behind requests.
                taken = peers.recv_many(&mut from_peers, TAKE) => {
                    if taken == 0 {
                        break;
                    }
                    for input in from_peers.drain(..) {
                        self.take_from_peer(input)?;
                    }
                }
                taken = queue.recv_many(&mut inputs, TAKE) => {
                    if taken == 0 {
                        break;
                    }
                    for input in inputs.drain(..) {
                        self.take(input);
                    }
                }
                () = sleep_until(due), if due.is_some() => {}
                _ = tick.tick() => {
                    self.core.tick();
                    ticks += 1;
                    if ticks.is_multiple_of(COUNT) {
                        self.count_jobs();
                    }
                }
            }
        }
        queue.close();
        while let Ok(input) = queue.try_recv() {
            self.take(input);
        }
        self.core.stop(&mut self.machine);
        self.machine.disk.close();
        Ok(())
    }

    fn work(&mut self) -> Result<(), Fatal> {
        self.core.work(Clock.now(), &mut self.machine)?;
        // Tried again when the peer answers the next heartbeat.
        for member in self.machine.outbox.lost_snapshots() {
            self.core.snapshot_sent(MemberId(member), SnapshotOutcome::Failed);
        }
        let role = *self.machine.role.borrow();
        if role.leads || role.leader.is_some_and(|leader| leader != role.member) {
            self.latch.take();
        }
        Ok(())
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Command { request, body, reply } => self.core.command(request, *body, reply),
            Input::Read(look) => self.core.look(look),
            Input::Peek(look) => match self.core.committed_state() {
                Some(state) => look(Ok(state)),
                // Only a leader has an entry in flight, and its reads are fresh.
                None => self.core.look(look),
            },
            Input::Transfer(to, reply) => {
                let _ = reply.send(self.core.transfer(to).map_err(|error| error.to_string()));
            }
            Input::Status(reply) => {
                let _ = reply.send(self.core.status());
            }
        }
    }

    fn take_from_peer(&mut self, input: PeerInput) -> Result<(), Fatal> {
        match input {
            PeerInput::Messages(messages) => {
                for message in messages {
                    let mut taken = self.core.step(&message);
                    if matches!(taken, Err(StepError::Unsettled)) {
                        self.work()?;
                        taken = self.core.step(&message);
                    }
                    match taken {
                        Ok(()) => {}
                        Err(error @ StepError::LogLost { .. }) => {
                            warn!(%error, "this member must be replaced");
                            return Err(Fatal::LogLost(error));
                        }
                        Err(error) => debug!(%error, "a peer's message was not taken"),
                    }
                }
            }
            PeerInput::Unreachable(member) => self.core.unreachable(member),
            PeerInput::SnapshotSent(member, outcome) => self.core.snapshot_sent(member, outcome),
        }
        Ok(())
    }

    /// Counts jobs by phase.
    fn count_jobs(&self) {
        let Some(state) = self.core.committed_state() else { return };
        let mut counts: BTreeMap<&'static str, i64> = PHASES.map(|phase| (phase, 0)).into();
        count(state, &mut counts);
        for (phase, count) in counts {
            self.machine.metrics.jobs.get_or_create(&PhaseLabel { phase }).set(count);
        }
    }
}

const PHASES: [&str; 7] =
    ["Suspended", "Queued", "Starting", "Running", "Restarting", "Succeeded", "Failed"];

fn count(state: &State, counts: &mut BTreeMap<&'static str, i64>) {
    for (_, status) in state.tables().statuses.iter() {
        *counts.entry(status.phase.as_str()).or_default() += 1;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
