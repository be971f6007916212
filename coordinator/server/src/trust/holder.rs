//! What a member holds of the cluster's trust, in `trust/` of its data directory.
//!
//! `ca.crt` and `ca.key` are the authority, which each member has. The member's own certificate is made at each start and
//! renewed; it is nowhere on disk. `operator.pem` is a certificate for whoever owns the data directory, so that
//! `muster` on this machine needs no token.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use muster_trust::{
    Authority, AuthorityError, CsrError, FileError, Identity, IdentityError, KeyAndRequest, Subject,
};
use thiserror::Error;
use tracing::{info, warn};

use crate::access::OPERATOR;

/// How long a certificate lives. Short, so that one that is lost is soon worth nothing; long enough for a night
/// without a coordinator.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The pause after a renewal has failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Why a member has no trust.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The member's own certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A key.
    #[error(transparent)]
    Key(#[from] CsrError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There are others, and this one has no key.
    #[error(
        "this member has no {0}, and the cluster has others: remove this one with `muster members remove`, and join anew \
         with --join-token-file"
    )]
    NoKey(String),
}

/// See the module's documentation. Cheap to clone.
const OPERATOR_FILE: &str = "operator.pem";

#[derive(Debug, Clone)]
pub(crate) struct Trust {
    authority: Arc<Authority>,
    identity: Identity,
    directory: PathBuf,
}

fn trust_directory(data: &Path) -> PathBuf {
    data.join("trust")
}

/// Where the trust of the HTTP door lies in the data directory of a member without TLS.
fn https_directory(data: &Path) -> PathBuf {
    data.join("https")
}

/// The certificate of whoever owns the data directory of a member with TLS.
#[must_use]
pub fn operator_path(data: &Path) -> PathBuf {
    trust_directory(data).join(OPERATOR_FILE)
}

/// The certificate of the authority that the HTTP door's comes from, in a member's data directory.
#[must_use]
pub fn https_authority_path(data: &Path, is_tls: bool) -> PathBuf {
    let directory = if is_tls { trust_directory(data) } else { https_directory(data) };
    directory.join(muster_trust::CA_FILE)
}

impl Trust {
    /// Where it lies in a data directory.
    pub(crate) fn directory(data: &Path) -> PathBuf {
        trust_directory(data)
    }

    /// As [`Trust::open`], for the HTTP door of a member that otherwise has no TLS: clients of Kubernetes show no token in
    /// the clear.
    pub(crate) fn open_https(data: &Path, named: (&str, u64)) -> Result<Self, Error> {
        Self::open_in(https_directory(data), named, true)
    }

    /// Reads the authority, or makes it where there is none and no other member could have it.
    pub(crate) fn open(
        data: &Path,
        (cluster, member): (&str, u64),
        is_alone: bool,
    ) -> Result<Self, Error> {
        Self::open_in(Self::directory(data), (cluster, member), is_alone)
    }

    fn open_in(
        directory: PathBuf,
        (cluster, member): (&str, u64),
        is_alone: bool,
    ) -> Result<Self, Error> {
        let now = SystemTime::now();
        let authority = match Authority::load(&directory, cluster)? {
            Some(authority) => authority,
            None if is_alone => {
                let authority = Authority::create(cluster, now)?;
                authority.store(&directory)?;
                info!(fingerprint = %authority.certificate().fingerprint(), "made the cluster's certificate authority");
                authority
            }
            None => return Err(Error::NoKey(directory.join("ca.key").display().to_string())),
        };
        let identity = certify(&authority, &Subject::Member { id: member })?;
        let trust = Self { authority: Arc::new(authority), identity, directory };
        trust.write_operator()?;
        Ok(trust)
    }

    /// Who this member is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The authority.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// An identity for somebody in this very process.
    pub(crate) fn certify(&self, subject: &Subject) -> Result<Identity, Error> {
        certify(&self.authority, subject)
    }

    /// A certificate in DER.
    pub(crate) fn issue(
        &self,
        request: &[u8],
        subject: &Subject,
    ) -> Result<Vec<u8>, AuthorityError> {
        self.authority.issue(request, subject, (SystemTime::now(), LIFE))
    }

    fn write_operator(&self) -> Result<(), Error> {
        let operator = self.certify(&Subject::User { name: OPERATOR.into() })?;
        Ok(operator.store(&self.directory.join(OPERATOR_FILE))?)
    }

    /// Renews what this member holds, for ever.
    pub(crate) async fn renew(self) -> Infallible {
        loop {
            tokio::time::sleep(self.identity.renews_in(SystemTime::now())).await;
            let renewed = self.certify(self.identity.subject()).and_then(|new| {
                self.identity.replace(&new)?;
                self.write_operator()
            });
            match renewed {
                Ok(()) => info!("renewed this member's certificate"),
                Err(error) => {
                    warn!(%error, "this member's certificate could not be renewed; trying on");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

fn certify(authority: &Authority, subject: &Subject) -> Result<Identity, Error> {
    let asked = KeyAndRequest::new()?;
    let signed = authority.issue(asked.request(), subject, (SystemTime::now(), LIFE))?;
    Ok(asked.certified(&signed, authority.certificate(), authority.cluster())?)
}
