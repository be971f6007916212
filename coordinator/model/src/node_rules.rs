//! What a pod template asks of its node beside resources, and what keeps a node from being used: `nodeSelector`,
//! the required part of `nodeAffinity`, and tolerations, as `core/v1` defines them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::NodeName;
use crate::taint::{Taint, TaintEffect, Toleration};
use crate::time::Millis;

/// One requirement on a node's labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRule {
    /// The label.
    pub key: String,
    /// What it must be.
    pub rule: Rule,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// One of these.
    In(Vec<String>),
    /// There, and one of these, is forbidden.
    NotIn(Vec<String>),
    /// There.
    Exists,
    /// Not there.
    DoesNotExist,
    /// A whole number above this one.
    Gt(i64),
    /// A whole number below this one.
    Lt(i64),
}

/// A requirement on a node's name (`matchFields` with `metadata.name`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameRule {
    /// This node.
    Is(String),
    /// Any but this one.
    IsNot(String),
}

/// A term of a node affinity: everything in it must hold. A term without requirements holds for no node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeTerm {
    /// `matchExpressions`.
    pub labels: Vec<LabelRule>,
    /// `matchFields`.
    pub names: Vec<NameRule>,
}

/// What a role asks of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeRules {
    /// Labels that the node must have.
    pub selector: BTreeMap<String, String>,
    /// One of these terms must hold; `None` asks for nothing.
    pub affinity: Option<Vec<NodeTerm>>,
    /// Which taints do not matter.
    pub tolerations: Vec<Toleration>,
}

/// What of a node the rules are about.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// Its name.
    pub name: &'a NodeName,
    /// Its labels, the agent's and the operators' together.
    pub labels: &'a BTreeMap<String, String>,
    /// Its taints.
    pub taints: &'a [Taint],
}

/// Why a node is not used for a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Obstacle {
    /// Its agent cannot be reached.
    Unreachable,
    /// An operator keeps new gangs away.
    Cordoned,
    /// It has a taint that the role does not tolerate.
    Taint(Taint),
    /// It lacks a label that `nodeSelector` names.
    Label {
        /// The label's key.
        key: String,
        /// The value that it should have.
        value: String,
    },
    /// No term of the required node affinity holds.
    Affinity,
}

/// How many nodes are not used for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// How many.
    pub nodes: u32,
    /// Why.
    pub why: Obstacle,
}

impl NodeRules {
    /// What keeps the role off a node for as long as both stay as they are.
    ///
    /// A `NoExecute` taint that is tolerated only for a while keeps it off, too. In Kubernetes such a pod is placed there
    /// and evicted when its time is over; a gang would do that again and again, and lose its work each time.
    #[must_use]
    pub fn obstacle(&self, node: NodeFacts<'_>) -> Option<Obstacle> {
        let forbidding = node.taints.iter().filter(|taint| taint.effect.forbids());
        if let Some(taint) = forbidding.into_iter().find(|taint| !self.stays_under(taint)) {
            return Some(Obstacle::Taint(taint.clone()));
        }
        let lacks = self.selector.iter().find(|(key, value)| node.labels.get(*key) != Some(value));
        if let Some((key, value)) = lacks {
            return Some(Obstacle::Label { key: key.clone(), value: value.clone() });
        }
        let terms = self.affinity.as_ref()?;
        (!terms.iter().any(|term| term.holds(node))).then_some(Obstacle::Affinity)
    }

    /// Whether a node is used for the role only when nothing else is left.
    #[must_use]
    pub fn avoids(&self, taints: &[Taint]) -> bool {
        let discouraging = |taint: &&Taint| taint.effect == TaintEffect::PreferNoSchedule;
        taints.iter().filter(discouraging).any(|taint| !self.tolerates(taint))
    }

    /// Whether a toleration covers the taint, at least for a while.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| toleration.covers(taint))
    }

    fn stays_under(&self, taint: &Taint) -> bool {
        match taint.effect {
            TaintEffect::NoExecute => self.puts_up_with(taint).is_none(),
            TaintEffect::NoSchedule | TaintEffect::PreferNoSchedule => self.tolerates(taint),
        }
    }

    /// How long a `NoExecute` taint is put up with: not at all is zero, `None` is for ever. Of several tolerations that
    /// cover it the first counts, as in Kubernetes.
    #[must_use]
    pub fn puts_up_with(&self, taint: &Taint) -> Option<Millis> {
        let first = self.tolerations.iter().find(|toleration| toleration.covers(taint));
        first.map_or(Some(Millis(0)), |toleration| toleration.lasts)
    }
}

impl NodeTerm {
    /// Whether the term holds for a node.
    #[must_use]
    pub fn holds(&self, node: NodeFacts<'_>) -> bool {
        let asks = !(self.labels.is_empty() && self.names.is_empty());
        let name = node.name.as_str();
        asks && self.labels.iter().all(|label| label.rule.holds(node.labels.get(&label.key)))
            && self.names.iter().all(|rule| match rule {
                NameRule::Is(wanted) => wanted == name,
                NameRule::IsNot(unwanted) => unwanted != name,
            })
    }
}

impl Rule {
    /// Whether it holds for a label's value; `None`: the node has no such label.
    #[must_use]
    pub fn holds(&self, value: Option<&String>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            Self::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::Gt(bound) => number().is_some_and(|number| number > *bound),
            Self::Lt(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Taint(taint) => write!(f, "with taint {taint} not tolerated"),
            Self::Label { key, value } => write!(f, "without label {key}={value}"),
            Self::Affinity => f.write_str("not matched by the required node affinity"),
        }
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.nodes, self.why)
    }
}

/// `3 nodes cordoned, 2 with taint gpu=a100:NoSchedule not tolerated`; nothing for none.
pub(crate) fn list(excluded: &[Excluded]) -> String {
    let mut parts: Vec<String> = excluded.iter().map(ToString::to_string).collect();
    if let (Some(first), Some(part)) = (excluded.first(), parts.first_mut()) {
        let word = if first.nodes == 1 { "node" } else { "nodes" };
        *part = part.replacen(' ', &format!(" {word} "), 1);
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests;
