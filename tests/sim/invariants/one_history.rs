//! Committed entries are never lost or changed, no member skips one or applies one twice, and members at an equal index
//! have equal states (State Machine Safety and Leader Completeness, Raft paper section 5.4.3).

use muster_state::Digest;

use crate::history::{Applied, History};
use crate::violation::{Violation, demand};

const PROMISE: &str = "all members have one history";

/// Before an entry is taken into the history.
pub(crate) fn continues(history: &mut History, applied: &Applied<'_>) -> Result<(), Violation> {
    let (member, index) = (applied.member, applied.at.index.0);
    if let Some(last) = history.reached.insert(member, index) {
        demand(index == last + 1, PROMISE, || {
            format!("member {member} applies {index} after {last}")
        })?;
    }
    let known = history.state.applied().0;
    demand(index <= known + 1, PROMISE, || {
        format!("member {member} applies {index}, and nobody has applied {}", known + 1)
    })
}

/// After it was taken.
pub(crate) fn agrees(history: &History, applied: &Applied<'_>) -> Result<(), Violation> {
    let own = (applied.at.term.0, applied.digest);
    let first = history.entries.get(&applied.at.index.0);
    demand(first == Some(&own), PROMISE, || {
        let (member, at) = (applied.member, applied.at);
        format!("member {member} has {own:?} at {at}, the first one there had {first:?}")
    })
}

/// A snapshot was installed.
pub(crate) fn installed(
    history: &mut History,
    (member, index): (u64, u64),
    digest: Digest,
) -> Result<(), Violation> {
    history.reached.insert(member, index);
    history.installs += 1;
    let first = history.entries.get(&index).map(|(_, digest)| *digest);
    demand(first == Some(digest), PROMISE, || {
        format!("member {member} has {digest} in a snapshot at {index}, the history {first:?}")
    })
}
