//! A job's phase and its gang's phase tell one story, and an open generation has its addresses.

use muster_model::{AfterStop, GangPhase, JobPhase};

use super::{Violation, violated};
use crate::state::State;

const NAME: &str = "job and gang phases fit together";

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, status) in state.tables().statuses.iter() {
        let (Some(gang), Some(job)) = (state.gang(*id), state.job(*id)) else {
            continue;
        };
        let deleting = job.deleting.is_some();
        let stopping = matches!(gang.phase, GangPhase::Stopping { .. });
        let fits = match status.phase {
            JobPhase::Suspended | JobPhase::Succeeded | JobPhase::Failed => true,
            JobPhase::Queued => matches!(
                gang.phase,
                GangPhase::Waiting
                    | GangPhase::Stopping { next: AfterStop::Requeue | AfterStop::Release }
            ),
            JobPhase::Starting => {
                matches!(gang.phase, GangPhase::Preparing | GangPhase::Running) || stopping
            }
            JobPhase::Running => gang.phase == GangPhase::Running || stopping,
            JobPhase::Restarting => {
                stopping
                    || matches!(
                        gang.phase,
                        GangPhase::Backoff { .. } | GangPhase::Preparing | GangPhase::Running
                    )
            }
        };
        if !fits {
            return violated(NAME, format!("job {id}: {:?} with {:?}", status.phase, gang.phase));
        }
        let released = GangPhase::Stopping { next: AfterStop::Release };
        if deleting && gang.phase != released {
            return violated(NAME, format!("job {id} is being deleted in {:?}", gang.phase));
        }
        let open = matches!(gang.phase, GangPhase::Running | GangPhase::Draining { .. });
        if open && (gang.rendezvous.is_none() || gang.opened.is_none()) {
            return violated(NAME, format!("job {id} is {:?} without addresses", gang.phase));
        }
    }
    Ok(())
}
