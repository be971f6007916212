//! Tokens and revocations as the state has them, for the door: asked with every request, so kept beside the brain.

use std::collections::BTreeMap;

use muster_model::{Timestamp, TokenId};
use muster_state::{State, Token};

/// Tokens and revocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    tokens: BTreeMap<TokenId, Token>,
    /// By subject: certificates made before do not count.
    revoked: BTreeMap<String, Timestamp>,
}

impl Known {
    /// What the state says.
    pub(crate) fn of(state: &State) -> Self {
        let tables = state.tables();
        let tokens = tables.tokens.iter().map(|(id, token)| (id.clone(), token.clone())).collect();
        let revoked =
            tables.revocations.iter().map(|(subject, one)| (subject.clone(), one.before)).collect();
        Self { tokens, revoked }
    }

    pub(crate) fn token(&self, id: &TokenId) -> Option<&Token> {
        self.tokens.get(id)
    }

    /// Whether a certificate for `subject`, made at `since` (Unix seconds), was taken back.
    pub(crate) fn is_revoked(&self, subject: &str, since: i64) -> bool {
        let made = Timestamp(u64::try_from(since).unwrap_or(0).saturating_mul(1000));
        self.revoked.get(subject).is_some_and(|before| made < *before)
    }
}
