//! Tokens: made, removed, and used up.

use muster_model::{Reason, TokenFault};

use crate::command::{Accepted, CreateToken, RemoveToken, UseToken};
use crate::draft::Draft;
use crate::record::{Token, TokenPurpose};

/// Tokens that there may be: each is a record of the state, and whoever makes more does it by accident.
const MAX_TOKENS: usize = 10_000;

/// A new one. Those that have expired go on this occasion.
pub(super) fn create(draft: &mut Draft<'_>, create: &CreateToken) -> Result<Accepted, Reason> {
    let (base, now) = (draft.base, draft.now);
    let tokens = &base.tables().tokens;
    let is_over = |token: &Token| token.expires.is_some_and(|end| end <= now);
    let over: Vec<_> =
        tokens.iter().filter(|(_, token)| is_over(token)).map(|(id, _)| id.clone()).collect();
    if draft.token(&create.id).is_some_and(|token| !is_over(token)) {
        return Err(Reason::TokenExists { token: create.id.clone() });
    }
    if tokens.len() - over.len() >= MAX_TOKENS {
        return Err(Reason::TooManyTokens { limit: MAX_TOKENS });
    }
    for id in over {
        draft.set_token(id, None);
    }
    let token = Token {
        hash: create.hash,
        purpose: create.purpose.clone(),
        created: now,
        expires: create.life.map(|life| now.plus(life)),
    };
    draft.set_token(create.id.clone(), Some(token));
    Ok(Accepted::Done)
}

pub(super) fn remove(draft: &mut Draft<'_>, remove: &RemoveToken) -> Result<Accepted, Reason> {
    if draft.token(&remove.id).is_none() {
        return Err(Reason::TokenNotFound { token: remove.id.clone() });
    }
    draft.set_token(remove.id.clone(), None);
    Ok(Accepted::Done)
}

/// A machine joins with it. The same machine may ask again, because an answer can be lost.
pub(super) fn use_once(draft: &mut Draft<'_>, used: &UseToken) -> Result<Accepted, Reason> {
    let refused = |fault| Err(Reason::TokenRefused { fault });
    let Some(mut token) = draft.token(&used.id).cloned() else {
        return refused(TokenFault::Unknown);
    };
    if token.hash != used.hash {
        return refused(TokenFault::Unknown);
    }
    if token.expires.is_some_and(|end| end <= draft.now) {
        return refused(TokenFault::Expired);
    }
    let TokenPurpose::Join { role, uses, used_by } = &mut token.purpose else {
        return refused(TokenFault::OtherRole);
    };
    if *role != used.role {
        return refused(TokenFault::OtherRole);
    }
    if used_by.contains(&used.key) {
        return Ok(Accepted::Done);
    }
    if used_by.len() >= *uses as usize {
        return refused(TokenFault::Used);
    }
    used_by.push(used.key);
    draft.set_token(used.id.clone(), Some(token));
    Ok(Accepted::Done)
}

#[cfg(test)]
mod tests {
    use muster_model::{Grant, JoinRole, Millis, Timestamp, TokenId};

    use super::*;
    use crate::command::{Body, Command, Reply};
    use crate::{Index, Policy, State, decide};

    struct Bench {
        state: State,
        at: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self { state: State::default(), at: 1_000 }
        }

        fn submit(&mut self, body: Body) -> Result<(), Reason> {
            let at = Timestamp(self.at);
            let command = Command { request: None, at, body };
            let decision = decide(&self.state, &Policy::default(), &command);
            let index = Index(self.state.applied().0 + 1);
            self.state.apply(index, &decision.changes);
            match decision.reply {
                Reply::Accepted(_) => Ok(()),
                Reply::Rejected(reason) => Err(reason),
            }
        }

        fn create(&mut self, uses: u32) -> Result<(), Reason> {
            let role = JoinRole::Agent;
            let purpose = TokenPurpose::Join { role, uses, used_by: Vec::new() };
            let life = Some(Millis(500));
            self.submit(Body::CreateToken(CreateToken { id: id(), hash: [7; 32], purpose, life }))
        }

        fn join(&mut self, hash: u8, key: u8, role: JoinRole) -> Result<(), TokenFault> {
            let used = UseToken { id: id(), hash: [hash; 32], role, key: [key; 32] };
            self.submit(Body::UseToken(used)).map_err(|reason| match reason {
                Reason::TokenRefused { fault } => fault,
                other => panic!("{other}"),
            })
        }
    }

    fn id() -> TokenId {
        TokenId("join-x".into())
    }

    #[test]
    fn a_token_is_used_as_often_as_it_may_be_and_a_machine_may_ask_again() {
        let mut bench = Bench::new();
        assert_eq!(bench.join(7, 1, JoinRole::Agent), Err(TokenFault::Unknown));
        bench.create(2).unwrap();
        assert_eq!(bench.join(8, 1, JoinRole::Agent), Err(TokenFault::Unknown), "forged");
        assert_eq!(bench.join(7, 1, JoinRole::Member), Err(TokenFault::OtherRole));
        assert_eq!(bench.join(7, 1, JoinRole::Agent), Ok(()));
        assert_eq!(bench.join(7, 1, JoinRole::Agent), Ok(()), "its answer was lost");
        assert_eq!(bench.join(7, 2, JoinRole::Agent), Ok(()));
        assert_eq!(bench.join(7, 3, JoinRole::Agent), Err(TokenFault::Used));
    }

    #[test]
    fn an_expired_token_lets_nobody_in_and_goes_with_the_next_one() {
        let mut bench = Bench::new();
        bench.create(1).unwrap();
        assert!(matches!(bench.create(1), Err(Reason::TokenExists { .. })));
        bench.at += 500;
        assert_eq!(bench.join(7, 1, JoinRole::Agent), Err(TokenFault::Expired));
        let purpose = TokenPurpose::User { grants: vec![Grant::everything()] };
        let other = TokenId("user-ada".into());
        let create = CreateToken { id: other.clone(), hash: [1; 32], purpose, life: None };
        bench.submit(Body::CreateToken(create)).unwrap();
        let left: Vec<_> = bench.state.tables().tokens.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(left, std::slice::from_ref(&other));
        bench.submit(Body::RemoveToken(RemoveToken { id: other.clone() })).unwrap();
        let gone = bench.submit(Body::RemoveToken(RemoveToken { id: other }));
        assert!(matches!(gone, Err(Reason::TokenNotFound { .. })));
    }

    #[test]
    fn a_users_token_lets_no_machine_join() {
        let mut bench = Bench::new();
        let purpose = TokenPurpose::User { grants: vec![Grant::everything()] };
        let create = CreateToken { id: id(), hash: [7; 32], purpose, life: None };
        bench.submit(Body::CreateToken(create)).unwrap();
        assert_eq!(bench.join(7, 1, JoinRole::Agent), Err(TokenFault::OtherRole));
    }
}
