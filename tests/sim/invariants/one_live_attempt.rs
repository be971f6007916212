//! A job has at most one live attempt, as its real processes show it: no two programs of one job run under different
//! fences, no rank runs twice, and none starts under a fence that is not the present one.

use muster_model::ReplicaId;

use crate::agent::Agent;
use crate::history::History;
use crate::violation::{Violation, demand};
use crate::wire::Key;

const PROMISE: &str = "a job has one live attempt";

/// A program is about to start.
pub(crate) fn holds(
    history: &History,
    agents: &[Agent],
    (agent, key): (usize, Key),
) -> Result<(), Violation> {
    let (id, fence) = key;
    let present = history.state.gang(id.job).map(muster_state::Gang::fence);
    demand(present == Some(fence), PROMISE, || {
        format!("{id} starts on agent {agent} under {fence}, and the gang is at {present:?}")
    })?;
    let placed = history.state.replica(id).and_then(|replica| history.state.node(replica.node));
    let name = placed.map(|node| node.name.clone());
    demand(name.as_ref() == Some(&agents[agent].name), PROMISE, || {
        format!("{id} starts on agent {agent}, and its place is {name:?}")
    })?;
    for other in agents {
        let of_job = other.processes.shims.iter().filter(|((other, _), _)| other.job == id.job);
        for ((rank, under), _) in of_job.filter(|(_, shim)| shim.runs()) {
            let is_itself = (other.index, *rank, *under) == (agent, id, fence);
            let is_other_rank: fn(ReplicaId, ReplicaId) -> bool = |a, b| a.rank != b.rank;
            demand(is_itself || (*under == fence && is_other_rank(*rank, id)), PROMISE, || {
                format!(
                    "{id} starts on agent {agent} under {fence} while {rank} runs on agent {} under {under}",
                    other.index
                )
            })?;
        }
    }
    Ok(())
}
