//! A job's logs on their way to whoever reads them: one stream made of one for each replica.
//!
//! A replica's log is opened when the replica is ordered, so that its init containers are heard while they run.
//! When its agent goes away, it is opened again as soon as that is back, and goes on where it was.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use muster_model::{GangPhase, JobId, NodeId, ReplicaId};
use muster_proto::v1 as wire;
use muster_service::{OnEnd, OnStop, TaskKind};
use muster_state::State;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::api::ApiContext;
use crate::logs::{LogReader, LogRequest};

/// How many pieces may be on their way to a reader before the agents have to wait.
const OUTBOUND: usize = 64;
/// How many lines travel together at most.
const LINES: usize = 512;
/// When a log that could not be read is tried again.
const AGAIN: Duration = Duration::from_millis(500);

const LOG: TaskKind = TaskKind { name: "log-stream", on_stop: OnStop::Abort, on_end: OnEnd::Log };

type Chunks = mpsc::Sender<Result<wire::LogChunk, Status>>;

/// Starts to send a job's logs: of every replica, of one generation or, when following, of the current
/// one and all that come.
pub(super) async fn logs(
    context: ApiContext,
    request: wire::LogsRequest,
) -> Result<ReceiverStream<Result<wire::LogChunk, Status>>, Status> {
    let (id, _) = context.find((&request.kind, &request.namespace, &request.name)).await?;
    check_names(&context, id, &request.replicas).await?;
    let (chunks, stream) = mpsc::channel(OUTBOUND);
    let tasks = context.tasks.clone();
    tasks.spawn(LOG, async move {
        let logs = Logs { context, request, id, chunks: chunks.clone(), all: BTreeMap::new() };
        if let Err(status) = logs.run().await {
            let _ = chunks.send(Err(status)).await;
        }
        Ok::<(), Infallible>(())
    });
    Ok(ReceiverStream::new(stream))
}

async fn check_names(context: &ApiContext, id: JobId, names: &[String]) -> Result<(), Status> {
    let known = context
        .read(move |state| {
            let job = state.job(id)?;
            Some(job.gang.ranks().map(|(rank, ..)| job.gang.rank_name(rank)).collect::<Vec<_>>())
        })
        .await?
        .unwrap_or_default();
    match names.iter().find(|name| !known.contains(name)) {
        Some(unknown) => {
            let shown: Vec<&str> = known.iter().take(8).map(String::as_str).collect();
            let message =
                format!("there is no replica {unknown:?}; there are: {}", shown.join(", "));
            Err(super::status::with_code(tonic::Code::InvalidArgument, "M1005", message))
        }
        None => Ok(()),
    }
}

struct Logs {
    context: ApiContext,
    request: wire::LogsRequest,
    id: JobId,
    chunks: Chunks,
    all: BTreeMap<Key, Reading>,
}

/// A replica's log in one generation.
type Key = (String, u32);

/// How far one log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It is being sent.
    Open,
    /// It could not be read, or not to its end, and is tried again then; this has been sent.
    Broken(Sent, Instant),
    /// There is nothing more to send.
    Done,
}

/// How the sending of one log ended.
struct End {
    key: Key,
    /// What had been sent when it broke off; `None` at the log's own end.
    broken: Option<Sent>,
}

/// A log that can be opened now.
struct Openable {
    key: Key,
    node: Option<NodeId>,
    job_uid: String,
}

/// Where a job is, as far as its logs are concerned.
struct Sight {
    logs: Vec<Openable>,
    /// Whether no further generation will come.
    over: bool,
}

// === impl Logs ===

impl Logs {
    async fn run(mut self) -> Result<(), Status> {
        let watcher = self.context.hub.watch();
        let (ends, mut ended) = mpsc::channel(OUTBOUND);
        let mut over = false;
        loop {
            let sight = self.look().await?;
            // What is broken when the job ends is opened once more: its agent has just told the end, or never will.
            let was_over = over;
            over |= !self.request.follow || sight.as_ref().is_none_or(|sight| sight.over);
            let mut next = None;
            for log in sight.map(|sight| sight.logs).unwrap_or_default() {
                let sent = match self.all.get(&log.key) {
                    None => Sent::default(),
                    Some(Reading::Broken(sent, again)) if !was_over => {
                        if !over && Instant::now() < *again {
                            next = Some(next.map_or(*again, |next: Instant| next.min(*again)));
                            continue;
                        }
                        *sent
                    }
                    Some(_) => continue,
                };
                self.open(log, sent, &ends);
            }
            if over && self.all.values().all(|one| *one != Reading::Open) {
                return Ok(());
            }
            tokio::select! {
                _ = watcher.take(), if !over => {}
                Some(End { key, broken }) = ended.recv() => {
                    let broken = broken.map(|sent| Reading::Broken(sent, Instant::now() + AGAIN));
                    self.all.insert(key, broken.unwrap_or(Reading::Done));
                }
                () = reached(next) => {}
                () = self.chunks.closed() => return Err(Status::cancelled("the reader is gone")),
            }
        }
    }

