//! The service of the cluster's trust.

use std::sync::Arc;

use muster_model::{
    AccessRole, Grant, JoinRole, MemberId, Millis, Namespace, NodeName, Timestamp, TokenId,
};
use muster_proto::v1 as wire;
use muster_state::{
    Accepted, AddMember, Body, CreateToken, RemoveToken, Revoke, Token, TokenPurpose, UseToken,
};
use muster_trust::{Fingerprint, JoinToken, Subject, UserToken};
use tonic::{Code, Request, Response, Status};
use tracing::info;

use super::holder::Trust;
use crate::access::{Caller, OPERATOR, caller};
use crate::brain::Brain;
use crate::grpc::{request_id, status_of, with_code};

/// The longest life of a token for joining: one that lies about for longer is better made anew.
const LONGEST_JOIN_S: u64 = 30 * 86_400;
/// The most machines that may join with one token.
const MOST_USES: u32 = 100_000;

/// The service. Without trust, at a door in the clear, there is nothing to join with a certificate.
#[derive(Debug, Clone)]
pub(crate) struct TrustApi {
    brain: Brain,
    trust: Option<Arc<Trust>>,
}

fn invalid(message: impl Into<String>) -> Status {
    with_code(Code::InvalidArgument, "M1001", message)
}

impl TrustApi {
    pub(crate) fn new(brain: Brain, trust: Option<Trust>) -> Self {
        Self { brain, trust: trust.map(Arc::new) }
    }

    fn trust(&self) -> Result<&Trust, Status> {
        self.trust.as_deref().ok_or_else(|| {
            with_code(
                Code::FailedPrecondition,
                "M1015",
                "this coordinator listens on loopback in the clear, where nobody joins from other machines; start it with \
                 --tls, or with a --listen address that others can reach",
            )
        })
    }

    async fn submit(&self, body: Body) -> Result<Accepted, Status> {
        self.brain.submit(None, body).await.map_err(|error| status_of(&error))
    }

    fn issue(&self, request: &[u8], subject: &Subject) -> Result<Vec<u8>, Status> {
        self.trust()?.issue(request, subject).map_err(|error| invalid(format!("csr: {error}")))
    }

    /// The member that joins: its record, and where the others are.
    async fn add_member(&self, join: wire::JoinRequest) -> Result<u64, Status> {
        let id = request_id(&join.request_id)?;
        let add = AddMember { address: join.address, version: join.version };
        let added = self.brain.submit(id, Body::AddMember(add)).await;
        match added.map_err(|error| status_of(&error))? {
            Accepted::Member(MemberId(member)) => Ok(member),
            _ => Err(Status::internal("a new member was answered as something else")),
        }
    }
}

