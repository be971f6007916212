//! An operator drains a node: one gang that has ranks there leaves it, and with it all its other nodes.
//!
//! The node must be cordoned, or the gang might come straight back. A gang without a live rank there is left alone, so that
//! a repeated order does not hit the gang in its next place.

use muster_model::{GangPhase, Reason, RestartPolicy};

use super::named_node;
use crate::command::{Accepted, EvictGang};
use crate::draft::Draft;
use crate::lifecycle;

pub(super) fn decide(draft: &mut Draft<'_>, evict: &EvictGang) -> Result<Accepted, Reason> {
    let (id, node) = named_node(draft, &evict.node)?;
    if node.cordoned.is_none() {
        return Err(Reason::NodeNotCordoned { node: node.name });
    }
    let mut on_node = draft.base.replicas_on(id).filter(|replica| replica.job == evict.job);
    let lives = on_node.any(|id| draft.replica(id).is_some_and(|r| !r.phase.is_exited()));
    if !lives {
        return Ok(Accepted::Done);
    }
    let job = draft.the_job(evict.job);
    let never = job.gang.roles.iter().any(|role| role.restart == RestartPolicy::Never);
    let would_restart = !matches!(
        draft.the_gang(evict.job).phase,
        GangPhase::Draining { .. } | GangPhase::Stopping { .. }
    );
    if never && would_restart && !evict.force {
        return Err(Reason::NotToRestart { job: job.key.clone() });
    }
    let why = format!("node {} is drained", node.name);
    lifecycle::evict(draft, evict.job, (why, evict.grace));
    Ok(Accepted::Done)
}
