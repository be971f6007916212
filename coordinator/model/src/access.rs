//! Who may do what: tokens, roles and what they are good for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::Namespace;

/// What a token is known by: `join-<id>` or `user-<name>`. No secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub String);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do, each as much as those before; the names are those of Kubernetes' own roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccessRole {
    /// Look.
    Viewer,
    /// Submit, change and delete jobs.
    Editor,
    /// Everything. In the whole cluster also nodes, members and tokens.
    Admin,
}

impl AccessRole {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Editor, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for AccessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The namespace; none: all of them, and what belongs to no namespace.
    pub namespace: Option<Namespace>,
    /// The role.
    pub role: AccessRole,
}

impl Grant {
    /// Everything, everywhere.
    #[must_use]
    pub fn everything() -> Self {
        Self { namespace: None, role: AccessRole::Admin }
    }

    /// The strongest role that grants give in a namespace, or, without one, in the whole cluster.
    #[must_use]
    pub fn role_in(grants: &[Self], namespace: Option<&Namespace>) -> Option<AccessRole> {
        let holds =
            |grant: &&Self| grant.namespace.is_none() || grant.namespace.as_ref() == namespace;
        grants.iter().filter(holds).map(|grant| grant.role).max()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in {namespace}", self.role),
            None => write!(f, "{} everywhere", self.role),
        }
    }
}

/// What a machine that joins becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JoinRole {
    /// An agent.
    Agent,
    /// A member of the coordinator. It gets the key of the cluster's authority.
    Member,
}

impl fmt::Display for JoinRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Member => "member",
        })
    }
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TokenFault {
    /// There is none such, or its secret is another.
    Unknown,
    /// Its time is over.
    Expired,
    /// It has been used as often as it may be.
    Used,
    /// It is for something else.
    OtherRole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_role_that_holds_somewhere_counts() {
        let team = Namespace::new("team").unwrap();
        let other = Namespace::new("other").unwrap();
        let grants = [
            Grant { namespace: None, role: AccessRole::Viewer },
            Grant { namespace: Some(team.clone()), role: AccessRole::Editor },
        ];
        assert_eq!(Grant::role_in(&grants, Some(&team)), Some(AccessRole::Editor));
        assert_eq!(Grant::role_in(&grants, Some(&other)), Some(AccessRole::Viewer));
        assert_eq!(Grant::role_in(&grants, None), Some(AccessRole::Viewer));
        assert_eq!(Grant::role_in(&grants[1..], None), None);
        assert!(AccessRole::Admin > AccessRole::Editor && AccessRole::Editor > AccessRole::Viewer);
    }
}
