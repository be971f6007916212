//! The members of the coordinator.

use muster_consensus::{MemberId as RaftId, Role, Status as Standing};
use muster_model::MemberId;
use muster_proto::v1 as wire;
use muster_state::{Body, Member, MemberPhase, RemoveMember, State};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::status::{status_of, with_code};
use crate::backup;
use crate::brain::Brain;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct MembersApi {
    brain: Brain,
    cluster: String,
}

impl MembersApi {
    pub(crate) fn new(brain: Brain, cluster: String) -> Self {
        Self { brain, cluster }
    }
}

#[tonic::async_trait]
impl wire::members_server::Members for MembersApi {
    async fn list_members(
        &self,
        _request: Request<wire::ListMembersRequest>,
    ) -> Result<Response<wire::ListMembersReply>, Status> {
        // Whoever does not lead may be out of date, or not even a member any more. Without a leader it says what it knows.
        if let Some(elsewhere) = self.brain.led_by_another() {
            return Err(status_of(&elsewhere));
        }
        let standing = self.brain.status().await.map_err(|error| status_of(&error))?;
        let records = self
            .brain
            .peek(|state| {
                let members = state.tables().members.iter();
                members.map(|(id, member)| (*id, member.clone())).collect::<Vec<_>>()
            })
            .await
            .map_err(|error| status_of(&error))?;
        let members = records.iter().map(|(id, member)| info(&standing, (*id, member))).collect();
        Ok(Response::new(wire::ListMembersReply {
            members,
            term: standing.standing.term.0,
            commit: standing.commit.0,
            answered_by: standing.id.0,
        }))
    }

    async fn remove_member(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::RemoveMemberReply>, Status> {
        let id = MemberId(request.into_inner().member);
        let body = Body::RemoveMember(RemoveMember { id });
        self.brain.submit(None, body).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::RemoveMemberReply {}))
    }

    type BackupStream = ReceiverStream<Result<wire::BackupPiece, Status>>;

    async fn backup(
        &self,
        _request: Request<wire::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let term = self.brain.role().term;
        let state = self.brain.read(State::clone).await.map_err(|error| status_of(&error))?;
        let (pieces, stream) = mpsc::channel(WAITING);
        let cluster = self.cluster.clone();
        tokio::task::spawn_blocking(move || {
            let mut total = 0;
            for data in backup::pieces(&state, (&cluster, term)) {
                total += data.len() as u64;
                let piece = wire::BackupPiece { data, total: None };
                if pieces.blocking_send(Ok(piece)).is_err() {
                    return;
                }
            }
            let last = wire::BackupPiece { data: Vec::new(), total: Some(total) };
            let _ = pieces.blocking_send(Ok(last));
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderReply>, Status> {
        let to = request.into_inner().to;
        let to = (to != 0).then_some(RaftId(to));
        self.brain
            .transfer_leader(to)
            .await
            .map_err(|error| status_of(&error))?
            .map_err(|why| with_code(Code::FailedPrecondition, "M2007", why))?;
        Ok(Response::new(wire::TransferLeaderReply {}))
    }
}

/// How many pieces of a backup may wait for the network.
const WAITING: usize = 4;

fn info(standing: &Standing, (id, member): (MemberId, &Member)) -> wire::MemberInfo {
    let raft = RaftId(id.0);
    let leads = standing.standing.role == Role::Leader;
    let is_own = standing.id == raft;
    let peer = standing.peers.iter().find(|peer| peer.id == raft);
    let membership = &standing.membership;
    let role = if member.phase == MemberPhase::Leaving {
        "Leaving"
    } else if standing.standing.leader == Some(raft) {
        "Leader"
    } else if membership.is_voter(raft) {
        "Voter"
    } else if membership.contains(raft) {
        "Learner"
    } else {
        "Joining"
    };
    wire::MemberInfo {
        member: id.0,
        address: member.address.clone(),
        version: member.version.clone(),
        role: role.into(),
        matched: if leads && is_own {
            Some(standing.durable.0)
        } else {
            peer.map(|peer| peer.matched.0)
        },
        active: if leads && is_own { Some(true) } else { peer.map(|peer| peer.active) },
    }
}
