//! Who the agent proves to be: its certificate, got with a join token and renewed before it ends.

use std::path::Path;
use std::time::{Duration, SystemTime};

use muster_proto::v1 as wire;
use muster_proto::v1::trust_client::TrustClient;
use muster_trust::{CaCertificate, Identity, JoinToken, KeyAndRequest, Pass, Subject, is_distrust};
use thiserror::Error;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tracing::{info, warn};

use super::config::Access;
use super::link::{Link, explain};

/// How long one attempt to join may take.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent that wants to join looks for somebody who takes it in.
const SEEK_FOR: Duration = Duration::from_secs(60);
/// Pauses between attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause after a renewal has failed: a thousandth of a certificate's life.
const AGAIN: Duration = Duration::from_secs(60);

/// Why an agent has no certificate.
#[derive(Debug, Error)]
pub enum Error {
    /// There is none, and no token to get one with.
    #[error(
        "this agent has no certificate{0}: on a member, `muster token create --role agent` makes a join token; give it \
         with --join-token-file"
    )]
    NoToken(&'static str),
    /// The token of the data directory has odd characters.
    #[error("the token cannot be used: it has characters that no token has")]
    Token,
    /// Nobody takes it in.
    #[error("cannot join through {through}: {why}")]
    Refused {
        /// Who was asked.
        through: String,
        /// What came back.
        why: String,
    },
    /// The certificate that is here.
    #[error("the agent's certificate: {0}")]
    Identity(String),
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Identity(error.to_string())
}

/// What the agent shows, and its identity if that is a certificate.
pub(super) async fn pass(
    access: &Access,
    (data, coordinator): (&Path, &str),
    (node, agent): (&str, &str),
) -> Result<(Pass, Option<Identity>), Error> {
    let subject = Subject::Agent { node: node.to_owned(), agent: agent.to_owned() };
    let path = data.join("trust/identity.pem");
    let identity = match access {
        Access::OwnersToken(token) => {
            return Ok((Pass::plain(token).ok_or(Error::Token)?, None));
        }
        Access::Here(certify) => certify(&subject).map_err(Error::Identity)?,
        Access::Joined { token } => {
            let known = Identity::load(&path).map_err(wrong)?;
            let is_good = |identity: &Identity| identity.expires() > SystemTime::now();
            match (known, token) {
                // The first one counts: a token that stays in a unit file is used up by then.
                (Some(known), _) if is_good(&known) && *known.subject() == subject => known,
                (known, Some(token)) => {
                    if known.is_some() {
                        warn!("the certificate has expired or is for another name; joining anew");
                    }
                    let identity = join(coordinator, token, &subject).await?;
                    identity.store(&path).map_err(wrong)?;
                    identity
                }
                (Some(known), None) if is_good(&known) => {
                    return Err(Error::NoToken(" for this node's name"));
                }
                (Some(_), None) => return Err(Error::NoToken(" that has not expired")),
                (None, None) => return Err(Error::NoToken("")),
            }
        }
    };
    Ok((Pass::identity(&identity), Some(identity)))
}

/// Gets a certificate from one of the members with these addresses, separated by commas.
async fn join(addresses: &str, token: &JoinToken, subject: &Subject) -> Result<Identity, Error> {
    let Subject::Agent { node, agent } = subject else { return Err(wrong("this is no agent")) };
    let pass = Pass::pinned(&token.shown(), token.ca).ok_or(Error::Token)?;
    let asked = KeyAndRequest::new().map_err(wrong)?;
    let enrol = wire::EnrolAgent { node: node.clone(), agent: agent.clone() };
    let request = wire::EnrolRequest {
        csr: asked.request().to_vec(),
        r#as: Some(wire::enrol_request::As::Agent(enrol)),
    };
    let addresses: Vec<&str> = addresses.split(',').map(str::trim).collect();
    let mut next = addresses.iter().cycle();
    let mut leader: Option<String> = None;
    let began = tokio::time::Instant::now();
    let mut told = String::new();
    let reply = loop {
        let named = next.next().copied().unwrap_or_default();
        let through = leader.take().unwrap_or_else(|| {
            named.trim_start_matches("https://").trim_end_matches('/').to_owned()
        });
        let refused = |why: String| Error::Refused { through: through.clone(), why };
        let endpoint =
            pass.dialler().endpoint(&through).map_err(|error| refused(error.to_string()))?;
        let channel = pass.dialler().channel(&endpoint.connect_timeout(JOIN_WITHIN));
        let mut client = TrustClient::new(InterceptedService::new(channel, pass.clone()));
        let mut message = tonic::Request::new(request.clone());
        message.set_timeout(JOIN_WITHIN);
        let status = match client.enrol(message).await {
            Ok(reply) => break reply.into_inner(),
            Err(status) => status,
        };
        let why = explain(&status);
        let may_pass = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted
        );
        if !may_pass || is_distrust(&status) || began.elapsed() > SEEK_FOR {
            return Err(refused(why));
        }
        let hint = status.metadata().get("muster-leader").and_then(|value| value.to_str().ok());
        leader = hint.map(ToOwned::to_owned);
        if leader.is_none() {
            if why != told {
                warn!(%through, reason = %why, "nobody takes this agent in; trying on");
                told = why;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let ca = CaCertificate::from_pem(&reply.ca).map_err(wrong)?;
    if ca.fingerprint() != token.ca {
        return Err(wrong("the cluster's authority is not the one that the token names"));
    }
    let identity = asked.certified(&reply.certificate, &ca, &reply.cluster).map_err(wrong)?;
    if identity.subject() != subject {
        return Err(wrong("the certificate that came is for somebody else"));
    }
    info!(cluster = %reply.cluster, "joined; the agent has a certificate of its own now");
    Ok(identity)
}

/// Renews the certificate, for ever.
pub(super) async fn renew(
    identity: Identity,
    link: Link,
    data: std::path::PathBuf,
) -> std::convert::Infallible {
    let path = data.join("trust/identity.pem");
    loop {
        tokio::time::sleep(identity.renews_in(SystemTime::now())).await;
        match renewed(&identity, &link).await {
            Ok(new) => {
                let kept = identity.replace(&new).map_err(|error| error.to_string());
                match kept.and_then(|()| identity.store(&path).map_err(|error| error.to_string())) {
                    Ok(()) => {
                        info!("renewed the agent's certificate");
                        continue;
                    }
                    Err(why) => warn!(%why, "the renewed certificate could not be kept; trying on"),
                }
            }
            Err(why) => warn!(%why, "the agent's certificate could not be renewed; trying on"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn renewed(identity: &Identity, link: &Link) -> Result<Identity, String> {
    let asked = KeyAndRequest::new().map_err(|error| error.to_string())?;
    let mut request = tonic::Request::new(wire::RenewRequest { csr: asked.request().to_vec() });
    request.set_timeout(JOIN_WITHIN);
    let reply = link.trust().renew(request).await.map_err(|status| explain(&status))?;
    let certificate = reply.into_inner().certificate;
    asked
        .certified(&certificate, identity.ca(), identity.cluster())
        .map_err(|error| error.to_string())
}
