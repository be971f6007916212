//! Why a gang waits: the scheduler's explanation, typed, so that clients can branch on it and
//! people can read it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::names::NodeName;
use crate::node_rules::{Excluded, list};
use crate::resources::{ResourceName, Resources};

/// Why a gang has no placement yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// No node has registered, or none of them can be reached or used.
    NoUsableNode {
        /// How many nodes are known.
        known: usize,
        /// What keeps gangs off them.
        excluded: Vec<Excluded>,
    },
    /// No node can take a role, however much is free.
    NoMatchingNode {
        /// The role.
        role: String,
        /// What keeps it off the nodes there are.
        excluded: Vec<Excluded>,
    },
    /// One replica asks for more than the largest node has, even when it is empty.
    NeverFits {
        /// The role of the replica.
        role: String,
        /// What is short.
        shortage: Shortage,
    },
    /// The gang would fit into the empty cluster, but not into what is free now.
    NotEnoughFree {
        /// How many replicas the gang has.
        replicas: u32,
        /// How many of them would fit now.
        would_fit: u32,
        /// The role of the first replica that does not.
        role: String,
        /// What that replica is short of.
        shortage: Shortage,
        /// The nodes that are not used for it, and why.
        excluded: Vec<Excluded>,
    },
    /// The gang would fit into the empty cluster, but not into those of its nodes that can be used now.
    NodesUnavailable {
        /// How many replicas the gang has.
        replicas: u32,
        /// How many of them would fit if nothing else ran there.
        would_fit: u32,
        /// The nodes that are not used, and why.
        excluded: Vec<Excluded>,
    },
    /// The gang would not even fit into the empty cluster.
    ClusterTooSmall {
        /// How many replicas the gang has.
        replicas: u32,
        /// How many of them would fit into the empty cluster.
        would_fit: u32,
        /// What the first replica that does not fit asks for.
        request: Resources,
    },
    /// Held back for an older gang that has waited for too long.
    BehindOlder {
        /// The older gang's job.
        job: JobId,
    },
    /// Nothing was tried yet.
    NotTriedYet,
}

/// What one replica is short of, on the node that comes closest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The scarce resource.
    pub resource: ResourceName,
    /// How much one replica needs on one node, in base units.
    pub needs: u64,
    /// The largest amount that one node has to offer, in base units.
    pub largest: u64,
    /// The node that offers it, if any does.
    pub node: Option<NodeName>,
    /// Everything that the replica asks for.
    pub request: Resources,
}

impl Wait {
    /// The machine-readable name of the reason.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoUsableNode { .. } => "NoUsableNode",
            Self::NoMatchingNode { .. } => "NoMatchingNode",
            Self::NeverFits { .. } => "NeverFits",
            Self::NotEnoughFree { .. } => "NotEnoughFree",
            Self::NodesUnavailable { .. } => "NodesUnavailable",
            Self::ClusterTooSmall { .. } => "ClusterTooSmall",
            Self::BehindOlder { .. } => "BehindOlder",
            Self::NotTriedYet => "NotTriedYet",
        }
    }
}

impl Shortage {
    fn amount(&self, amount: u64) -> String {
        match self.resource.0.as_str() {
            "cpu" | "memory" => format!("{} {}", self.resource.show(amount), self.resource),
            _ => format!("{}x {}", self.resource.show(amount), self.resource),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUsableNode { known: 0, .. } => {
                f.write_str("no node has registered; start an agent with `muster agent`")
            }
            Self::NoUsableNode { known, excluded } => write!(
                f,
                "none of the {known} known nodes can be used now: {}; see `muster nodes`",
                list(excluded)
            ),
            Self::NoMatchingNode { role, excluded } => {
                write!(f, "no node can take role {role}: {}", list(excluded))
            }
            Self::NeverFits { role, shortage } => write!(
                f,
                "needs {} on one node for each {role} replica; the largest node has {}{}: ask for less or add a larger node",
                shortage.amount(shortage.needs),
                shortage.resource.show(shortage.largest),
                on_node(shortage.node.as_ref()),
            ),
            Self::NotEnoughFree { replicas, would_fit, role, shortage, excluded } => {
                let needs = shortage.amount(shortage.needs);
                let block = shortage.resource.show(shortage.largest);
                let node = on_node(shortage.node.as_ref());
                write!(f, "needs {needs} on one node for role {role}; ")?;
                if *would_fit > 0 {
                    write!(f, "{would_fit} of {replicas} replicas fit now, then the ")?;
                }
                write!(f, "largest free block is {block}{node}")?;
                not_used(f, excluded)
            }
            Self::NodesUnavailable { replicas, would_fit, excluded } => {
                write!(
                    f,
                    "only {would_fit} of {replicas} replicas would fit into the nodes that can be used now"
                )?;
                not_used(f, excluded)
            }
            Self::ClusterTooSmall { replicas, would_fit, request } => write!(
                f,
                "only {would_fit} of {replicas} replicas would fit into the empty cluster; a further one asks for {request}: use fewer replicas or add nodes"
            ),
            Self::BehindOlder { job } => write!(
                f,
                "held back so that job {job}, which has waited for long, is not overtaken for ever"
            ),
            Self::NotTriedYet => f.write_str("the scheduler has not looked at it yet"),
        }
    }
}

fn not_used(f: &mut fmt::Formatter<'_>, excluded: &[Excluded]) -> fmt::Result {
    if excluded.is_empty() { Ok(()) } else { write!(f, "; not used: {}", list(excluded)) }
}

fn on_node(node: Option<&NodeName>) -> String {
    node.map(|name| format!(" (node {name})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_rules::Obstacle;

    #[test]
    fn the_explanation_names_need_offer_and_node() {
        let wait = Wait::NotEnoughFree {
            replicas: 3,
            would_fit: 1,
            role: "Worker".into(),
            shortage: Shortage {
                resource: ResourceName::nvidia_gpu(),
                needs: 4,
                largest: 2,
                node: NodeName::new("a").ok(),
                request: Resources::new().with("nvidia.com/gpu", 4),
            },
            excluded: vec![Excluded { nodes: 2, why: Obstacle::Cordoned }],
        };
        assert_eq!(
            wait.to_string(),
            "needs 4x nvidia.com/gpu on one node for role Worker; 1 of 3 replicas fit now, then the \
             largest free block is 2 (node a); not used: 2 nodes cordoned"
        );
    }
}
