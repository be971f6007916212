//! Becoming a member, and telling the others where one is.

use std::convert::Infallible;
use std::time::Duration;

use muster_model::MemberId;
use muster_proto::v1 as wire;
use muster_state::{AnnounceMember, Body};
use tokio::time::Instant;
use tonic::Status;
use tracing::{info, warn};
use uuid::Uuid;

use super::dial::Dial;
use crate::brain::{AddressBook, Brain, BrainError};
use crate::grpc::leader_of;

/// How long a member that wants to join looks for the leader.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// What a cluster says to a new member.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    /// The cluster's uid.
    pub(crate) cluster: String,
    /// The id of the new member.
    pub(crate) member: u64,
    /// Where the others are.
    pub(crate) known: AddressBook,
}

/// Asks a member of a cluster, and by its hint the leader, to take this one in.
///
/// # Errors
/// Why the cluster does not, or that no leader was found in time.
pub(crate) async fn join(dial: &Dial, through: &str, address: &str) -> Result<Joined, Status> {
    let request = wire::JoinRequest {
        address: address.to_owned(),
        version: env!("CARGO_PKG_VERSION").into(),
        request_id: Uuid::new_v4().into_bytes().to_vec(),
    };
    let by = Instant::now() + JOIN_WITHIN;
    let mut at = through.to_owned();
    loop {
        let mut client = dial.client(&at).map_err(|error| {
            Status::invalid_argument(format!("{at} is no address of a member: {error}"))
        })?;
        let status = match client.join(request.clone()).await {
            Ok(reply) => {
                let wire::JoinReply { cluster, member, members } = reply.into_inner();
                let known = members.into_iter().map(|one| (one.member, one.address)).collect();
                info!(%cluster, member, "the cluster takes this member in");
                return Ok(Joined { cluster, member, known });
            }
            Err(status) => status,
        };
        if status.code() != tonic::Code::Unavailable || Instant::now() > by {
            return Err(status);
        }
        at = leader_of(&status).unwrap_or_else(|| through.to_owned());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sees to it that the state says where this member is, whoever leads.
pub(crate) async fn announce(
    brain: Brain,
    dial: Dial,
    (member, address): (u64, String),
) -> Result<Infallible, BrainError> {
    let version = env!("CARGO_PKG_VERSION");
    loop {
        let role = brain.leader_known().await?;
        let is_told = brain
            .peek({
                let address = address.clone();
                move |state| {
                    let known = state.member(MemberId(member));
                    known.is_some_and(|one| one.address == address && one.version == version)
                }
            })
            .await?;
        if is_told {
            return std::future::pending().await;
        }
        let refused = if role.leads {
            let announce = AnnounceMember {
                id: MemberId(member),
                address: address.clone(),
                version: version.into(),
            };
            brain.submit(None, Body::AnnounceMember(announce)).await.err().map(|e| e.to_string())
        } else {
            let leader = role.leader.and_then(|leader| brain.book().borrow().get(&leader).cloned());
            match leader.and_then(|leader| dial.client(&leader).ok()) {
                Some(mut client) => {
                    let request = wire::AnnounceRequest {
                        member,
                        address: address.clone(),
                        version: version.into(),
                    };
                    client.announce(request).await.err().map(|status| status.message().to_owned())
                }
                None => Some("the leader's address is not known yet".into()),
            }
        };
        if let Some(why) = refused {
            warn!(%why, "this member could not tell its address; trying on");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
