//! Whose a request is.

use std::fmt;
use std::sync::Arc;

use muster_model::{AccessRole, Grant, Namespace, TokenId};
use tonic::{Code, Request, Status};

use crate::grpc::with_code;

/// Whose a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Of whoever owns this member's data directory.
    Owner,
    /// Of another member.
    Member(u64),
    /// Of an agent.
    Agent {
        /// Its node's name.
        node: String,
        /// Its own id.
        agent: String,
    },
    /// Of a user.
    User {
        /// The name.
        name: String,
        /// What the user may do.
        grants: Arc<[Grant]>,
    },
    /// Of a machine that wants to join.
    Joiner {
        /// The token.
        token: TokenId,
        /// The hash of the secret that it showed.
        hash: [u8; 32],
    },
}

/// Whose request this is.
///
/// # Errors
/// When nobody has found out, which is a fault of the door.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let found = request.extensions().get::<Caller>().cloned();
    found.ok_or_else(|| Status::internal("the door did not say whose this request is"))
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Member(id) => write!(f, "member {id}"),
            Self::Agent { node, .. } => write!(f, "the agent of node {node}"),
            Self::User { name, .. } => write!(f, "user {name:?}"),
            Self::Joiner { token, .. } => write!(f, "the bearer of token {token}"),
        }
    }
}

/// A refusal of somebody who is known.
pub(super) fn forbidden(message: String) -> Status {
    with_code(Code::PermissionDenied, "M1014", message)
}

impl Caller {
    /// Asks for a role in a namespace, or, without one, in the whole cluster. `what` completes "cannot".
    ///
    /// # Errors
    /// A refusal that says what is missing.
    pub(crate) fn require(
        &self,
        role: AccessRole,
        namespace: Option<&Namespace>,
        what: &str,
    ) -> Result<(), Status> {
        let grants = match self {
            Self::Owner => return Ok(()),
            Self::User { grants, .. } => grants,
            _ => return Err(forbidden(format!("{self} cannot {what}: that is for users"))),
        };
        let has = Grant::role_in(grants, namespace);
        if has.is_some_and(|has| has >= role) {
            return Ok(());
        }
        let place = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the whole cluster".into(),
        };
        let has = has.map_or("none".into(), |has| has.to_string());
        Err(forbidden(format!(
            "{self} cannot {what} {place}: that needs the role {role} there, and the one held is {has}; an admin of the \
             cluster grants roles with `muster token create --user`"
        )))
    }

    /// Asks for the role of a machine.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) fn require_joiner(&self) -> Result<(TokenId, [u8; 32]), Status> {
        match self {
            Self::Joiner { token, hash } => Ok((token.clone(), *hash)),
            _ => Err(forbidden(format!("{self} does not join: that needs a join token"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_missing() {
        let team = Namespace::new("team").unwrap();
        let grants = [Grant { namespace: Some(team.clone()), role: AccessRole::Viewer }];
        let ada = Caller::User { name: "ada".into(), grants: grants.into() };
        assert!(ada.require(AccessRole::Viewer, Some(&team), "list jobs").is_ok());
        let refused = ada.require(AccessRole::Editor, Some(&team), "delete jobs").unwrap_err();
        let said = refused.message();
        assert!(
            said.starts_with(
                "user \"ada\" cannot delete jobs in namespace team: that needs the role editor there, and the one held is viewer"
            ),
            "{said}"
        );
        assert!(ada.require(AccessRole::Viewer, None, "list nodes").is_err());
        let agent = Caller::Agent { node: "n".into(), agent: "a".into() };
        assert!(agent.require(AccessRole::Viewer, Some(&team), "list jobs").is_err());
        assert!(Caller::Owner.require(AccessRole::Admin, None, "drain nodes").is_ok());
    }
}
