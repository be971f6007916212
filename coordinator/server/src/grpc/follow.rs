//! The streams of the API: watches and logs.

use std::collections::BTreeSet;
use std::convert::Infallible;

use muster_model::{GangPhase, JobId, NodeId};
use muster_proto::v1 as wire;
use muster_proto::v1::watch_event::Type;
use muster_service::{OnEnd, OnStop, TaskKind};
use muster_state::State;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::api::{ApiContext, Resource, resource};
use crate::logs::{LogReader, LogRequest};
use crate::objects::job_ref;

/// How many events may be on their way to a watcher before it has to keep up.
const OUTBOUND: usize = 64;
/// How many lines of logs travel together at most.
const LINES: usize = 512;

const WATCH: TaskKind = TaskKind { name: "watch", on_stop: OnStop::Abort, on_end: OnEnd::Log };
const LOG: TaskKind = TaskKind { name: "log-stream", on_stop: OnStop::Abort, on_end: OnEnd::Log };

type Events = mpsc::Sender<Result<wire::WatchEvent, Status>>;
type Chunks = mpsc::Sender<Result<wire::LogChunk, Status>>;

/// Starts a watch of jobs or nodes.
pub(super) fn watch(
    context: ApiContext,
    request: wire::WatchRequest,
) -> Result<ReceiverStream<Result<wire::WatchEvent, Status>>, Status> {
    let resource = resource(&request.kind)?;
    if !matches!(resource, Resource::Jobs(_) | Resource::Nodes) {
        return Err(Status::unimplemented("only jobs and nodes can be watched"));
    }
    let (events, stream) = mpsc::channel(OUTBOUND);
    context.tasks.clone().spawn(WATCH, async move {
        let watch = Watch { context, resource, request, shown: BTreeSet::new(), events };
        let Err(status) = watch.run().await;
        tracing::debug!(%status, "watch ended");
        Ok::<(), Infallible>(())
    });
    Ok(ReceiverStream::new(stream))
}

struct Watch {
    context: ApiContext,
    resource: Resource,
    request: wire::WatchRequest,
    /// The jobs that the watcher knows of.
    shown: BTreeSet<JobId>,
    events: Events,
}

impl Watch {
    async fn run(mut self) -> Result<Infallible, Status> {
        let watcher = self.context.hub.watch();
        let (jobs, nodes) = self
            .context
            .read(|state| {
                let jobs: BTreeSet<JobId> = state.tables().jobs.iter().map(|(id, _)| *id).collect();
                let nodes: BTreeSet<NodeId> =
                    state.tables().nodes.iter().map(|(id, _)| *id).collect();
                (jobs, nodes)
            })
            .await?;
        self.show(jobs, nodes).await?;
        self.send(Type::Synced, None).await?;
        loop {
            // A watcher that goes away is noticed also while nothing changes.
            let changes = tokio::select! {
                changes = watcher.take() => changes,
                () = self.events.closed() => return Err(Status::cancelled("the watcher is gone")),
            };
            self.show(changes.jobs, changes.nodes).await?;
            for (id, (key, uid)) in changes.gone {
                if self.shown.remove(&id) {
                    let object = wire::Object {
                        r#ref: Some(job_ref(&key, &uid)),
                        ..wire::Object::default()
                    };
                    self.send(Type::Deleted, Some(object)).await?;
                }
            }
        }
    }

    async fn send(&self, kind: Type, object: Option<wire::Object>) -> Result<(), Status> {
        let event = wire::WatchEvent { r#type: kind.into(), object };
        self.events.send(Ok(event)).await.map_err(|_| Status::cancelled("the watcher is gone"))
    }

    async fn show(&mut self, jobs: BTreeSet<JobId>, nodes: BTreeSet<NodeId>) -> Result<(), Status> {
        if let Resource::Nodes = self.resource {
            let context = self.context.clone();
            let objects = self
                .context
                .read(move |state| {
                    nodes.into_iter().filter_map(|id| context.node(state, id)).collect::<Vec<_>>()
                })
                .await?;
            for object in objects {
                self.send(Type::Modified, Some(object)).await?;
            }
            return Ok(());
        }
        let (context, request) = (self.context.clone(), self.request.clone());
        let resource = self.resource.clone();
        let objects = self
            .context
            .read(move |state| {
                let wanted = jobs.into_iter().filter(|id| wants(state, &resource, (&request, *id)));
                wanted.filter_map(|id| Some((id, context.job(state, id)?))).collect::<Vec<_>>()
            })
            .await?;
        for (id, object) in objects {
            let kind = if self.shown.insert(id) { Type::Added } else { Type::Modified };
            self.send(kind, Some(object)).await?;
        }
        Ok(())
    }
}

fn wants(state: &State, resource: &Resource, (request, id): (&wire::WatchRequest, JobId)) -> bool {
    let Some(job) = state.job(id) else { return false };
    let Resource::Jobs(kind) = resource else { return false };
    kind.as_ref().is_none_or(|kind| job.key.kind == *kind)
        && (request.namespace.is_empty() || job.key.namespace.as_str() == request.namespace)
        && (request.name.is_empty() || job.key.name.as_str() == request.name)
}

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
        let logs = Logs { context, request, id, chunks: chunks.clone(), opened: BTreeSet::new() };
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
    /// The replicas and generations whose logs have been opened.
    opened: BTreeSet<(String, u32)>,
}

