//! The native API's service.

use std::sync::Arc;

use muster_apimachinery::LabelSelector;
use muster_kinds::supported;
use muster_model::{AccessRole, JobId, JobKey, JobKind, JobName, Reason, ReplicaId};
use muster_proto::v1 as wire;
use muster_service::Tasks;
use muster_state::{Accepted, Body, DeleteJob, RemoveNode, State};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::status::{status_of, with_code};
use super::{apply, logs, nodes, watch};
use crate::access::{Caller, caller};
use crate::brain::{Brain, BrainError};
use crate::hub::Hub;
use crate::logs::LogRelay;
use crate::objects::{
    LeaderView, event_object, job_object, job_ref, job_summary, node_object, node_ref, pod_object,
    pod_ref, replica_summaries,
};
use crate::planner::Waits;
use crate::sessions::Details;

/// What the API works with.
#[derive(Debug, Clone)]
pub(crate) struct ApiContext {
    pub(crate) brain: Brain,
    pub(crate) hub: Arc<Hub>,
    pub(crate) waits: Arc<Waits>,
    pub(crate) details: Arc<Details>,
    pub(crate) logs: Arc<LogRelay>,
    pub(crate) tasks: Tasks,
    pub(crate) cluster: String,
}

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    context: ApiContext,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// Jobs of one kind, or of any.
    Jobs(Option<JobKind>),
    Pods,
    Nodes,
    Events,
}

impl Resource {
    /// What it is called in a refusal.
    fn plural(&self) -> &'static str {
        match self {
            Self::Jobs(_) => "jobs",
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Events => "events",
        }
    }
}

// === impl ApiContext ===

impl ApiContext {
    /// A job with its object and summary; `None` when it is not there.
    pub(super) fn job(&self, state: &State, id: JobId) -> Option<wire::Object> {
        let job = state.job(id)?;
        let leader = LeaderView { waits: &self.waits, details: &self.details };
        Some(wire::Object {
            r#ref: Some(job_ref(&job.key, &job.uid)),
            json: job_object(state, id)?.to_string().into(),
            summary: job_summary(state, leader, id),
        })
    }

    pub(super) fn node(&self, state: &State, id: muster_model::NodeId) -> Option<wire::Object> {
        Some(wire::Object {
            r#ref: Some(node_ref(id, state.node(id)?)),
            json: node_object(state, id)?.to_string().into(),
            summary: None,
        })
    }