#[tonic::async_trait]
impl wire::trust_server::Trust for TrustApi {
    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::EnrolReply>, Status> {
        use wire::enrol_request::As;
        let (token, hash) = caller(&request)?.require_joiner()?;
        let trust = self.trust()?;
        let wire::EnrolRequest { csr, r#as } = request.into_inner();
        let key = key_of(&csr);
        let role = match &r#as {
            Some(As::Agent(agent)) => {
                NodeName::new(agent.node.clone())
                    .map_err(|error| invalid(format!("agent.node: {error}")))?;
                JoinRole::Agent
            }
            Some(As::Member(_)) => JoinRole::Member,
            None => return Err(invalid("as: whoever joins is an agent or a member")),
        };
        // First what can fail for its own reasons, so that a token is not used up by a damaged request.
        self.issue(&csr, &Subject::Member { id: 1 })?;
        self.submit(Body::UseToken(UseToken { id: token.clone(), hash, role, key })).await?;
        let mut reply = wire::EnrolReply {
            cluster: trust.authority().cluster().to_owned(),
            ca: trust.authority().certificate().pem(),
            ..wire::EnrolReply::default()
        };
        let subject = match r#as {
            Some(As::Agent(wire::EnrolAgent { node, agent })) => Subject::Agent { node, agent },
            Some(As::Member(join)) => {
                reply.member = self.add_member(join).await?;
                reply.ca_key = trust.authority().key_pem().to_owned();
                let known = self.brain.book().borrow().clone();
                let address = |(member, address)| wire::PeerAddress { member, address };
                reply.members = known.into_iter().map(address).collect();
                Subject::Member { id: reply.member }
            }
            None => return Err(invalid("as: whoever joins is an agent or a member")),
        };
        reply.certificate = self.issue(&csr, &subject)?;
        info!(%subject, %token, "a machine joined with a token");
        Ok(Response::new(reply))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewReply>, Status> {
        let Caller::Agent { node, agent } = caller(&request)? else {
            return Err(invalid("only agents renew their certificates here"));
        };
        let subject = Subject::Agent { node, agent };
        let certificate = self.issue(&request.into_inner().csr, &subject)?;
        info!(%subject, "renewed a certificate");
        Ok(Response::new(wire::RenewReply { certificate }))
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenReply>, Status> {
        use wire::create_token_request::Purpose;
        let wire::CreateTokenRequest { ttl_s, purpose } = request.into_inner();
        // Without TLS there is nothing to pin.
        let ca = match &self.trust {
            Some(trust) => trust.authority().certificate().fingerprint(),
            None => Fingerprint::of(&[]),
        };
        let life = (ttl_s > 0).then(|| Millis::from_secs(ttl_s));
        let (id, hash, purpose, token) = match purpose {
            Some(Purpose::Join(join)) => {
                self.trust()?;
                let role = match &*join.role {
                    "agent" => JoinRole::Agent,
                    "member" => JoinRole::Member,
                    other => {
                        return Err(invalid(format!(
                            "role: {other:?} is neither agent nor member"
                        )));
                    }
                };
                if !(1..=LONGEST_JOIN_S).contains(&ttl_s) {
                    return Err(invalid(format!(
                        "ttl: a join token lives for one second to {} days",
                        LONGEST_JOIN_S / 86_400
                    )));
                }
                if !(1..=MOST_USES).contains(&join.uses) {
                    return Err(invalid(format!(
                        "uses: 1 to {MOST_USES} machines may join with a token"
                    )));
                }
                let token = JoinToken::new(ca);
                let purpose = TokenPurpose::Join { role, uses: join.uses, used_by: Vec::new() };
                (format!("join-{}", token.id), token.hash(), purpose, token.expose())
            }
            Some(Purpose::User(user)) => {
                let grants = grants(&user)?;
                let token = UserToken::new(&user.name, ca);
                let purpose = TokenPurpose::User { grants };
                (format!("user-{}", user.name), token.hash(), purpose, token.expose())
            }
            None => return Err(invalid("purpose: a token is for joining or for a user")),
        };
        let create = CreateToken { id: TokenId(id.clone()), hash: hash.0, purpose, life };
        self.submit(Body::CreateToken(create)).await?;
        info!(token = %id, "made a token");
        Ok(Response::new(wire::CreateTokenReply { id, token }))
    }

    async fn list_tokens(
        &self,
        _request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensReply>, Status> {
        let tokens = self
            .brain
            .read(|state| {
                let tokens = state.tables().tokens.iter();
                tokens.map(|(id, token)| info_of(id, token)).collect()
            })
            .await
            .map_err(|error| status_of(&error))?;
        Ok(Response::new(wire::ListTokensReply { tokens }))
    }

    async fn remove_token(
        &self,
        request: Request<wire::RemoveTokenRequest>,
    ) -> Result<Response<wire::RemoveTokenReply>, Status> {
        let id = TokenId(request.into_inner().id);
        self.submit(Body::RemoveToken(RemoveToken { id })).await?;
        Ok(Response::new(wire::RemoveTokenReply {}))
    }

    async fn revoke(
        &self,
        request: Request<wire::RevokeRequest>,
    ) -> Result<Response<wire::RevokeReply>, Status> {
        let subject = request.into_inner().subject;
        let cluster = "any";
        let is_subject = Subject::parse(&format!("muster://{cluster}/{subject}"), cluster).is_ok();
        if !is_subject {
            return Err(invalid(format!(
                "subject: {subject:?} is none; they are written agent/NODE/AGENT, member/ID or user/NAME"
            )));
        }
        self.submit(Body::Revoke(Revoke { subject })).await?;
        Ok(Response::new(wire::RevokeReply {}))
    }

    async fn who_am_i(
        &self,
        request: Request<wire::WhoAmIRequest>,
    ) -> Result<Response<wire::WhoAmIReply>, Status> {
        let caller = caller(&request)?;
        let grants: Vec<Grant> = match &caller {
            Caller::Owner => vec![Grant::everything()],
            Caller::User { grants, .. } => grants.to_vec(),
            _ => Vec::new(),
        };
        let who = match &caller {
            Caller::User { name, .. } => name.clone(),
            other => other.to_string(),
        };
        Ok(Response::new(wire::WhoAmIReply { who, grants: grants.iter().map(grant_of).collect() }))
    }
}

/// What tells one machine's request from another's.
fn key_of(csr: &[u8]) -> [u8; 32] {
    Fingerprint::of(csr).bytes()
}

/// What a request grants, checked.
fn grants(user: &wire::UserPurpose) -> Result<Vec<Grant>, Status> {
    if !muster_model::is_dns1035_label(&user.name) || user.name == OPERATOR {
        return Err(invalid(format!(
            "name: {:?} cannot be a user's; use at most 63 of a-z, 0-9 and -, beginning with a letter, and not {OPERATOR}",
            user.name
        )));
    }
    if user.grants.is_empty() {
        return Err(invalid("grants: a user without a role can do nothing; use --role"));
    }
    let mut grants = Vec::new();
    for (index, grant) in user.grants.iter().enumerate() {
        let role = AccessRole::named(&grant.role).ok_or_else(|| {
            invalid(format!(
                "grants[{index}].role: {:?} is none of viewer, editor, admin",
                grant.role
            ))
        })?;
        let namespace = (!grant.namespace.is_empty())
            .then(|| Namespace::new(grant.namespace.clone()))
            .transpose()
            .map_err(|error| invalid(format!("grants[{index}].namespace: {error}")))?;
        grants.push(Grant { namespace, role });
    }
    Ok(grants)
}

fn grant_of(grant: &Grant) -> wire::Grant {
    let namespace = grant.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
    wire::Grant { role: grant.role.to_string(), namespace }
}

fn info_of(id: &TokenId, token: &Token) -> wire::TokenInfo {
    let mut info = wire::TokenInfo {
        id: id.to_string(),
        created: token.created.0,
        expires: token.expires.map(|Timestamp(at)| at),
        ..wire::TokenInfo::default()
    };
    match &token.purpose {
        TokenPurpose::Join { role, uses, used_by } => {
            info.purpose = "join".into();
            info.role = role.to_string();
            info.uses = *uses;
            info.used = u32::try_from(used_by.len()).unwrap_or(u32::MAX);
        }
        TokenPurpose::User { grants } => {
            info.purpose = "user".into();
            info.grants = grants.iter().map(grant_of).collect();
        }
    }
    info
}
