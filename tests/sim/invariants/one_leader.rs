//! One leader a term (Election Safety, Raft paper section 5.2).

use muster_coordinator_core::RoleView;

use crate::history::History;
use crate::violation::{Violation, demand};

pub(crate) fn holds(history: &mut History, role: RoleView) -> Result<(), Violation> {
    if !role.leads {
        return Ok(());
    }
    let first = history.leads(role);
    demand(first == role.member, "a term has one leader", || {
        format!("members {first} and {} both lead term {}", role.member, role.term)
    })
}
