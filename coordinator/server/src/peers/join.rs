//! Becoming a member, and telling the others where one is.

use std::convert::Infallible;
use std::time::Duration;

use muster_model::MemberId;
use muster_proto::v1 as wire;
use muster_state::{AnnounceMember, Body};
use muster_trust::{AddressError, Authority, JoinToken, KeyAndRequest, Pass, is_distrust};
use tokio::time::Instant;
use tonic::{Response, Status};
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
    let request = join_request(address);
    let reply =
        seek(through, async |at| dial.client(at).map_err(no_member)?.join(request.clone()).await)
            .await?;
    let wire::JoinReply { cluster, member, members } = reply.into_inner();
    let known = members.into_iter().map(|one| (one.member, one.address)).collect();
    info!(%cluster, member, "the cluster takes this member in");
    Ok(Joined { cluster, member, known })
}

/// As [`join`], over TLS with a token. Comes back with the cluster's authority.
///
/// # Errors
/// Why the cluster does not, or that no leader was found in time.
pub(crate) async fn enrol(
    token: &JoinToken,
    through: &str,
    address: &str,
) -> Result<(Joined, Authority), Status> {
    let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let pass = Pass::pinned(&token.shown(), token.ca);
    let dial =
        Dial::new(pass.ok_or_else(|| Status::invalid_argument("the token has odd characters"))?);
    let asked = KeyAndRequest::new().map_err(|error| internal(&error))?;
    let request = wire::EnrolRequest {
        csr: asked.request().to_vec(),
        r#as: Some(wire::enrol_request::As::Member(join_request(address))),
    };
    let reply =
        seek(through, async |at| dial.trust(at).map_err(no_member)?.enrol(request.clone()).await)
            .await?;
    let wire::EnrolReply { cluster, ca, ca_key, member, members, .. } = reply.into_inner();
    let authority =
        Authority::from_pem(&cluster, &ca, &ca_key).map_err(|error| internal(&error))?;
    if authority.certificate().fingerprint() != token.ca {
        return Err(Status::internal(
            "the cluster's authority is not the one that the token names",
        ));
    }
    let known = members.into_iter().map(|one| (one.member, one.address)).collect();
    info!(%cluster, member, "the cluster takes this member in");
    Ok((Joined { cluster, member, known }, authority))
}

fn join_request(address: &str) -> wire::JoinRequest {
    wire::JoinRequest {
        address: address.to_owned(),
        version: env!("CARGO_PKG_VERSION").into(),
        request_id: Uuid::new_v4().into_bytes().to_vec(),
    }
}

fn no_member(error: AddressError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Asks `through`, and by its hint the leader.
async fn seek<T>(
    through: &str,
    ask: impl AsyncFn(&str) -> Result<Response<T>, Status>,
) -> Result<Response<T>, Status> {
    let by = Instant::now() + JOIN_WITHIN;
    let mut at = through.to_owned();
    loop {
        let status = match ask(&at).await {
            Ok(reply) => return Ok(reply),
            Err(status) => status,
        };
        let is_passing = status.code() == tonic::Code::Unavailable && !is_distrust(&status);
        if !is_passing || Instant::now() > by {
            return Err(explained(status));
        }
        at = leader_of(&status).unwrap_or_else(|| through.to_owned());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A failed connection with its cause, which the transport hides.
fn explained(status: Status) -> Status {
    let mut source = std::error::Error::source(&status);
    let mut deepest = None;
    while let Some(error) = source {
        deepest = Some(error.to_string());
        source = error.source();
    }
    match deepest {
        Some(deepest) => Status::new(status.code(), deepest),
        None => status,
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
