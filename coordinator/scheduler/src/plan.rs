//! One round of planning over everything that waits.

use std::collections::BTreeMap;

use muster_model::{GangView, JobId, Placement, Timestamp, View, Wait};

use crate::explain::{Present, explain};
use crate::fit::{Fit, fit};
use crate::policy::Policy;
use crate::room::free_rooms;

/// What a round of planning found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// A place for every rank of these gangs. They fit together.
    pub placements: Vec<Placement>,
    /// Why the others wait.
    pub waits: BTreeMap<JobId, Wait>,
}

/// Places as many waiting gangs as fit, the longest waiting first. Younger gangs may pass one that does not
/// fit until that one has waited for [`Policy::patience`].
#[must_use]
pub fn plan(view: &View, policy: &Policy, now: Timestamp) -> Plan {
    let mut rooms = free_rooms(view);
    let mut plan = Plan::default();
    let mut gangs: Vec<&GangView> = view.waiting.iter().collect();
    gangs.sort_by_key(|gang| (gang.since, gang.job));
    let mut held_for: Option<JobId> = None;
    for gang in gangs {
        if let Some(job) = held_for {
            plan.waits.insert(gang.job, Wait::BehindOlder { job });
            continue;
        }
        match fit(gang, &mut rooms) {
            Fit::Whole(nodes) => {
                plan.placements.push(Placement { job: gang.job, attempt: gang.attempt, nodes });
            }
            Fit::Partial { placed, role, left } => {
                let wait = explain(view, gang, &Present { placed, role, left });
                let impatient = now.since(gang.since) >= policy.patience;
                if impatient && matches!(wait, Wait::NotEnoughFree { .. }) {
                    held_for = Some(gang.job);
                }
                plan.waits.insert(gang.job, wait);
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests;
