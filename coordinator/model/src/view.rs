//! What a scheduler looks at: a snapshot of free capacity and of the gangs that wait.

use std::collections::BTreeMap;

use crate::gang::RoleName;
use crate::ids::{Attempt, JobId, NodeId};
use crate::names::NodeName;
use crate::node_rules::{NodeFacts, NodeRules, Obstacle};
use crate::resources::Resources;
use crate::taint::Taint;
use crate::time::Timestamp;

/// A snapshot of what can be planned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Every known node, in the order of their ids.
    pub nodes: Vec<NodeView>,
    /// Every gang that waits for a placement, in the order of their jobs' ids.
    pub waiting: Vec<GangView>,
}

/// A node as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it has when it is empty.
    pub capacity: Resources,
    /// What is not reserved.
    pub free: Resources,
    /// How many replicas are reserved on it.
    pub replicas: u32,
    /// Whether its agent can be reached.
    pub usable: bool,
    /// Whether an operator keeps new gangs away.
    pub cordoned: bool,
    /// Its taints.
    pub taints: Vec<Taint>,
}

/// A gang that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GangView {
    /// Its job.
    pub job: JobId,
    /// The attempt that the placement would follow; a placement is refused when it has changed.
    pub attempt: Attempt,
    /// Since when it waits.
    pub since: Timestamp,
    /// Its roles in the order of ranks.
    pub roles: Vec<RoleView>,
}

/// The replicas of one role of a waiting gang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleView {
    /// The role's name.
    pub name: RoleName,
    /// How many there are.
    pub replicas: u32,
    /// What each asks for.
    pub request: Resources,
    /// What each asks of its node beside that.
    pub rules: NodeRules,
}

/// A place for every rank of a gang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The job.
    pub job: JobId,
    /// As in [`GangView::attempt`].
    pub attempt: Attempt,
    /// The node of each rank, in the order of ranks.
    pub nodes: Vec<NodeId>,
}

impl NodeView {
    /// What keeps everybody off the node now.
    #[must_use]
    pub fn closed(&self) -> Option<Obstacle> {
        match (self.usable, self.cordoned) {
            (false, _) => Some(Obstacle::Unreachable),
            (true, true) => Some(Obstacle::Cordoned),
            (true, false) => None,
        }
    }

    /// What rules of nodes look at.
    #[must_use]
    pub fn facts(&self) -> NodeFacts<'_> {
        NodeFacts { name: &self.name, labels: &self.labels, taints: &self.taints }
    }
}