    async fn look(&self) -> Result<Option<Sight>, Status> {
        let (id, request) = (self.id, self.request.clone());
        self.context.read(move |state| look(state, id, &request)).await
    }

    /// Sends one log to the reader on a task of its own, so that a silent rank does not hold back the
    /// others.
    fn open(&mut self, log: Openable, sent: Sent, ends: &mpsc::Sender<End>) {
        self.all.insert(log.key.clone(), Reading::Open);
        let reader = self.context.logs.open(
            log.node,
            LogRequest {
                job_uid: log.job_uid,
                replica: log.key.0.clone(),
                generation: log.key.1,
                follow: self.request.follow,
                // The last lines of now are not those of the first time.
                tail: self.request.tail.filter(|_| sent == Sent::default()),
            },
        );
        let pump = Pump { key: log.key, follow: self.request.follow, chunks: self.chunks.clone() };
        let ends = ends.clone();
        self.context.tasks.spawn(LOG, async move {
            let key = pump.key.clone();
            let broken = pump.run(reader, sent).await;
            let _ = ends.send(End { key, broken }).await;
            Ok::<(), Infallible>(())
        });
    }
}

/// Waits for a moment, or for ever.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Sends one log.
struct Pump {
    key: Key,
    follow: bool,
    chunks: Chunks,
}

impl Pump {
    /// Sends what comes after `sent`. Answers what has been sent if the log broke off.
    async fn run(self, mut reader: LogReader, mut sent: Sent) -> Option<Sent> {
        let mut skip = sent;
        loop {
            let next = tokio::select! {
                next = reader.next() => next,
                () = self.chunks.closed() => return None,
            };
            match next {
                Ok(Some(mut lines)) => {
                    let old = lines.iter().take_while(|line| skip.covers(line.time_ns)).count();
                    lines.drain(..old);
                    for lines in lines.chunks(LINES) {
                        if self.chunks.send(Ok(self.chunk(lines.to_vec(), false))).await.is_err() {
                            return None;
                        }
                    }
                    lines.iter().for_each(|line| sent.add(line.time_ns));
                }
                Ok(None) => {
                    let _ = self.chunks.send(Ok(self.chunk(Vec::new(), true))).await;
                    return None;
                }
                // A rank that never started has no log; that is only worth a word to whoever asked for it.
                Err(_) if self.follow => return Some(sent),
                Err(error) => {
                    let message = format!("{}: {error}", self.key.0);
                    let _ = self.chunks.send(Err(Status::not_found(message))).await;
                    return None;
                }
            }
        }
    }

    fn chunk(&self, lines: Vec<wire::LogLine>, ended: bool) -> wire::LogChunk {
        wire::LogChunk { replica: self.key.0.clone(), generation: self.key.1, lines, ended }
    }
}

/// How far a log has been sent. Many lines may have the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sent {
    /// The time of the last line in nanoseconds.
    time: u64,
    /// How many of the last lines have it.
    lines: u64,
}

impl Sent {
    fn add(&mut self, time: u64) {
        self.lines = if time == self.time { self.lines + 1 } else { 1 };
        self.time = time;
    }

    /// Whether a line is one of those that were sent. To be asked of all lines of the log, in their order, until it
    /// says no.
    fn covers(&mut self, time: u64) -> bool {
        if time == self.time {
            let left = self.lines > 0;
            self.lines = self.lines.saturating_sub(1);
            return left;
        }
        time < self.time
    }
}

fn look(state: &State, id: JobId, request: &wire::LogsRequest) -> Option<Sight> {
    let (job, status, gang) = (state.job(id)?, state.status(id)?, state.gang(id)?);
    let over = status.phase.is_final() && gang.phase == GangPhase::Released;
    let generation = match request.generation {
        0 => gang.generation.0,
        wanted => wanted,
    };
    let current = generation == gang.generation.0;
    let logs = job
        .gang
        .ranks()
        .filter_map(|(rank, ..)| {
            let replica = state.replica(ReplicaId { job: id, rank });
            // From its order on a replica has a log, which its init containers write first. The agent gets the
            // order before it is asked for the log.
            let ordered = replica.is_some_and(|one| one.fence.generation.0 == generation);
            (generation > 0 && (ordered || !current || over)).then(|| Openable {
                key: (job.gang.rank_name(rank), generation),
                node: replica.map(|one| one.node),
                job_uid: job.uid.to_string(),
            })
        })
        .filter(|log| request.replicas.is_empty() || request.replicas.contains(&log.key.0));
    Some(Sight { logs: logs.collect(), over: over || request.generation != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_read_again_goes_on_behind_its_last_line() {
        let times = [1, 2, 2, 2, 5, 5];
        for sent_before in 0..=times.len() {
            let mut sent = Sent::default();
            times[..sent_before].iter().for_each(|time| sent.add(*time));
            let mut skip = sent;
            let old = times.iter().take_while(|time| skip.covers(**time)).count();
            assert_eq!(old, sent_before);
            times[old..].iter().for_each(|time| sent.add(*time));
            assert_eq!(sent, Sent { time: 5, lines: 2 });
        }
    }
}
