//! Logs on their way from the agents that keep them to the clients that read them. The coordinator stores nothing of
//! them: each stream is a bounded channel, and a reader that is slow slows the sender.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use muster_model::NodeId;
use muster_proto::v1 as wire;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::hub::{Hub, LogOrder};

/// How many uploads of one stream may wait for its reader.
const WAITING: usize = 4;

/// Connects log streams.
#[derive(Debug)]
pub(crate) struct LogRelay {
    hub: Arc<Hub>,
    next: AtomicU64,
    /// Dropping a sender tells its reader that no more will come.
    readers: Mutex<Readers>,
}

type Readers = BTreeMap<u64, (Option<NodeId>, mpsc::Sender<wire::LogUpload>)>;

/// One log being read. Dropping it tells the agents to stop.
#[derive(Debug)]
pub(crate) struct LogReader {
    stream: u64,
    relay: Arc<LogRelay>,
    node: Option<NodeId>,
    asked: usize,
    uploads: mpsc::Receiver<wire::LogUpload>,
}

/// What a log is asked for.
#[derive(Debug, Clone)]
pub(crate) struct LogRequest {
    pub(crate) job_uid: String,
    /// The replica's short name.
    pub(crate) replica: String,
    pub(crate) generation: u32,
    pub(crate) follow: bool,
    pub(crate) tail: Option<u64>,
}

// === impl LogRelay ===

impl LogRelay {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, next: AtomicU64::new(1), readers: Mutex::default() }
    }

    /// Asks the agent of a node, or every agent when the node is not known any more, for a log.
    pub(crate) fn open(self: &Arc<Self>, node: Option<NodeId>, request: LogRequest) -> LogReader {
        let stream = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, uploads) = mpsc::channel(WAITING);
        self.readers().insert(stream, (node, sender));
        let sessions = self.hub.sessions(node);
        let open = wire::LogOpen {
            stream,
            job_uid: request.job_uid,
            replica: request.replica,
            generation: request.generation,
            follow: request.follow,
            tail: request.tail,
        };
        for session in &sessions {
            session.put(|changes| changes.logs.push(LogOrder::Open(open.clone())));
        }
        LogReader { stream, relay: Arc::clone(self), node, asked: sessions.len(), uploads }
    }

    /// The session of a node has ended, or begins anew: nothing that was asked of it will come any more.
    pub(crate) fn lost(&self, node: NodeId) {
        self.readers().retain(|_, (of, _)| of.is_some_and(|of| of != node));
    }

    /// Takes an agent's uploads until the log ends or its reader is gone.
    pub(crate) async fn receive(
        &self,
        mut uploads: Streaming<wire::LogUpload>,
    ) -> Result<(), Status> {
        let mut last = None;
        loop {
            let upload = match uploads.message().await {
                Ok(Some(upload)) => upload,
                // It broke off.
                other => {
                    if let Some(stream) = last {
                        self.readers().remove(&stream);
                    }
                    return other.map(|_| ());
                }
            };
            last = Some(upload.stream);
            let reader = self.readers().get(&upload.stream).map(|(_, sender)| sender.clone());
            let Some(reader) = reader else {
                return Err(Status::cancelled("nobody reads this log any more"));
            };
            let ended = upload.ended;
            if reader.send(upload).await.is_err() || ended {
                return Ok(());
            }
        }
    }

    /// How many logs are being read.
    pub(crate) fn reader_count(&self) -> usize {
        self.readers().len()
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LogReader ===

impl LogReader {
    /// The next lines; `None` once the log has ended. Agents that do not have the log say so; the last of them
    /// ends the reading with the reason.
    ///
    /// # Errors
    /// When no agent that was asked has the log, or one has gone away in the middle of it.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<wire::LogLine>>, String> {
        if self.asked == 0 {
            return Err("the node that keeps this log is not connected".into());
        }
        loop {
            let upload = self.uploads.recv().await;
            let Some(upload) = upload else {
                return Err("the node that keeps this log went away while it was read".into());
            };
            if !upload.error.is_empty() {
                self.asked -= 1;
                if self.asked == 0 {
                    return Err(upload.error);
                }
                continue;
            }
            if upload.ended && upload.lines.is_empty() {
                return Ok(None);
            }
            return Ok(Some(upload.lines));
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.relay.readers().remove(&self.stream);
        for session in self.relay.hub.sessions(self.node) {
            session.put(|changes| changes.logs.push(LogOrder::Close(self.stream)));
        }
    }
}
