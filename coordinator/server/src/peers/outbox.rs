//! Messages on their way from the brain to the peers' tasks.

use std::collections::BTreeMap;
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
}

impl Outbox {
    /// Sends a message, or drops it when nobody can take it now.
    pub(crate) fn send(&self, message: Message) {
        let letter = match message.snapshot {
            None => Letter::Plain(message.bytes),
            Some(index) => Letter::WithSnapshot(index.0, message.bytes),
        };
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&message.to.0) {
            let _ = queue.try_send(letter);
        }
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
