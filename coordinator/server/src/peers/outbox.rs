//! Messages on their way from the brain to the peers' tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use muster_consensus::Message;
use tokio::sync::mpsc;

/// How many messages may wait for one peer.
const WAITING: usize = 1024;

/// What a peer's task is to send.
#[derive(Debug)]
pub(super) enum Letter {
    /// A message.
    Plain(Bytes),
    /// A message that carries the snapshot at this index.
    WithSnapshot(u64, Bytes),
}

/// Takes messages for peers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    queues: Arc<Mutex<BTreeMap<u64, mpsc::Sender<Letter>>>>,
    /// Peers whose snapshots nobody could take; consensus waits for a word about each.
    lost: Arc<Mutex<BTreeSet<u64>>>,
}

impl Outbox {
    /// Sends a message, or drops it when nobody can take it now.
    pub(crate) fn send(&self, message: Message) {
        let letter = match message.snapshot {
            None => Letter::Plain(message.bytes),
            Some(index) => Letter::WithSnapshot(index.0, message.bytes),
        };
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let carries_snapshot = message.snapshot.is_some();
        let is_taken =
            queues.get(&message.to.0).is_some_and(|queue| queue.try_send(letter).is_ok());
        if carries_snapshot && !is_taken {
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to.0);
        }
    }

    /// Takes the peers whose snapshots nobody could take.
    pub(crate) fn lost_snapshots(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the queue of a peer.
    pub(super) fn open(&self, peer: u64) -> mpsc::Receiver<Letter> {
        let (queue, letters) = mpsc::channel(WAITING);
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, queue);
        letters
    }

    /// Closes the queue of a peer, which ends its task.
    pub(super) fn close(&self, peer: u64) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }
}
