//! All or none: a program starts only when every rank of its gang was prepared under the same fence, each rank once.

use std::collections::BTreeSet;

use muster_model::{Rank, ReplicaId};

use crate::violation::{Violation, demand};
use crate::wire::Key;

/// `prepared`: everything that was ever ready. `size`: how many ranks the gang has.
pub(crate) fn holds(
    prepared: &BTreeSet<Key>,
    (id, fence): Key,
    size: u32,
) -> Result<(), Violation> {
    let is_ready = |rank| prepared.contains(&(ReplicaId { job: id.job, rank: Rank(rank) }, fence));
    let missing: Vec<u32> = (0..size).filter(|rank| !is_ready(*rank)).collect();
    demand(missing.is_empty() && id.rank.0 < size, "gangs start whole", || {
        format!("{id} of {size} starts under {fence} before ranks {missing:?} were ready")
    })
}
