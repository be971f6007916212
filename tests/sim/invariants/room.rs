//! Nothing is sold twice: what really runs on a machine, or is prepared there, fits into it.

use crate::agent::Agent;
use crate::violation::{Violation, demand};

pub(crate) fn suffices(agent: &Agent) -> Result<(), Violation> {
    let in_use = agent.processes.in_use();
    demand(agent.capacity.covers(&in_use), "no resource is sold twice", || {
        format!("{} has {} and {in_use} are in use", agent.name, agent.capacity)
    })
}
