//! Nothing is sold twice: what really runs on a machine, or is prepared there, fits into it.

use crate::agent::Agent;
use crate::violation::{Violation, demand};

pub(crate) fn suffices(agent: &Agent) -> Result<(), Violation> {
    let in_use = agent.processes.in_use();
    demand(agent.capacity.covers(&in_use), "no resource is sold twice", || {
        let live = agent.processes.shims.iter().filter(|(_, shim)| !shim.has_ended());
        let live: Vec<String> = live
            .map(|((id, fence), shim)| {
                format!("{id} {fence} {:?} {}", shim.stage, shim.spec.role.pod.request())
            })
            .collect();
        format!("{} has {} and {in_use} are in use by {live:?}", agent.name, agent.capacity)
    })
}
