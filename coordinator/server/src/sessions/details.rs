//! How preparations go on: sentences that agents send and people read, and that nobody stores.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use muster_model::{Fence, ReplicaId};

/// The latest sentence about each replica that is being prepared.
#[derive(Debug, Default)]
pub(crate) struct Details {
    by_replica: Mutex<BTreeMap<ReplicaId, (Fence, String)>>,
}

/// Longer sentences are cut; nobody reads them in a table.
const MAX_CHARS: usize = 300;

impl Details {
    /// Takes a sentence; answers whether it is new.
    pub(crate) fn set(&self, id: ReplicaId, fence: Fence, text: &str) -> bool {
        let text: String = text.chars().take(MAX_CHARS).collect();
        let mut by_replica = self.by_replica.lock().unwrap_or_else(PoisonError::into_inner);
        let old = by_replica.insert(id, (fence, text.clone()));
        old != Some((fence, text))
    }

    /// The sentence about a replica under a fence.
    pub(crate) fn get(&self, id: ReplicaId, fence: Fence) -> Option<String> {
        let by_replica = self.by_replica.lock().unwrap_or_else(PoisonError::into_inner);
        by_replica.get(&id).filter(|(known, _)| *known == fence).map(|(_, text)| text.clone())
    }

    /// Forgets a replica that is no longer being prepared.
    pub(crate) fn forget(&self, id: ReplicaId) {
        self.by_replica.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Attempt, Generation, JobId, Rank};

    use super::*;

    #[test]
    fn a_sentence_belongs_to_its_fence() {
        let details = Details::default();
        let id = ReplicaId { job: JobId(1), rank: Rank(0) };
        let fence = |generation| Fence { attempt: Attempt(1), generation: Generation(generation) };
        assert!(details.set(id, fence(1), "fetching"));
        assert!(!details.set(id, fence(1), "fetching"));
        assert_eq!(details.get(id, fence(1)).as_deref(), Some("fetching"));
        assert_eq!(details.get(id, fence(2)), None);
        details.forget(id);
        assert_eq!(details.get(id, fence(1)), None);
    }
}
