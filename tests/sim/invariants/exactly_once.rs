//! Every acknowledged request is there, exactly once, however often it was sent.

use muster_state::{Accepted, Change, Changes};

use crate::client::{Op, What, request_id};
use crate::history::History;
use crate::violation::{Violation, demand};

const PROMISE: &str = "a request has its effect once";

/// Counts which requests have made or changed jobs. Call after the entry was taken into the history.
pub(crate) fn counts(history: &mut History, changes: &Changes) -> Result<(), Violation> {
    for change in changes.iter() {
        let Change::Job(id, job) = change else { continue };
        let Some(job) = job else {
            history.manifests.remove(id);
            continue;
        };
        if history.manifests.insert(*id, job.manifest.clone()).as_ref() == Some(&job.manifest) {
            continue;
        }
        let count = history.effects_of.entry(job.manifest.clone()).or_default();
        *count += 1;
        let count = *count;
        demand(count == 1, PROMISE, || {
            format!("request {} was done {count} times, the last time to job {id}", job.manifest)
        })?;
    }
    Ok(())
}

/// A client was told that its request is done.
pub(crate) fn is_done(
    history: &History,
    (client, op): (usize, &Op),
    accepted: &Accepted,
) -> Result<(), Violation> {
    let name = format!("{client}/{}", op.number);
    let done = history.effects_of.get(&name).copied().unwrap_or_default();
    let holds = match (&op.what, accepted) {
        (What::Create(..) | What::Suspend(..), Accepted::Applied(_)) => done == 1,
        (What::Delete(_), Accepted::Deleted(id)) => {
            history.state.job(*id).is_none_or(|job| job.deleting.is_some())
        }
        (What::AddMember(_) | What::RemoveMember(_), Accepted::Member(_)) => true,
        (What::RemoveNode(name), Accepted::Done) => history.state.node_id(name).is_none(),
        _ => false,
    };
    demand(holds, PROMISE, || {
        let id = request_id(client, op.number);
        format!(
            "request {name} ({id}, {:?}) was answered with {accepted:?} and was done {done} times",
            op.what
        )
    })
}
