//! Objects as they are now, and what has changed of late.
//!
//! Versions grow with every change, and each change has one of its own, so that a client which saw one of several changes
//! of a Raft entry can go on behind it: a version is the entry's index times [`SCALE`], plus its number in the entry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use muster_apimachinery::ApiStatus;
use muster_model::ReplicaId;
use serde_json::Value;

use super::registry::ResourceId;

/// So many versions belong to one Raft index.
const SCALE: u64 = 1000;
/// So many changes are kept for watches that come back.
const KEPT: usize = 50_000;

/// An object's place: resource, namespace (empty for what has none), name.
pub(super) type Key = (ResourceId, String, String);

/// An object.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) object: Arc<Value>,
    /// The replica that a pod shows.
    pub(super) replica: Option<ReplicaId>,
}

/// A change.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) resource: ResourceId,
    /// What it was; none when it is new.
    pub(super) before: Option<Arc<Value>>,
    /// What it is; what it was last, with the version of its end, when it is gone.
    pub(super) object: Arc<Value>,
    pub(super) gone: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct History {
    objects: BTreeMap<Key, Entry>,
    changes: VecDeque<Arc<Change>>,
    /// The version of the latest change.
    version: u64,
    /// Changes after this one are kept.
    oldest: u64,
    /// The Raft index up to which everything is here.
    applied: u64,
}

impl History {
    /// An empty one that begins at a Raft index. What came before is not known.
    pub(super) fn new(applied: u64) -> Self {
        let version = applied.saturating_mul(SCALE).max(1);
        Self {
            objects: BTreeMap::new(),
            changes: VecDeque::new(),
            version,
            oldest: version,
            applied,
        }
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Everything up to a Raft index is here.
    pub(super) fn reached(&mut self, applied: u64) {
        self.applied = self.applied.max(applied);
    }

    /// An object without a change: it was there before.
    pub(super) fn load(
        &mut self,
        key: Key,
        (mut object, index): (Value, u64),
        replica: Option<ReplicaId>,
    ) {
        let version = index.saturating_mul(SCALE).clamp(1, self.version);
        stamp(&mut object, version);
        self.objects.insert(key, Entry { version, object: Arc::new(object), replica });
    }

    /// An object as it is now. One that looks as before has not changed.
    pub(super) fn put(&mut self, key: Key, mut object: Value, replica: Option<ReplicaId>) {
        let before = self.objects.get(&key);
        if let Some(before) = before {
            stamp(&mut object, before.version);
            if *before.object == object {
                return;
            }
        }
        let version = self.next();
        stamp(&mut object, version);
        let object = Arc::new(object);
        let resource = key.0;
        // What has another uid is another object: the one before is gone.
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let replaced = self.objects.get(&key).is_some_and(|old| uid(&old.object) != uid(&object));
        if replaced {
            self.remove(&key);
        }
        let version = if replaced { self.next() } else { version };
        let entry = Entry { version, object: Arc::clone(&object), replica };
        let before = self.objects.insert(key, entry).map(|entry| entry.object);
        self.push(Change { version, resource, before, object, gone: false });
    }

    /// An object that is gone.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(entry) = self.objects.remove(key) else { return };
        let version = self.next();
        let mut last = (*entry.object).clone();
        stamp(&mut last, version);
        let before = Some(entry.object);
        self.push(Change { version, resource: key.0, before, object: Arc::new(last), gone: true });
    }

    fn next(&mut self) -> u64 {
        self.version = (self.version + 1).max(self.applied.saturating_mul(SCALE));
        self.version
    }

    fn push(&mut self, change: Change) {
        self.changes.push_back(Arc::new(change));
        if self.changes.len() > KEPT
            && let Some(dropped) = self.changes.pop_front()
        {
            self.oldest = dropped.version;
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.objects.get(key)
    }

    /// The objects of a resource by namespace and name, of one namespace or of all.
    pub(super) fn list<'h>(
        &'h self,
        resource: ResourceId,
        namespace: Option<&'h str>,
    ) -> impl Iterator<Item = (&'h Key, &'h Entry)> {
        let from = (resource, namespace.unwrap_or_default().to_owned(), String::new());
        let within = move |key: &Key| key.0 == resource && namespace.is_none_or(|one| key.1 == one);
        self.objects.range(from..).take_while(move |(key, _)| within(key))
    }

    /// The changes of a resource after a version, some at a time, and the version up to which that is all.
    ///
    /// # Errors
    /// When they are not kept any more.
    pub(super) fn since(
        &self,
        resource: ResourceId,
        version: u64,
        most: usize,
    ) -> Result<(Vec<Arc<Change>>, u64), ApiStatus> {
        if version < self.oldest {
            return Err(ApiStatus::expired(version, self.oldest));
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        let mut found = Vec::new();
        for change in self.changes.range(start..) {
            if change.resource != resource {
                continue;
            }
            if found.len() == most {
                let reached = found.last().map_or(version, |last: &Arc<Change>| last.version);
                return Ok((found, reached));
            }
            found.push(Arc::clone(change));
        }
        Ok((found, self.version.max(version)))
    }
}

fn stamp(object: &mut Value, version: u64) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), version.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        (0, "default".into(), name.into())
    }

    fn object(uid: &str, value: u32) -> Value {
        json!({"metadata": {"name": "a", "uid": uid}, "value": value})
    }

    #[test]
    fn changes_of_one_entry_have_versions_of_their_own_and_what_is_the_same_is_no_change() {
        let mut history = History::new(7);
        let start = history.version();
        history.reached(8);
        history.put(key("a"), object("u", 1), None);
        history.put(key("b"), object("v", 1), None);
        let first = history.get(&key("a")).unwrap().version;
        assert_eq!(first, 8 * SCALE);
        assert_eq!(history.get(&key("b")).unwrap().version, first + 1);
        history.put(key("a"), object("u", 1), None);
        assert_eq!(history.get(&key("a")).unwrap().version, first);
        let (changes, reached) = history.since(0, start, 100).unwrap();
        assert_eq!((changes.len(), reached), (2, first + 1));
        let (rest, _) = history.since(0, first, 100).unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(history.since(0, start, 1).unwrap().1, first);
    }

    #[test]
    fn an_object_of_the_same_name_with_another_uid_comes_after_the_end_of_the_first() {
        let mut history = History::new(1);
        let start = history.version();
        history.put(key("a"), object("u", 1), None);
        history.put(key("a"), object("w", 1), None);
        history.remove(&key("a"));
        let (changes, _) = history.since(0, start, 100).unwrap();
        let told: Vec<(bool, bool)> =
            changes.iter().map(|c| (c.before.is_some(), c.gone)).collect();
        assert_eq!(told, [(false, false), (true, true), (false, false), (true, true)]);
        assert!(changes.windows(2).all(|pair| pair[0].version < pair[1].version));
        assert_eq!(
            changes[3].object["metadata"]["resourceVersion"],
            changes[3].version.to_string()
        );
    }

    #[test]
    fn who_asks_for_what_is_not_kept_has_to_begin_anew() {
        let mut history = History::new(5);
        assert!(history.since(0, 1, 10).is_err());
        let start = history.version();
        for value in 0..=u32::try_from(KEPT).unwrap() {
            history.put(key("a"), object("u", value), None);
        }
        let refused = history.since(0, start, 10).unwrap_err();
        assert_eq!(refused.code(), 410);
        assert!(history.since(0, start + 1, 10).is_ok());
    }
}
