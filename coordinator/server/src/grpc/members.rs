//! The members of the coordinator.

use muster_consensus::{MemberId as RaftId, Role, Status as Standing};
use muster_model::MemberId;
use muster_proto::v1 as wire;
use muster_state::{Body, Member, MemberPhase, RemoveMember};
use tonic::{Code, Request, Response, Status};

use super::status::{status_of, with_code};
use crate::brain::Brain;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct MembersApi {
    brain: Brain,
}

impl MembersApi {
    pub(crate) fn new(brain: Brain) -> Self {
        Self { brain }
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
