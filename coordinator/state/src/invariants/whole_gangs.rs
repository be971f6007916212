//! All or nothing: a placed gang has all its ranks, each once, under one fence; a gang that is not placed has no
//! replica that could run. So a job never has two live attempts.

use muster_model::{GangPhase, Rank};

use super::{Violation, violated};
use crate::state::State;

const NAME: &str = "gangs are whole";

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, gang) in state.tables().gangs.iter() {
        let Some(job) = state.job(*id) else { continue };
        if gang.phase.is_placed() {
            let ranks = state.replicas_of(*id).map(|(replica, _)| replica.rank);
            if !ranks.eq((0..job.gang.size()).map(Rank)) {
                return violated(NAME, format!("job {id} in {:?} lacks ranks", gang.phase));
            }
            if let Some((replica, record)) =
                state.replicas_of(*id).find(|(_, record)| record.fence != gang.fence())
            {
                let (has, want) = (record.fence, gang.fence());
                return violated(NAME, format!("replica {replica} has fence {has}, not {want}"));
            }
        }
        let live = state.replicas_of(*id).find(|(_, record)| !record.phase.is_exited());
        match (gang.phase, live) {
            (
                GangPhase::Waiting | GangPhase::Released | GangPhase::Backoff { .. },
                Some((r, _)),
            ) => {
                return violated(
                    NAME,
                    format!("replica {r} lives while its gang is {:?}", gang.phase),
                );
            }
            (GangPhase::Waiting, None) if state.replicas_of(*id).next().is_some() => {
                return violated(NAME, format!("job {id} waits and still has replicas"));
            }
            _ => {}
        }
    }
    Ok(())
}
