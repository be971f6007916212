//! The brain's thread: waits for inputs, ticks and timers, and lets the driver work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_consensus::{Config, MemberId, Node};
use muster_service::Latch;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::batch::MAX_ENTRY_BYTES;
use super::disk::{Disk, DiskError, Opened};
use super::driver::{Driver, Fatal, Parts};
use super::handle::{Brain, Input, QUEUE, RoleView, SharedHub};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// The length of a tick of consensus.
const TICK: Duration = Duration::from_millis(100);
/// Inputs are taken this many at a time.
const TAKE: usize = 1024;

/// What the brain needs.
#[derive(Debug, Clone)]
pub(crate) struct BrainConfig {
    /// Where log, snapshots and records lie.
    pub(crate) data: PathBuf,
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
    /// The cluster's uid.
    pub(crate) cluster: String,
    /// Ends when the thread has; an error is fatal for the process.
    pub(crate) ended: oneshot::Receiver<Result<(), Fatal>>,
}

/// Recovers what is on disk and starts the thread. The latch is dropped once this member leads.
pub(crate) fn open(
    config: &BrainConfig,
    (hub, metrics): (Arc<crate::hub::Hub>, Metrics),
    (stop, latch): (CancellationToken, Latch),
) -> Result<OpenBrain, OpenError> {
    let hub: SharedHub = hub;
    let Opened { disk, boot, state, cluster } = Disk::open(&config.data)?;
    let mut consensus = Config::new(MemberId(1));
    consensus.seed = seed(&cluster);
    consensus.max_entry_bytes = MAX_ENTRY_BYTES;
    consensus.max_receive_bytes = muster_proto::MAX_MESSAGE_BYTES;
    let node = Node::new(consensus, boot)?;
    info!(applied = %state.applied(), jobs = state.tables().jobs.len(), "state recovered");
    let (inputs, queue) = mpsc::channel(QUEUE);
    let (role, roles) = watch::channel(RoleView::default());
    let driver = Driver::new(Parts { node, disk, state, hub, metrics, role });
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(OpenError::Thread)?;
    let work = move || {
        let result = runtime.block_on(run(driver, queue, (stop, latch)));
        let _ = done.send(result);
    };
    std::thread::Builder::new().name("brain".into()).spawn(work).map_err(OpenError::Thread)?;
    Ok(OpenBrain { brain: Brain { inputs, role: roles }, cluster, ended })
}

/// Elections of different clusters fall at different times.
fn seed(cluster: &str) -> u64 {
    cluster.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

async fn run(
    mut driver: Driver,
    mut queue: mpsc::Receiver<Input>,
    (stop, latch): (CancellationToken, Latch),
) -> Result<(), Fatal> {
    let mut latch = Some(latch);
    let mut inputs = Vec::with_capacity(TAKE);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0u64;
    loop {
        if let Err(fatal) = driver.work() {
            driver.stop();
            return Err(fatal);
        }
        if driver.is_leading() {
            latch.take();
        }
        let due = driver.next_due().map(|at| {
            let wait = at.since(Clock.now());
            Instant::now() + Duration::from_millis(wait.0)
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            taken = queue.recv_many(&mut inputs, TAKE) => {
                if taken == 0 {
                    break;
                }
                for input in inputs.drain(..) {
                    driver.take(input);
                }
            }
            () = sleep_until(due), if due.is_some() => {}
            _ = tick.tick() => {
                driver.node.tick();
                ticks += 1;
                if ticks.is_multiple_of(10) {
                    driver.count_jobs();
                }
            }
        }
    }
    queue.close();
    while let Ok(input) = queue.try_recv() {
        driver.take(input);
    }
    driver.stop();
    Ok(())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
