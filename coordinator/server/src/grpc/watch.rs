//! Watches.

use std::collections::BTreeSet;
use std::convert::Infallible;

use muster_model::{JobId, NodeId};
use muster_proto::v1 as wire;
use muster_proto::v1::watch_event::Type;
use muster_service::{OnEnd, OnStop, TaskKind};
use muster_state::State;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::api::{ApiContext, Resource, job_resource};
use super::status::status_of;
use crate::objects::job_ref;

/// How many events may be on their way to a watcher before it has to keep up.
const OUTBOUND: usize = 64;

const WATCH: TaskKind = TaskKind { name: "watch", on_stop: OnStop::Abort, on_end: OnEnd::Log };

type Events = mpsc::Sender<Result<wire::WatchEvent, Status>>;

/// Starts a watch of jobs or nodes.
pub(super) fn watch(
    context: ApiContext,
    request: wire::WatchRequest,
) -> Result<ReceiverStream<Result<wire::WatchEvent, Status>>, Status> {
    let resource = job_resource(&request.kind)?;
    if !matches!(resource, Resource::Jobs(_) | Resource::Nodes) {
        return Err(Status::unimplemented("only jobs and nodes can be watched"));
    }
    let (events, stream) = mpsc::channel(OUTBOUND);
    context.tasks.clone().spawn(WATCH, async move {
        let told = events.clone();
        let watch = Watch { context, resource, request, shown: BTreeSet::new(), events };
        let Err(status) = watch.run().await;
        tracing::debug!(%status, "watch ended");
        let _ = told.send(Err(status)).await;
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
                deposed = deposed(&self.context) => return Err(deposed),
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

/// Only the leader knows of every change.
async fn deposed(context: &ApiContext) -> Status {
    status_of(&context.brain.deposed().await)
}

fn wants(state: &State, resource: &Resource, (request, id): (&wire::WatchRequest, JobId)) -> bool {
    let Some(job) = state.job(id) else { return false };
    let Resource::Jobs(kind) = resource else { return false };
    kind.as_ref().is_none_or(|kind| job.key.kind == *kind)
        && (request.namespace.is_empty() || job.key.namespace.as_str() == request.namespace)
        && (request.name.is_empty() || job.key.name.as_str() == request.name)
}
