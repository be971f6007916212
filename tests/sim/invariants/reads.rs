//! Reads are linearizable: a read sees everything that anybody was told before it began, and nothing that is not
//! committed.

use muster_state::Index;

use crate::history::History;
use crate::violation::{Violation, demand};
use crate::wire::Read;

const PROMISE: &str = "a read sees what was told before";

pub(crate) fn is_fresh(history: &History, read: &Read, floor: Index) -> Result<(), Violation> {
    demand(read.index >= floor, PROMISE, || {
        format!(
            "a read was answered as of {}, and {floor} had been told before it began",
            read.index
        )
    })?;
    let committed = history.entries.get(&read.index.0).map(|(_, digest)| *digest);
    demand(committed == Some(read.digest), PROMISE, || {
        format!(
            "a read saw {} at {}, and {committed:?} is committed there",
            read.digest, read.index
        )
    })
}