/// A log that can be opened now.
struct Openable {
    replica: String,
    generation: u32,
    node: Option<NodeId>,
    job_uid: String,
}

/// Where a job is, as far as its logs are concerned.
struct Sight {
    logs: Vec<Openable>,
    /// Whether no further generation will come.
    over: bool,
}

impl Logs {
    async fn run(mut self) -> Result<(), Status> {
        let watcher = self.context.hub.watch();
        let mut streams = Vec::new();
        loop {
            let Some(sight) = self.look().await? else { break };
            for log in sight.logs {
                if self.opened.insert((log.replica.clone(), log.generation)) {
                    streams.push(self.open(log));
                }
            }
            if sight.over || !self.request.follow {
                break;
            }
            tokio::select! {
                _ = watcher.take() => {}
                () = self.chunks.closed() => return Err(Status::cancelled("the reader is gone")),
            }
        }
        for ended in streams {
            // Each stream reports its own end to the reader; here only their completion counts.
            let _ = ended.await;
        }
        Ok(())
    }

    async fn look(&self) -> Result<Option<Sight>, Status> {
        let (id, request) = (self.id, self.request.clone());
        self.context.read(move |state| look(state, id, &request)).await
    }

    /// Sends one log to the reader on a task of its own, so that a silent rank does not hold back the
    /// others.
    fn open(&self, log: Openable) -> tokio::sync::oneshot::Receiver<()> {
        let reader = self.context.logs.open(
            log.node,
            LogRequest {
                job_uid: log.job_uid.clone(),
                replica: log.replica.clone(),
                generation: log.generation,
                follow: self.request.follow,
                tail: self.request.tail,
            },
        );
        let (done, ended) = tokio::sync::oneshot::channel();
        let chunks = self.chunks.clone();
        let follow = self.request.follow;
        self.context.tasks.spawn(LOG, async move {
            pump(reader, (log, follow), &chunks).await;
            let _ = done.send(());
            Ok::<(), Infallible>(())
        });
        ended
    }
}

async fn pump(mut reader: LogReader, (log, follow): (Openable, bool), chunks: &Chunks) {
    let chunk = |lines, ended| wire::LogChunk {
        replica: log.replica.clone(),
        generation: log.generation,
        lines,
        ended,
    };
    loop {
        let next = tokio::select! {
            next = reader.next() => next,
            () = chunks.closed() => return,
        };
        let sent = match next {
            Ok(Some(lines)) => {
                let mut sent = true;
                for lines in lines.chunks(LINES) {
                    sent &= chunks.send(Ok(chunk(lines.to_vec(), false))).await.is_ok();
                }
                sent
            }
            Ok(None) => {
                let _ = chunks.send(Ok(chunk(Vec::new(), true))).await;
                return;
            }
            // A rank that never started has no log; that is only worth a word to whoever asked for it.
            Err(_) if follow => return,
            Err(error) => {
                let message = format!("{}: {error}", log.replica);
                let _ = chunks.send(Err(Status::not_found(message))).await;
                return;
            }
        };
        if !sent {
            return;
        }
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
            let replica = state.replica(muster_model::ReplicaId { job: id, rank });
            // From its order on a replica has a log, which its init containers write first. The agent gets the
            // order before it is asked for the log.
            let ordered = replica.is_some_and(|one| one.fence.generation.0 == generation);
            (generation > 0 && (ordered || !current || over)).then(|| Openable {
                replica: job.gang.rank_name(rank),
                generation,
                node: replica.map(|one| one.node),
                job_uid: job.uid.to_string(),
            })
        })
        .filter(|log| request.replicas.is_empty() || request.replicas.contains(&log.replica));
    Some(Sight { logs: logs.collect(), over: over || request.generation != 0 })
}