    fn pod(&self, state: &State, id: ReplicaId) -> Option<wire::Object> {
        let (job, replica) = (state.job(id.job)?, state.replica(id)?);
        Some(wire::Object {
            r#ref: Some(pod_ref(job, replica, id)),
            json: pod_object(state, id)?.to_string().into(),
            summary: None,
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.brain.read(read).await.map_err(|error| status_of(&error))
    }

    /// The one job that a name and, perhaps, a kind mean.
    pub(super) async fn find(
        &self,
        (kind, namespace, name): (&str, &str, &str),
    ) -> Result<(JobId, JobKey), Status> {
        let namespace = apply::namespace(namespace)?;
        let Resource::Jobs(kind) = job_resource(kind)? else {
            return Err(Status::invalid_argument("this needs a job"));
        };
        let name = JobName::new(name)
            .map_err(|error| with_code(Code::InvalidArgument, "M1001", format!("name: {error}")))?;
        let kinds: Vec<JobKind> = match kind {
            Some(kind) => vec![kind],
            None => supported().map(muster_kinds::Facts::job_kind).collect(),
        };
        let keys: Vec<JobKey> = kinds
            .into_iter()
            .map(|kind| JobKey { namespace: namespace.clone(), kind, name: name.clone() })
            .collect();
        let first = keys.first().cloned();
        let found: Vec<(JobId, JobKey)> = self
            .read(move |state| {
                keys.into_iter().filter_map(|key| Some((state.job_id(&key)?, key))).collect()
            })
            .await?;
        match (found.len(), found.into_iter().next(), first) {
            (1, Some(found), _) => Ok(found),
            (0, _, Some(job)) => Err(status_of(&BrainError::Rejected(Reason::JobNotFound { job }))),
            _ => Err(with_code(
                Code::InvalidArgument,
                "M1010",
                format!(
                    "jobs of several kinds have the name {name}; say which, as in pytorchjob/{name}"
                ),
            )),
        }
    }
}

/// The kind of the pods that are jobs of their own.
pub(super) fn bare_pod() -> JobKind {
    JobKind("Pod".to_owned())
}

/// As [`resource`], for those who mean jobs: then a pod is one that was submitted as such.
pub(super) fn job_resource(kind: &str) -> Result<Resource, Status> {
    Ok(match resource(kind)? {
        Resource::Pods => Resource::Jobs(Some(bare_pod())),
        other => other,
    })
}

/// The resource that a kind, plural, singular or short name means, in any case.
pub(super) fn resource(kind: &str) -> Result<Resource, Status> {
    let wanted = kind.to_ascii_lowercase();
    let job = supported().find(|facts| {
        let names = [facts.plural, facts.singular];
        names.contains(&wanted.as_str()) || facts.short_names.contains(&wanted.as_str())
    });
    match (wanted.as_str(), job) {
        // Jobs of all kinds, of which that of batch/v1 is one.
        ("" | "job" | "jobs", _) => Ok(Resource::Jobs(None)),
        ("job.batch" | "jobs.batch", _) => Ok(Resource::Jobs(Some(JobKind("Job".to_owned())))),
        // Replicas; those that were submitted as pods are among them.
        ("pod" | "pods" | "po", _) => Ok(Resource::Pods),
        (_, Some(facts)) => Ok(Resource::Jobs(Some(facts.job_kind()))),
        ("node" | "nodes" | "no", None) => Ok(Resource::Nodes),
        ("event" | "events" | "ev", None) => Ok(Resource::Events),
        _ => {
            let listed = supported().map(|facts| facts.plural);
            let known: Vec<&str> = listed.filter(|plural| *plural != "pods").collect();
            Err(with_code(
                Code::InvalidArgument,
                "M1002",
                format!(
                    "there is no resource {kind:?}; there are: {}, pods, nodes, events",
                    known.join(", ")
                ),
            ))
        }
    }
}

// === impl Api ===

impl Api {
    pub(crate) fn new(context: ApiContext) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl wire::muster_server::Muster for Api {
    type WatchStream = ReceiverStream<Result<wire::WatchEvent, Status>>;
    type LogsStream = ReceiverStream<Result<wire::LogChunk, Status>>;

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyReply>, Status> {
        let caller = caller(&request)?;
        self.context.hub.submitted();
        apply::apply(&self.context.brain, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::Object>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let seen = resource(&request.kind)?;
        match &seen {
            Resource::Nodes => caller.require(AccessRole::Viewer, None, "get nodes")?,
            other => {
                let namespace = apply::namespace(&request.namespace)?;
                caller.require(
                    AccessRole::Viewer,
                    Some(&namespace),
                    &format!("get {}", other.plural()),
                )?;
            }
        }
        let context = self.context.clone();
        let not_found = || {
            let message = format!("{} {:?} not found", request.kind, request.name);
            with_code(Code::NotFound, "M1005", message)
        };
        let found = match seen {
            Resource::Jobs(_) => {
                let named = (&*request.kind, &*request.namespace, &*request.name);
                let (id, _) = self.context.find(named).await?;
                self.context.read(move |state| context.job(state, id)).await?
            }
            Resource::Nodes => {
                let name = request.name.clone();
                let find = move |state: &State| context.node(state, state.node_id(&name)?);
                self.context.read(find).await?
            }
            Resource::Pods => {
                let (name, namespace) =
                    (request.name.clone(), apply::namespace(&request.namespace)?);
                let submitted = JobName::new(name.as_str()).ok().map(|name| JobKey {
                    namespace: namespace.clone(),
                    kind: bare_pod(),
                    name,
                });
                let find = move |state: &State| {
                    let id = submitted.and_then(|key| state.job_id(&key));
                    if let Some(id) = id {
                        return context.job(state, id);
                    }
                    let mut all = state
                        .tables()
                        .replicas
                        .iter()
                        .filter_map(|(id, _)| context.pod(state, *id));
                    all.find(|pod| {
                        pod.r#ref
                            .as_ref()
                            .is_some_and(|r| r.name == name && r.namespace == namespace.as_str())
                    })
                };
                self.context.read(find).await?
            }
            Resource::Events => return Err(Status::unimplemented("events are only listed")),
        };
        found.map(Response::new).ok_or_else(not_found)
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListReply>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        may_look(&caller, &request.kind, &request.namespace)?;
        let selector = LabelSelector::parse(&request.selector)
            .map_err(|error| with_code(Code::InvalidArgument, "M1001", error.to_string()))?;
        let resource = resource(&request.kind)?;
        let context = self.context.clone();
        let reply = self
            .context
            .read(move |state| {
                let mut items = list(&context, state, (&resource, &request));
                if !request.selector.is_empty() {
                    items.retain(|item| {
                        serde_json::from_slice(&item.json)
                            .is_ok_and(|object| selector.matches(&object))
                    });
                }
                wire::ListReply { items, resource_version: state.applied().0 }
            })
            .await?;
        Ok(Response::new(reply))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?;
        may_look(&caller, &request.get_ref().kind, &request.get_ref().namespace)?;
        // Only the leader knows of every change; another member says who leads.
        self.context.read(|_| ()).await?;
        watch::watch(self.context.clone(), request.into_inner()).map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteRequest>,
    ) -> Result<Response<wire::DeleteReply>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let namespace = apply::namespace(&request.namespace)?;
        caller.require(AccessRole::Editor, Some(&namespace), "delete jobs")?;
        let id = apply::request_id(&request.request_id)?;
        if let Some(id) = id
            && self.context.read(move |state| state.tables().requests.get(&id).is_some()).await?
        {
            // It was done before, and the answer was lost; the job may be gone by now.
            let (kind, namespace, name) = (request.kind, request.namespace, request.name);
            let reference = wire::Ref { kind, namespace, name, ..wire::Ref::default() };
            return Ok(Response::new(wire::DeleteReply { r#ref: Some(reference) }));
        }
        let named = (&*request.kind, &*request.namespace, &*request.name);
        let (job, key) = self.context.find(named).await?;
        let uid = self
            .context
            .read(move |state| state.job(job).map(|job| job.uid.clone()))
            .await?
            .unwrap_or_else(|| muster_model::Uid(String::new()));
        let body = Body::DeleteJob(DeleteJob { key: key.clone(), uid: Some(uid.clone()) });
        match self.context.brain.submit(id, body).await {
            Ok(Accepted::Deleted(_)) => {
                Ok(Response::new(wire::DeleteReply { r#ref: Some(job_ref(&key, &uid)) }))
            }
            Ok(_) => Err(Status::internal("a deletion was answered as something else")),
            Err(error) => Err(status_of(&error)),
        }
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainReply>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let namespace = apply::namespace(&request.namespace)?;
        caller.require(AccessRole::Viewer, Some(&namespace), "explain jobs")?;
        let named = (&*request.kind, &*request.namespace, &*request.name);
        let (id, _) = self.context.find(named).await?;
        let context = self.context.clone();
        let reply = self
            .context
            .read(move |state| {
                let leader = LeaderView { waits: &context.waits, details: &context.details };
                let job = state.job(id)?;
                let wait = context.waits.get(id);
                Some(wire::ExplainReply {
                    r#ref: Some(job_ref(&job.key, &job.uid)),
                    summary: job_summary(state, leader, id),
                    wait_reason: wait
                        .as_ref()
                        .map(|wait| wait.name().to_owned())
                        .unwrap_or_default(),
                    wait: wait.map(|wait| wait.to_string()).unwrap_or_default(),
                    replicas: replica_summaries(state, leader, id),
                })
            })
            .await?;
        reply.map(Response::new).ok_or_else(|| Status::not_found("the job is gone"))
    }

    async fn logs(
        &self,
        request: Request<wire::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let caller = caller(&request)?;
        let namespace = apply::namespace(&request.get_ref().namespace)?;
        caller.require(AccessRole::Viewer, Some(&namespace), "read logs")?;
        logs::logs(self.context.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn remove_node(
        &self,
        request: Request<wire::RemoveNodeRequest>,
    ) -> Result<Response<wire::RemoveNodeReply>, Status> {
        administers(&request, "remove nodes")?;
        let body = Body::RemoveNode(RemoveNode { name: request.into_inner().name });
        match self.context.brain.submit(None, body).await {
            Ok(_) => Ok(Response::new(wire::RemoveNodeReply {})),
            Err(error) => Err(status_of(&error)),
        }
    }

    async fn cordon_node(
        &self,
        request: Request<wire::CordonNodeRequest>,
    ) -> Result<Response<wire::NodeReply>, Status> {
        administers(&request, "cordon nodes")?;
        nodes::cordon(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn label_node(
        &self,
        request: Request<wire::LabelNodeRequest>,
    ) -> Result<Response<wire::NodeReply>, Status> {
        administers(&request, "label nodes")?;
        nodes::label(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn taint_node(
        &self,
        request: Request<wire::TaintNodeRequest>,
    ) -> Result<Response<wire::NodeReply>, Status> {
        administers(&request, "taint nodes")?;
        nodes::taint(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn list_gangs(
        &self,
        request: Request<wire::ListGangsRequest>,
    ) -> Result<Response<wire::ListGangsReply>, Status> {
        caller(&request)?.require(AccessRole::Viewer, None, "list the gangs of nodes")?;
        nodes::gangs(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn evict_gang(
        &self,
        request: Request<wire::EvictGangRequest>,
    ) -> Result<Response<wire::EvictGangReply>, Status> {
        administers(&request, "drain nodes")?;
        nodes::evict(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        let role = self.context.brain.role();
        // Any member may be asked how it is.
        let (applied, digest, nodes, jobs) = self
            .context
            .brain
            .peek(|state| {
                let tables = state.tables();
                (state.applied().0, state.digest(), tables.nodes.len(), tables.jobs.len())
            })
            .await
            .map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::StatusReply {
            version: env!("CARGO_PKG_VERSION").into(),
            member: role.member,
            leader: role.leader.unwrap_or(0),
            term: role.term,
            applied,
            digest: digest.to_string(),
            nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            sessions: u32::try_from(self.context.hub.session_count()).unwrap_or(u32::MAX),
            jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
            pid: std::process::id(),
            cluster: self.context.cluster.clone(),
        }))
    }
}

/// What belongs to no namespace is for those who administer the cluster.
fn administers<T>(request: &Request<T>, what: &str) -> Result<(), Status> {
    caller(request)?.require(AccessRole::Admin, None, what)
}

/// Whether a caller may see what there is of a kind; without a namespace, in all of them.
fn may_look(caller: &Caller, kind: &str, namespace: &str) -> Result<(), Status> {
    let seen = resource(kind)?;
    let namespace = match (&seen, namespace) {
        (Resource::Nodes, _) | (_, "") => None,
        (_, named) => Some(apply::namespace(named)?),
    };
    let what = format!("list {}", seen.plural());
    caller.require(AccessRole::Viewer, namespace.as_ref(), &what)
}

fn list(
    context: &ApiContext,
    state: &State,
    (resource, request): (&Resource, &wire::ListRequest),
) -> Vec<wire::Object> {
    let tables = state.tables();
    let in_namespace = |id: &JobId| {
        let job = state.job(*id);
        job.is_some_and(|job| {
            request.namespace.is_empty() || job.key.namespace.as_str() == request.namespace
        })
    };
    let of_job = |id: &JobId| {
        let job = state.job(*id);
        request.job.is_empty() || job.is_some_and(|job| job.key.name.as_str() == request.job)
    };
    let wanted = |id: &JobId| in_namespace(id) && of_job(id);
    match resource {
        Resource::Jobs(kind) => tables
            .jobs
            .iter()
            .filter(|(id, job)| {
                wanted(id) && kind.as_ref().is_none_or(|kind| job.key.kind == *kind)
            })
            .filter_map(|(id, _)| context.job(state, *id))
            .collect(),
        Resource::Pods => tables
            .replicas
            .iter()
            .filter(|(id, _)| wanted(&id.job))
            .filter_map(|(id, _)| context.pod(state, *id))
            .collect(),
        Resource::Nodes => {
            tables.nodes.iter().filter_map(|(id, _)| context.node(state, *id)).collect()
        }
        Resource::Events => tables
            .events
            .iter()
            .filter(|((id, _), _)| wanted(id))
            .filter_map(|((id, _), event)| {
                let job = state.job(*id)?;
                Some(wire::Object {
                    r#ref: Some(wire::Ref {
                        kind: "Event".into(),
                        namespace: job.key.namespace.to_string(),
                        name: format!("{}.{:x}", job.key.name, event.id.0),
                        uid: String::new(),
                    }),
                    json: event_object(job, event).to_string().into(),
                    summary: None,
                })
            })
            .collect(),
    }
}
