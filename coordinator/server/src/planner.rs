//! The planner's pump: runs the pure scheduler on a snapshot whenever something may have become
//! possible, and proposes what it finds. decide() checks each placement again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muster_model::{JobId, Placement, Wait};
use muster_scheduler::{Plan, Policy, plan};
use muster_state::{BindGang, Body};
use tracing::{debug, warn};

use crate::brain::{Brain, BrainError};
use crate::clock::Clock;
use crate::hub::Hub;

mod pace;
use pace::Pace;

/// Why each waiting job waits, as of the last round of planning. Known to the leader only; a new
/// leader finds out anew.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_job: Mutex<BTreeMap<JobId, Wait>>,
}

impl Waits {
    /// Why a job waits.
    pub(crate) fn get(&self, job: JobId) -> Option<Wait> {
        self.by_job.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Takes the reasons of a round and answers which jobs' reasons are new or gone.
    fn replace(&self, new: BTreeMap<JobId, Wait>) -> Vec<JobId> {
        let mut by_job = self.by_job.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = new
            .iter()
            .filter(|(job, wait)| by_job.get(job) != Some(wait))
            .map(|(job, _)| *job)
            .chain(by_job.keys().filter(|job| !new.contains_key(job)).copied())
            .collect();
        *by_job = new;
        changed
    }
}

/// How long after something that passes, such as a full disk, planning is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Plans whenever the hub asks for it, until the brain stops.
pub(crate) async fn run(
    brain: Brain,
    hub: Arc<Hub>,
    waits: Arc<Waits>,
    clock: Clock,
) -> Result<Infallible, BrainError> {
    let policy = Policy::default();
    let mut pace = Pace::new(Instant::now());
    loop {
        hub.plan_needed().await;
        while let Err(wait) = pace.plan_now(Instant::now(), hub.submissions()) {
            tokio::time::sleep(wait).await;
        }
        match one_round(&brain, &hub, (&policy, clock)).await {
            Ok(round) => {
                for job in waits.replace(round.waits) {
                    hub.job_detail_changed(job);
                }
                if !propose(&brain, round.placements).await {
                    tokio::time::sleep(AGAIN).await;
                    hub.ask_for_plan();
                }
            }
            Err(BrainError::Stopping) => return Err(BrainError::Stopping),
            // Without a leader there is nothing to plan; the next one asks again. Anything else passes.
            Err(error @ BrainError::NotLeader { .. }) => debug!(%error, "planning waits"),
            Err(error) => {
                debug!(%error, "planning waits");
                tokio::time::sleep(AGAIN).await;
                hub.ask_for_plan();
            }
        }
    }
}

async fn one_round(
    brain: &Brain,
    hub: &Hub,
    (policy, clock): (&Policy, Clock),
) -> Result<Plan, BrainError> {
    let view = brain.read(|state| state.has_waiting().then(|| state.view())).await?;
    let Some(mut view) = view else { return Ok(Plan::default()) };
    // A node counts as reachable for a whole lease after its agent was last heard of. It gets nothing new meanwhile: an
    // agent that is gone would hold up the whole gang.
    let connected = hub.connected();
    for node in &mut view.nodes {
        node.usable &= connected.contains(&node.id);
    }
    Ok(plan(&view, policy, clock.now()))
}

/// Proposes placements, so that many become one entry. One that is refused was overtaken by something that
/// asked for planning again; one that failed otherwise, as on a full disk, must be asked for: the answer is then no.
async fn propose(brain: &Brain, placements: Vec<Placement>) -> bool {
    let mut is_done = true;
    let jobs: Vec<JobId> = placements.iter().map(|placement| placement.job).collect();
    let bodies = placements.into_iter().map(|placement| Body::BindGang(BindGang { placement }));
    for (job, outcome) in jobs.into_iter().zip(brain.submit_all(bodies).await) {
        match outcome {
            Ok(_) => {}
            Err(BrainError::Rejected(reason)) => debug!(muster.job.id = %job, %reason, "overtaken"),
            Err(error) => {
                warn!(muster.job.id = %job, %error, "a placement was not committed");
                is_done &= matches!(error, BrainError::Stopping | BrainError::NotLeader { .. });
            }
        }
    }
    is_done
}
