//! What other members may ask of this one.

use std::sync::Arc;

use muster_model::MemberId;
use muster_proto::v1 as wire;
use muster_state::{Accepted, AddMember, AnnounceMember, Body};
use muster_store::Snapshots;
use tokio::sync::Mutex;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::snapshot;
use crate::brain::{Brain, BrainError, PeerInbox};
use crate::grpc::{request_id, status_of};
use crate::rest::{RestContext, forwarded};

/// The gRPC service that members call.
#[derive(Debug, Clone)]
pub(crate) struct PeerService {
    brain: Brain,
    inbox: PeerInbox,
    snapshots: Snapshots,
    cluster: String,
    /// What answers requests that came to others' HTTP doors.
    rest: RestContext,
    /// Streams of peers end when this member stops.
    stop: CancellationToken,
    /// One snapshot at a time: a leader that has given up may still be sending the same one.
    receiving: Arc<Mutex<()>>,
}

impl PeerService {
    pub(crate) fn new(
        brain: Brain,
        inbox: PeerInbox,
        (snapshots, cluster): (Snapshots, String),
        (rest, stop): (RestContext, CancellationToken),
    ) -> Self {
        Self { brain, inbox, snapshots, cluster, rest, stop, receiving: Arc::default() }
    }

    fn check(&self, cluster: &str) -> Result<(), Status> {
        if cluster == self.cluster {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "this is a member of cluster {}, and the caller belongs to {cluster}: check the addresses",
            self.cluster
        )))
    }
}

#[tonic::async_trait]
impl wire::peers_server::Peers for PeerService {
    type ForwardStream = ReceiverStream<Result<wire::ForwardAnswer, Status>>;

    async fn forward(
        &self,
        request: Request<wire::ForwardRequest>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        forwarded(&self.rest, request.into_inner()).await.map(Response::new)
    }

    async fn deliver(
        &self,
        request: Request<Streaming<wire::PeerMessages>>,
    ) -> Result<Response<wire::DeliverReply>, Status> {
        let mut inbound = request.into_inner();
        let Some(hello) = inbound.message().await? else {
            return Ok(Response::new(wire::DeliverReply {}));
        };
        self.check(&hello.cluster)?;
        loop {
            let more = tokio::select! {
                more = inbound.message() => more?,
                () = self.stop.cancelled() => return Err(status_of(&BrainError::Stopping)),
            };
            let Some(more) = more else { return Ok(Response::new(wire::DeliverReply {})) };
            self.inbox.messages(more.messages).await.map_err(|error| status_of(&error))?;
        }
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPiece>>,
    ) -> Result<Response<wire::SendSnapshotReply>, Status> {
        let mut pieces = request.into_inner();
        let head = pieces.message().await?.and_then(|piece| piece.head);
        let head =
            head.ok_or_else(|| Status::invalid_argument("a snapshot begins with its head"))?;
        self.check(&head.cluster)?;
        let Ok(_alone) = self.receiving.try_lock() else {
            return Err(Status::resource_exhausted("another snapshot is on its way"));
        };
        let message = tokio::select! {
            message = snapshot::receive(head, pieces, self.snapshots.clone()) => message?,
            () = self.stop.cancelled() => return Err(status_of(&BrainError::Stopping)),
        };
        self.inbox.messages(vec![message.into()]).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::SendSnapshotReply {}))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinReply>, Status> {
        let request = request.into_inner();
        let id = request_id(&request.request_id)?;
        let body =
            Body::AddMember(AddMember { address: request.address, version: request.version });
        let accepted = self.brain.submit(id, body).await.map_err(|error| status_of(&error))?;
        let Accepted::Member(MemberId(member)) = accepted else {
            return Err(Status::internal("a new member was answered as something else"));
        };
        let members = self.brain.book().borrow().clone();
        let members = members
            .into_iter()
            .map(|(member, address)| wire::PeerAddress { member, address })
            .collect();
        Ok(Response::new(wire::JoinReply { cluster: self.cluster.clone(), member, members }))
    }

    async fn announce(
        &self,
        request: Request<wire::AnnounceRequest>,
    ) -> Result<Response<wire::AnnounceReply>, Status> {
        let wire::AnnounceRequest { member, address, version } = request.into_inner();
        let body = Body::AnnounceMember(AnnounceMember { id: MemberId(member), address, version });
        self.brain.submit(None, body).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::AnnounceReply {}))
    }
}
