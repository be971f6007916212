//! The ledger is the sum of what the replicas hold.

use std::collections::BTreeMap;

use muster_model::{NodeId, Resources};

use super::{Violation, violated};
use crate::state::State;

pub(super) fn check(state: &State) -> Result<(), Violation> {
    let mut sums: BTreeMap<NodeId, Resources> = BTreeMap::new();
    for (id, replica) in state.tables().replicas.iter().filter(|(_, replica)| replica.holds) {
        if let Some(job) = state.job(id.job) {
            let request = job.gang.role(replica.role).pod.request();
            sums.entry(replica.node).or_default().add(&request);
        }
    }
    sums.retain(|_, sum| !sum.is_empty());
    if sums == state.indexes().reserved {
        return Ok(());
    }
    violated(
        "the ledger is the sum of the allocations",
        format!("ledger {:?}, sum {sums:?}", state.indexes().reserved),
    )
}
