//! The sessions' gRPC service.
//!
//! A session is one long stream in each direction. The reader takes reports and submits them; it waits for
//! each batch to be committed before it reads on, which is the backpressure. The writer sends
//! orders for whatever has changed. When either ends, or nothing is heard for a lease, the session
//! ends and the node's lease starts to run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_model::{Millis, NodeId, NodeName, Reason, Uid};
use muster_proto::v1 as wire;
use muster_proto::v1::agent_message::Body as FromAgent;
use muster_proto::v1::coordinator_message::Body as ToAgent;
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use muster_state::{Accepted, Body, NodeKnows, ReportReplicas};
use muster_trust::{Peer, Subject};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span, warn};

use super::convert;
use super::{Answers, Details, Leases};
use crate::access::{Caller, caller};
use crate::brain::{Brain, BrainError};
use crate::grpc::{status_of, with_code};
use crate::hub::{Hub, Inbox, LogOrder, SessionChanges};
use crate::logs::LogRelay;

/// How many messages to an agent may be on their way before the writer waits.
const OUTBOUND: usize = 32;
/// How long an agent may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// A command holds at most this many of an agent's reports, so that what it changes fits into an entry.
const REPORTS: usize = 1000;
/// Orders travel in messages of about this many bytes.
const ORDERS_BYTES: usize = 1 << 20;

const SESSION: TaskKind =
    TaskKind { name: "agent-session", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// What sessions work with.
#[derive(Debug, Clone)]
pub(crate) struct SessionContext {
    pub(crate) brain: Brain,
    pub(crate) hub: Arc<Hub>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) details: Arc<Details>,
    pub(crate) logs: Arc<LogRelay>,
    pub(crate) tasks: Tasks,
    /// The cluster's uid: an agent of another cluster is refused.
    pub(crate) cluster: Uid,
}

/// The gRPC service that agents connect to.
#[derive(Debug, Clone)]
pub(crate) struct AgentService {
    context: SessionContext,
    instances: Arc<Mutex<BTreeMap<NodeId, Vec<u8>>>>,
}

type Outbound = mpsc::Sender<Result<wire::CoordinatorMessage, Status>>;

// === impl AgentService ===

impl AgentService {
    pub(crate) fn new(context: SessionContext) -> Self {
        Self { context, instances: Arc::default() }
    }

    async fn admit(&self, hello: &wire::Hello) -> Result<NodeId, Status> {
        let ours = env!("CARGO_PKG_VERSION");
        if hello.protocol != muster_proto::SESSION_PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "this coordinator ({ours}) speaks session protocol {}, the agent ({}) speaks {}; \
                 install the same minor version on both",
                muster_proto::SESSION_PROTOCOL,
                hello.version,
                hello.protocol
            )));
        }
        if !hello.cluster.is_empty() && hello.cluster != self.context.cluster.0 {
            return Err(Status::failed_precondition(format!(
                "the agent's data directory belongs to cluster {}, this is cluster {}; start it \
                 with an empty --data-dir to let it join",
                hello.cluster, self.context.cluster
            )));
        }
        let name = NodeName::new(hello.node_name.clone())
            .map_err(|error| Status::invalid_argument(format!("node name: {error}")))?;
        self.refuse_namesake(hello, &name).await?;
        let body = Body::RegisterNode(convert::register(hello, name));
        match self.context.brain.submit(None, body).await {
            Ok(Accepted::Registered(node)) => Ok(node),
            Ok(_) => Err(Status::internal("a registration was answered as something else")),
            Err(error) => Err(status_of(&error)),
        }
    }

    /// Another agent that runs under the same name keeps it as long as its session lives.
    async fn refuse_namesake(&self, hello: &wire::Hello, name: &NodeName) -> Result<(), Status> {
        let wanted = name.clone();
        let known = self
            .context
            .brain
            .read(move |state| {
                let id = state.node_id(wanted.as_str())?;
                Some((id, state.node(id)?.address.clone()))
            })
            .await
            .map_err(|error| status_of(&error))?;
        let Some((node, address)) = known else { return Ok(()) };
        let holder = self.instances().get(&node).cloned();
        match holder {
            Some(holder) if holder != hello.instance => {
                let reason = Reason::NodeNameTaken { node: name.clone(), address };
                Err(status_of(&BrainError::Rejected(reason)))
            }
            _ => Ok(()),
        }
    }

    /// The lease may have ended between the registration and the begin of the session; from there on it does not.
    async fn register_again(&self, node: NodeId, hello: &wire::Hello) -> Result<(), Status> {
        let is_ready = self
            .context
            .brain
            .read(move |state| state.node(node).is_some_and(|node| node.phase.is_ready()))
            .await
            .map_err(|error| status_of(&error))?;
        if is_ready {
            return Ok(());
        }
        match self.admit(hello).await? {
            same if same == node => Ok(()),
            _ => Err(Status::aborted("the node was removed meanwhile; connect again")),
        }
    }

    fn instances(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Vec<u8>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        self,
        (node, proved): (NodeId, Option<(String, i64)>),
        (hello, inbound): (wire::Hello, Streaming<wire::AgentMessage>),
        outbound: Outbound,
    ) -> Result<(), Status> {
        let context = &self.context;
        context.logs.lost(node);
        let inbox = context.hub.attach_session(node);
        self.instances().insert(node, hello.instance.clone());
        context.leases.present(node);
        // Gangs may have waited for just this node.
        context.hub.ask_for_plan();
        info!(node.name = %hello.node_name, "agent connected");
        let ended = tokio::select! {
            Err(status) = self.register_again(node, &hello) => Err(status),
            ended = write(context, node, (&hello, &inbox), &outbound) => ended.map(|never| match never {}),
            ended = read(context, node, (inbound, &outbound)) => ended,
            deposed = context.brain.deposed() => Err(status_of(&deposed)),
            status = revoked(context, proved) => Err(status),
        };
        // Otherwise the agent has a newer session, which all of this belongs to.
        if context.hub.detach_session(node, &inbox) {
            context.logs.lost(node);
            self.instances().remove(&node);
            context.leases.absent(node);
        }
        // An agent that was killed, or a cable that was pulled, is nothing that is wrong here.
        let ended = match ended {
            Err(status) if std::error::Error::source(&status).is_some() => {
                info!(node.name = %hello.node_name, why = %status.message(), "the agent's connection broke");
                return Ok(());
            }
            ended => ended,
        };
        info!(node.name = %hello.node_name, "agent disconnected");
        if let Err(status) = &ended {
            // The agent reconnects; it should read why in its log.
            let _ = outbound.try_send(Err(status.clone()));
        }
        ended
    }
}

