//! Objects that are kept as they were sent: made, changed, deleted. What they say was judged by the front door.

use muster_model::Reason;

use crate::command::{Accepted, DeleteObject, PutObject};
use crate::draft::Draft;
use crate::record::Object;

pub(super) fn put(draft: &mut Draft<'_>, put: &PutObject) -> Result<Accepted, Reason> {
    let key = &put.key;
    let old = draft.object(key).cloned();
    let new = match (old, put.based_on) {
        (Some(_), None) => return Err(Reason::ObjectExists { object: key.clone() }),
        (None, Some(_)) => return Err(Reason::ObjectNotFound { object: key.clone() }),
        (None, None) => Object {
            uid: put.uid.clone(),
            created: draft.now,
            generation: 1,
            json: put.json.clone(),
        },
        (Some(old), Some(based_on)) => {
            let version = draft.base.tables().objects.version(key).unwrap_or_default();
            if version != based_on {
                let why = format!(
                    "{key} was changed by somebody else meanwhile (version {version}, expected {based_on}); read it \
                     again and repeat the change"
                );
                return Err(Reason::StalePlan { why });
            }
            Object { generation: old.generation + 1, json: put.json.clone(), ..old }
        }
    };
    draft.set_object(key.clone(), Some(new));
    Ok(Accepted::Done)
}

pub(super) fn delete(draft: &mut Draft<'_>, delete: &DeleteObject) -> Result<Accepted, Reason> {
    let found = draft.object(&delete.key);
    let wanted = found.filter(|object| delete.uid.as_ref().is_none_or(|uid| *uid == object.uid));
    if wanted.is_none() {
        return Err(Reason::ObjectNotFound { object: delete.key.clone() });
    }
    draft.set_object(delete.key.clone(), None);
    Ok(Accepted::Done)
}

#[cfg(test)]
mod tests {
    use muster_model::{ObjectKey, Timestamp, Uid};

    use super::*;
    use crate::command::{Body, Command, Reply};
    use crate::decide::decide;
    use crate::policy::Policy;
    use crate::state::State;
    use crate::table::Index;

    fn key() -> ObjectKey {
        let (resource, namespace, name) = ("configmaps".into(), "default".into(), "a".into());
        ObjectKey { resource, namespace, name }
    }

    fn step(state: &mut State, index: u64, body: Body) -> Reply {
        let command = Command { request: None, at: Timestamp(index), body };
        let decision = decide(state, &Policy::default(), &command);
        if matches!(decision.reply, Reply::Accepted(_)) {
            state.apply(Index(index), &decision.changes);
        } else {
            assert!(decision.changes.is_empty());
        }
        decision.reply
    }

    fn write(based_on: Option<u64>, json: &str) -> Body {
        let uid = Uid(format!("uid of {json}"));
        let based_on = based_on.map(Index);
        Body::PutObject(PutObject { key: key(), based_on, uid, json: json.into() })
    }

    #[test]
    fn of_two_changes_from_the_same_version_one_is_refused() {
        let mut state = State::new();
        assert!(matches!(step(&mut state, 1, write(None, "1")), Reply::Accepted(_)));
        assert!(matches!(
            step(&mut state, 2, write(None, "2")),
            Reply::Rejected(Reason::ObjectExists { .. })
        ));
        assert!(matches!(step(&mut state, 3, write(Some(1), "3")), Reply::Accepted(_)));
        assert!(matches!(
            step(&mut state, 4, write(Some(1), "4")),
            Reply::Rejected(Reason::StalePlan { .. })
        ));
        let object = state.tables().objects.get(&key()).unwrap();
        assert_eq!((&*object.json, object.generation), ("3", 2));
        assert_eq!(object.uid, Uid("uid of 1".into()), "a change keeps the uid");
        let again = State::import(Index(4), state.export()).unwrap();
        assert_eq!(again.digest(), state.digest());
    }

    #[test]
    fn what_is_gone_is_gone_and_another_of_its_name_is_another() {
        let mut state = State::new();
        step(&mut state, 1, write(None, "1"));
        let delete =
            |uid: &str| Body::DeleteObject(DeleteObject { key: key(), uid: Some(Uid(uid.into())) });
        let refused = step(&mut state, 2, delete("another"));
        assert!(matches!(refused, Reply::Rejected(Reason::ObjectNotFound { .. })));
        assert!(matches!(step(&mut state, 3, delete("uid of 1")), Reply::Accepted(_)));
        assert!(state.tables().objects.get(&key()).is_none());
        let gone = step(&mut state, 4, write(Some(1), "2"));
        assert!(matches!(gone, Reply::Rejected(Reason::ObjectNotFound { .. })));
        assert!(matches!(step(&mut state, 5, write(None, "3")), Reply::Accepted(_)));
    }
}
