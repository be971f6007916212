//! Finds out whose a request is, and keeps those out who have no business with a service.

use muster_model::{AccessRole, Grant, TokenId};
use muster_state::TokenPurpose;
use muster_trust::{JoinToken, Peer, Subject, UserToken};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::caller::{Caller, forbidden};
use super::known::Known;
use crate::clock::Clock;
use crate::grpc::with_code;
use crate::idle::Activity;

/// Whose certificate a member makes for whoever owns its data directory.
pub(crate) const OPERATOR: &str = "operator";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The token in the data directory. Only at a door in the clear, on loopback.
    owner: Option<String>,
    known: watch::Receiver<Known>,
    activity: Activity,
}

/// Compares without telling by its duration where the difference is.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (x, y)| different | (x ^ y)) == 0
}

/// Nobody is known to be the caller.
fn nobody(message: &'static str) -> Status {
    with_code(Code::Unauthenticated, "M1009", message)
}

impl Guard {
    pub(crate) fn new(
        owner: Option<String>,
        known: watch::Receiver<Known>,
        activity: Activity,
    ) -> Self {
        Self { owner, known, activity }
    }

    /// Whose a request is that came over a connection of `peer` and shows `bearer`.
    pub(crate) fn admit(
        &self,
        peer: Option<&Peer>,
        bearer: Option<&str>,
        path: &str,
    ) -> Result<Caller, Status> {
        let shown = peer.and_then(|peer| Some((peer.subject.as_ref()?, peer.since)));
        let caller = match (shown, bearer) {
            (Some(certificate), _) => self.certified(certificate)?,
            (None, Some(bearer)) => self.bearer(bearer)?,
            (None, None) => {
                return Err(nobody(
                    "who are you? Pass a token with --token-file, or log in with `muster login`",
                ));
            }
        };
        check(&caller, path)?;
        self.activity.touch();
        Ok(caller)
    }

    fn certified(&self, (subject, since): (&Subject, i64)) -> Result<Caller, Status> {
        if self.known.borrow().is_revoked(&subject.to_string(), since) {
            return Err(with_code(
                Code::Unauthenticated,
                "M1009",
                format!(
                    "the certificate of {subject} was taken back; join anew with a token, if that was a mistake"
                ),
            ));
        }
        Ok(match subject {
            Subject::Member { id } => Caller::Member(*id),
            Subject::Agent { node, agent } => {
                Caller::Agent { node: node.clone(), agent: agent.clone() }
            }
            Subject::User { name } if name == OPERATOR => Caller::Owner,
            Subject::User { name } => self.user_named(name),
        })
    }

    /// A caller for whom another member vouches: a user, or, without a name, the owner.
    pub(crate) fn vouched(&self, user: &str) -> Caller {
        if user.is_empty() {
            return Caller::Owner;
        }
        self.user_named(user)
    }

    /// A user, with what is granted now.
    fn user_named(&self, name: &str) -> Caller {
        let grants = self.grants_of(&TokenId(format!("user-{name}"))).unwrap_or_default();
        Caller::User { name: name.to_owned(), grants: grants.into() }
    }

    fn grants_of(&self, id: &TokenId) -> Option<Vec<Grant>> {
        match &self.known.borrow().token(id)?.purpose {
            TokenPurpose::User { grants } => Some(grants.clone()),
            TokenPurpose::Join { .. } => None,
        }
    }

    fn bearer(&self, bearer: &str) -> Result<Caller, Status> {
        if let Some((id, hash)) = JoinToken::of_shown(bearer) {
            // The state judges it, at the leader.
            return Ok(Caller::Joiner { token: TokenId(format!("join-{id}")), hash: hash.0 });
        }
        if let Some((name, hash)) = UserToken::of_shown(bearer) {
            return self.user(name, &hash.0);
        }
        let owner = self.owner.as_ref();
        if owner.is_some_and(|owner| equal_in_constant_time(owner.as_bytes(), bearer.as_bytes())) {
            return Ok(Caller::Owner);
        }
        Err(nobody(
            "the token is missing or wrong; it lies in the coordinator's data directory, in a file that only its \
             owner can read: pass it with --token-file",
        ))
    }

