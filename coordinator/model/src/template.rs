//! Values that are known only when a generation opens: ranks, addresses, ports.
//!
//! A job kind writes its variables once per role, as texts with holes; the holes are filled on the agent, when
//! the coordinator has opened the generation and every address is final. So a gang of 10,000
//! ranks costs the replicated state one template per role and not 10,000 environments.

use serde::{Deserialize, Serialize};

/// A variable that a job kind injects into every container of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvTemplate {
    /// The variable's name.
    pub name: String,
    /// Its value, with holes.
    pub value: Template,
    /// Whether a variable of the same name that the manifest sets stays as it is. Otherwise the
    /// injected one wins, as a later duplicate does in Kubernetes.
    pub user_wins: bool,
}

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// This text.
    Text(String),
    /// The value of this variable.
    Hole(Variable),
}

/// What a hole can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variable {
    /// The replica's place in the gang (torchrun's node rank).
    Rank,
    /// The process's place among all processes of the gang: rank x processes per replica + local
    /// rank. With one process per replica the same as `Rank`.
    ProcessRank,
    /// The process's place in its replica.
    LocalRank,
    /// The replica's index within its role.
    RoleIndex,
    /// The address of rank 0's node, bare (no brackets around IPv6).
    LeaderAddress,
    /// As `LeaderAddress`, but with brackets around IPv6, for `host:port` texts.
    LeaderHost,
    /// The port of the gang's rendezvous store.
    StorePort,
    /// A port on rank 0's node that is free when the generation opens and that a process there
    /// can bind.
    FreePort,
    /// How often the gang was restarted: generation - 1.
    RestartCount,
    /// The generation.
    Generation,
    /// The job's uid.
    JobUid,
    /// How many threads a process should use: the replica's CPU share divided by its processes,
    /// at least 1.
    Threads,
    /// The address of the replica's own node, bare. Known before the generation opens.
    NodeAddress,
}

impl Template {
    /// A text without holes.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// One hole.
    #[must_use]
    pub fn hole(variable: Variable) -> Self {
        Self(vec![Part::Hole(variable)])
    }

    /// Fills the holes.
    #[must_use]
    pub fn fill(&self, value_of: impl Fn(Variable) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Hole(variable) => value_of(*variable),
            })
            .collect()
    }

    /// Whether any hole stands for `variable`.
    #[must_use]
    pub fn mentions(&self, variable: Variable) -> bool {
        self.0.contains(&Part::Hole(variable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_in_order() {
        let endpoint = Template(vec![
            Part::Hole(Variable::LeaderHost),
            Part::Text(":".into()),
            Part::Hole(Variable::StorePort),
        ]);
        let filled = endpoint.fill(|variable| match variable {
            Variable::LeaderHost => "10.0.0.1".into(),
            Variable::StorePort => "29500".into(),
            other => format!("{other:?}"),
        });
        assert_eq!(filled, "10.0.0.1:29500");
        assert!(endpoint.mentions(Variable::StorePort));
        assert!(!endpoint.mentions(Variable::FreePort));
    }
}
