//! Logs on their way to the coordinator: one stream of uploads for each log that somebody reads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use muster_model::{Generation, Uid};
use muster_proto::v1 as wire;
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::link::Client;
use crate::runtime::{Entry, LogQuery, LogStream, Runtime, Stream};

/// How many uploads may wait for the network.
const WAITING: usize = 4;
/// How many lines go into one upload.
const LINES: usize = 512;

const UPLOAD: TaskKind =
    TaskKind { name: "log-upload", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// The logs that are being sent.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// Dropping a sender ends its upload.
    open: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Uploads {
    /// Starts to send a log.
    pub(super) fn open(
        &mut self,
        order: wire::LogOpen,
        (runtime, client, tasks): (&Arc<dyn Runtime>, Client, &Tasks),
    ) {
        self.open.retain(|_, close| !close.is_closed());
        let (close, closed) = oneshot::channel();
        self.open.insert(order.stream, close);
        let runtime = Arc::clone(runtime);
        tasks.spawn(UPLOAD, async move {
            tokio::select! {
                () = upload(order, runtime, client) => {}
                _ = closed => {}
            }
            Ok::<(), Infallible>(())
        });
    }

    /// Nobody reads a log any more.
    pub(super) fn close(&mut self, stream: u64) {
        self.open.remove(&stream);
    }

    /// The session is over, and with it every reader.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }
}

async fn upload(order: wire::LogOpen, runtime: Arc<dyn Runtime>, mut client: Client) {
    let (send, uploads) = mpsc::channel(WAITING);
    let sending = client.send_log(ReceiverStream::new(uploads));
    let reading = async move {
        match runtime.logs(&query(&order)) {
            Ok(log) => read(log, order.stream, &send).await,
            Err(error) => fail(order.stream, error.to_string(), &send).await,
        }
    };
    // Whatever becomes of the sending, the coordinator tells the reader.
    let ((), _) = tokio::join!(reading, sending);
}

fn query(order: &wire::LogOpen) -> LogQuery {
    LogQuery {
        generation: (order.generation > 0).then_some(Generation(order.generation)),
        follow: order.follow,
        tail: order.tail,
        ..LogQuery::whole(Uid(order.job_uid.clone()), &*order.replica)
    }
}

async fn read(mut log: LogStream, stream: u64, send: &mpsc::Sender<wire::LogUpload>) {
    loop {
        match log.next().await {
            Ok(Some(chunk)) => {
                if chunk.gap {
                    let lines = vec![gap(chunk.entries.first())];
                    let upload = wire::LogUpload { stream, lines, ..wire::LogUpload::default() };
                    if send.send(upload).await.is_err() {
                        return;
                    }
                }
                for entries in chunk.entries.chunks(LINES) {
                    let lines = entries.iter().map(line).collect();
                    let upload = wire::LogUpload { stream, lines, ..wire::LogUpload::default() };
                    if send.send(upload).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => {
                let end = wire::LogUpload { stream, ended: true, ..wire::LogUpload::default() };
                let _ = send.send(end).await;
                return;
            }
            Err(error) => return fail(stream, error.to_string(), send).await,
        }
    }
}

async fn fail(stream: u64, error: String, send: &mpsc::Sender<wire::LogUpload>) {
    let upload = wire::LogUpload { stream, error, ended: true, lines: Vec::new() };
    let _ = send.send(upload).await;
}

/// Stands for lines that were deleted to keep the log within its limit before they were read.
fn gap(next: Option<&Entry>) -> wire::LogLine {
    let text = "muster: lines are missing here: the log outgrew its limit before they were read";
    wire::LogLine {
        time_ns: next.map_or(0, |entry| entry.stamp.0),
        stderr: true,
        text: text.as_bytes().to_vec().into(),
        ..wire::LogLine::default()
    }
}

fn line(entry: &Entry) -> wire::LogLine {
    let source = match (&entry.container, entry.local_rank) {
        (Some(container), Some(rank)) => format!("{container}.{rank}"),
        (Some(container), None) => container.clone(),
        (None, Some(rank)) => rank.to_string(),
        (None, None) => String::new(),
    };
    wire::LogLine {
        time_ns: entry.stamp.0,
        stderr: entry.stream == Stream::Stderr,
        text: entry.text.clone().into(),
        partial: !entry.whole,
        source,
    }
}