    fn user(&self, name: String, hash: &[u8; 32]) -> Result<Caller, Status> {
        let known = self.known.borrow();
        let token = known.token(&TokenId(format!("user-{name}")));
        let Some(token) = token.filter(|token| equal_in_constant_time(&token.hash, hash)) else {
            return Err(nobody(
                "the user token is not known here: it was removed, replaced, or is another cluster's; ask an admin of \
                 the cluster for a new one",
            ));
        };
        if token.expires.is_some_and(|end| end <= Clock.now()) {
            return Err(nobody(
                "the user token has expired; ask an admin of the cluster for a new one",
            ));
        }
        match &token.purpose {
            TokenPurpose::User { grants } => {
                Ok(Caller::User { name, grants: grants.clone().into() })
            }
            TokenPurpose::Join { .. } => Err(nobody("this token is for joining, and not a user's")),
        }
    }
}

/// Which service is for whom; what depends on a namespace its handlers ask.
fn check(caller: &Caller, path: &str) -> Result<(), Status> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (service, method) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_person = matches!(caller, Caller::Owner | Caller::User { .. });
    let allowed = match (service.trim_start_matches("muster.v1."), method) {
        (_, _) if *caller == Caller::Owner => true,
        ("Peers", _) => matches!(caller, Caller::Member(_)),
        ("Agents" | "Witness", _) => matches!(caller, Caller::Agent { .. }),
        ("Trust", "Enrol") => matches!(caller, Caller::Joiner { .. }),
        ("Trust", "Renew") => matches!(caller, Caller::Agent { .. }),
        ("Trust", "WhoAmI") => !matches!(caller, Caller::Joiner { .. }),
        ("Members", "ListMembers") => {
            return caller.require(AccessRole::Viewer, None, "list members");
        }
        ("Members" | "Trust", _) => {
            return caller.require(AccessRole::Admin, None, "administer members and tokens");
        }
        _ => is_person,
    };
    if allowed {
        return Ok(());
    }
    Err(forbidden(format!("{caller} has no business with {service}/{method}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn guard() -> (watch::Sender<Known>, Guard) {
        let (send, known) = watch::channel(Known::default());
        (send, Guard::new(Some("secret".into()), known, Activity::new()))
    }

    #[test]
    fn only_the_exact_token_of_the_data_directory_is_the_owners() {
        let (_known, guard) = guard();
        let path = "/muster.v1.Muster/Apply";
        assert_eq!(guard.admit(None, Some("secret"), path).unwrap(), Caller::Owner);
        for wrong in [None, Some(""), Some("secre"), Some("secret2"), Some("SECRET")] {
            assert!(guard.admit(None, wrong, path).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_service_is_for_some() {
        let agent = Caller::Agent { node: "n".into(), agent: "a".into() };
        let joiner = Caller::Joiner { token: TokenId("join-x".into()), hash: [0; 32] };
        let viewer = Grant { namespace: None, role: AccessRole::Viewer };
        let user = Caller::User { name: "u".into(), grants: Arc::new([viewer]) };
        let cases = [
            ("/muster.v1.Peers/Deliver", [true, false, false, false]),
            ("/muster.v1.Agents/Session", [false, true, false, false]),
            ("/muster.v1.Witness/Ask", [false, true, false, false]),
            ("/muster.v1.Trust/Enrol", [false, false, true, false]),
            ("/muster.v1.Trust/Renew", [false, true, false, false]),
            ("/muster.v1.Trust/CreateToken", [false, false, false, false]),
            ("/muster.v1.Members/ListMembers", [false, false, false, true]),
            ("/muster.v1.Members/Backup", [false, false, false, false]),
            ("/muster.v1.Muster/Apply", [false, false, false, true]),
            ("/muster.v1.Other/Thing", [false, false, false, true]),
        ];
        for (path, expected) in cases {
            let of = |caller: &Caller| check(caller, path).is_ok();
            let found = [of(&Caller::Member(1)), of(&agent), of(&joiner), of(&user)];
            assert_eq!(found, expected, "{path}");
            assert!(of(&Caller::Owner));
        }
    }
}