#[tonic::async_trait]
impl wire::agents_server::Agents for AgentService {
    type SessionStream = ReceiverStream<Result<wire::CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = caller(&request)?;
        let since = request.extensions().get::<Peer>().map_or(0, |peer| peer.since);
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HELLO_WITHIN, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
        let Some(FromAgent::Hello(hello)) = first.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("a session starts with Hello"));
        };
        let proved = prove(&caller, &hello)?.map(|subject| (subject, since));
        let node = self.admit(&hello).await?;
        let (outbound, stream) = mpsc::channel(OUTBOUND);
        let span = info_span!("session", muster.node.id = %node);
        let session = self.clone().run((node, proved), (hello, inbound), outbound);
        self.context.tasks.spawn(SESSION, session.instrument(span));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn send_log(
        &self,
        request: Request<Streaming<wire::LogUpload>>,
    ) -> Result<Response<wire::SendLogReply>, Status> {
        self.context.logs.receive(request.into_inner()).await?;
        Ok(Response::new(wire::SendLogReply {}))
    }
}

/// The certificate names the node and the agent that speak, and nobody else.
fn prove(caller: &Caller, hello: &wire::Hello) -> Result<Option<String>, Status> {
    let Caller::Agent { node, agent } = caller else { return Ok(None) };
    if *node == hello.node_name && *agent == hello.agent {
        return Ok(Some(Subject::Agent { node: node.clone(), agent: agent.clone() }.to_string()));
    }
    Err(with_code(
        Code::PermissionDenied,
        "M1014",
        format!(
            "the certificate is for node {node}, and the agent says that it is {}; give it the name back with --node-name, \
             or let it join anew with --join-token-file and an empty data directory",
            hello.node_name
        ),
    ))
}

/// Ends once the certificate that a session began with was taken back.
async fn revoked(context: &SessionContext, proved: Option<(String, i64)>) -> Status {
    let Some((subject, since)) = proved else { return std::future::pending().await };
    let mut known = context.brain.known();
    match known.wait_for(|known| known.is_revoked(&subject, since)).await {
        Ok(_) => with_code(
            Code::Unauthenticated,
            "M1009",
            format!("the certificate of {subject} was taken back"),
        ),
        Err(_) => status_of(&BrainError::Stopping),
    }
}

async fn send(outbound: &Outbound, body: ToAgent) -> Result<(), Status> {
    let message = wire::CoordinatorMessage { body: Some(body) };
    outbound.send(Ok(message)).await.map_err(|_| Status::cancelled("the agent is gone"))
}

/// Sends orders in as many pieces as they need.
async fn send_orders(
    outbound: &Outbound,
    (full, orders): (bool, Vec<wire::Order>),
) -> Result<(), Status> {
    let mut piece = wire::Orders { full, ..wire::Orders::default() };
    let mut bytes = 0;
    for order in orders {
        let length = order.encoded_len();
        if bytes > 0 && bytes + length > ORDERS_BYTES {
            let sent = std::mem::take(&mut piece);
            send(outbound, ToAgent::Orders(wire::Orders { more: true, ..sent })).await?;
            bytes = 0;
        }
        bytes += length;
        piece.orders.push(order);
    }
    send(outbound, ToAgent::Orders(piece)).await
}

