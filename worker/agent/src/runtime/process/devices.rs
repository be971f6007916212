//! Which replica holds which GPUs. The record of it lies in the replicas' launch files; this is the view of
//! all of them together.

use std::collections::BTreeMap;

use super::shared::Key;
use crate::shim::Failure;

#[derive(Debug, Default)]
pub(super) struct Devices {
    all: Vec<u32>,
    held: BTreeMap<Key, Vec<u32>>,
}

impl Devices {
    pub(super) fn new(all: Vec<u32>) -> Self {
        Self { all, held: BTreeMap::new() }
    }

    /// Gives a replica that many devices, those with the lowest indices that are free.
    pub(super) fn take(&mut self, key: Key, count: usize) -> Result<Vec<u32>, Failure> {
        if let Some(held) = self.held.get(&key) {
            return Ok(held.clone());
        }
        let free = |index: &&u32| !self.held.values().any(|held| held.contains(index));
        let given: Vec<u32> = self.all.iter().filter(free).take(count).copied().collect();
        if given.len() < count {
            let held: Vec<String> = self
                .held
                .iter()
                .filter(|(_, devices)| !devices.is_empty())
                .map(|((id, fence), devices)| {
                    format!("replica {id} {fence} holds {}", devices.len())
                })
                .collect();
            return Err(Failure::passing(format!(
                "it needs {count} GPUs, and {} of the node's {} are free ({})",
                given.len(),
                self.all.len(),
                if held.is_empty() { "none is held".into() } else { held.join(", ") }
            )));
        }
        if count > 0 {
            self.held.insert(key, given.clone());
        }
        Ok(given)
    }

    /// Notes what a replica holds that was there before this agent was.
    pub(super) fn note(&mut self, key: Key, devices: Vec<u32>) {
        if !devices.is_empty() {
            self.held.insert(key, devices);
        }
    }

    pub(super) fn free(&mut self, key: Key) {
        self.held.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{Attempt, Fence, Generation, JobId, Rank, ReplicaId};

    use super::*;

    fn key(rank: u32) -> Key {
        let id = ReplicaId { job: JobId(1), rank: Rank(rank) };
        let fence = Fence { attempt: Attempt(1), generation: Generation(1) };
        (id, fence)
    }

    #[test]
    fn no_device_is_given_twice() {
        let mut devices = Devices::new(vec![0, 1, 2, 3]);
        assert_eq!(devices.take(key(0), 2), Ok(vec![0, 1]));
        assert_eq!(devices.take(key(0), 2), Ok(vec![0, 1]));
        assert_eq!(devices.take(key(1), 1), Ok(vec![2]));
        let refused = devices.take(key(2), 2).unwrap_err();
        assert!(refused.why.contains("1 of the node's 4"), "{}", refused.why);
        assert!(refused.why.contains("1/0 a1g1 holds 2"), "{}", refused.why);
        devices.free(key(0));
        assert_eq!(devices.take(key(2), 3), Ok(vec![0, 1, 3]));
    }

    #[test]
    fn what_is_noted_is_held() {
        let mut devices = Devices::new(vec![0, 1]);
        devices.note(key(0), vec![1]);
        assert_eq!(devices.take(key(1), 1), Ok(vec![0]));
        assert!(devices.take(key(2), 1).is_err());
        assert_eq!(devices.take(key(2), 0), Ok(vec![]));
    }
}