async fn write(
    context: &SessionContext,
    node: NodeId,
    (hello, inbox): (&wire::Hello, &Arc<Inbox<SessionChanges>>),
    outbound: &Outbound,
) -> Result<Infallible, Status> {
    let logs = hello.log_jobs.clone();
    let (orders, forgotten) = context
        .brain
        .read(move |state| {
            let gone = |uid: &String| state.job_by_uid(&Uid(uid.clone())).is_none();
            let forgotten: Vec<String> = logs.into_iter().filter(gone).collect();
            let orders = state.orders_for(node);
            (orders.iter().map(convert::order).collect::<Vec<_>>(), forgotten)
        })
        .await
        .map_err(|error| status_of(&error))?;
    // By now a majority has confirmed that this member leads, on which the agent relies.
    let welcome = wire::Welcome {
        lease_ms: Millis::from(context.leases.span()).0,
        cluster: context.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        answers: true,
        members: context.brain.book().borrow().values().cloned().collect(),
    };
    send(outbound, ToAgent::Welcome(welcome)).await?;
    send_orders(outbound, (true, orders)).await?;
    if !forgotten.is_empty() {
        send(outbound, ToAgent::ForgetJobs(wire::ForgetJobs { uids: forgotten })).await?;
    }
    let mut book = context.brain.book();
    book.mark_changed();
    loop {
        tokio::select! {
            changes = inbox.take() => pass_on(context, (node, changes), outbound).await?,
            changed = book.changed() => {
                changed.map_err(|_| status_of(&BrainError::Stopping))?;
                let addresses = book.borrow_and_update().values().cloned().collect();
                let members = wire::CoordinatorMembers { addresses };
                send(outbound, ToAgent::Members(members)).await?;
            }
        }
    }
}

async fn pass_on(
    context: &SessionContext,
    (node, changes): (NodeId, SessionChanges),
    outbound: &Outbound,
) -> Result<(), Status> {
    let replicas = changes.replicas;
    if !replicas.is_empty() {
        let orders = context
            .brain
            .read(move |state| {
                let order = |id| match state.order(id) {
                    Some((of, ordered)) if of == node => convert::order(&ordered),
                    // It is gone, or has been given to another node since.
                    _ => convert::clear(id),
                };
                replicas.into_iter().map(order).collect()
            })
            .await
            .map_err(|error| status_of(&error))?;
        send_orders(outbound, (false, orders)).await?;
    }
    if !changes.gone.is_empty() {
        let uids = changes.gone.into_iter().map(|uid| uid.0).collect();
        send(outbound, ToAgent::ForgetJobs(wire::ForgetJobs { uids })).await?;
    }
    for order in changes.logs {
        let body = match order {
            LogOrder::Open(open) => ToAgent::LogOpen(open),
            LogOrder::Close(stream) => ToAgent::LogClose(wire::LogClose { stream }),
        };
        send(outbound, body).await?;
    }
    Ok(())
}

async fn read(
    context: &SessionContext,
    node: NodeId,
    (mut inbound, outbound): (Streaming<wire::AgentMessage>, &Outbound),
) -> Result<(), Status> {
    loop {
        let next = tokio::time::timeout(context.leases.span(), inbound.message()).await;
        let Ok(next) = next else {
            return Err(Status::deadline_exceeded("nothing was heard for a whole lease"));
        };
        let Some(message) = next? else { return Ok(()) };
        match message.body {
            Some(FromAgent::Reports(reports)) => take_reports(context, node, reports).await?,
            Some(FromAgent::Progress(progress)) => {
                if let Some((id, fence)) = convert::replica(progress.replica)
                    && context.details.set(id, fence, &progress.text)
                {
                    context.hub.job_detail_changed(id.job);
                }
            }
            Some(FromAgent::Heartbeat(beat)) => {
                context.leases.heard(node, convert::beat(&beat));
                context.answers.ask(node, beat.number, outbound);
            }
            Some(FromAgent::Knows(knows)) => {
                let body = Body::NodeKnows(NodeKnows { node, members: knows.members });
                context.brain.submit(None, body).await.map_err(|error| status_of(&error))?;
            }
            Some(FromAgent::Hello(_)) => {
                return Err(Status::invalid_argument("Hello is said once"));
            }
            None => warn!("the agent sent something this version does not know"),
        }
    }
}

async fn take_reports(
    context: &SessionContext,
    node: NodeId,
    reports: wire::Reports,
) -> Result<(), Status> {
    let reports: Vec<_> = reports.reports.into_iter().filter_map(convert::report).collect();
    for report in &reports {
        context.details.forget(report.id);
    }
    let pieces = reports.chunks(REPORTS);
    let bodies: Vec<Body> = pieces
        .map(|reports| Body::ReportReplicas(ReportReplicas { node, reports: reports.to_vec() }))
        .collect();
    for outcome in context.brain.submit_all(bodies).await {
        outcome.map_err(|error| status_of(&error))?;
    }
    Ok(())
}
