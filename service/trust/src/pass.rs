//! How a caller proves who he is, and whom he believes.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::certificate::{CaCertificate, Fingerprint};
use crate::dial::Dialler;
use crate::identity::Identity;

/// What a caller shows, and how it dials; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pass {
    dialler: Dialler,
    bearer: Option<MetadataValue<Ascii>>,
}

/// A bearer token as a header; `None` when it has characters that no token has.
fn header(token: &str) -> Option<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Pass {
    /// A token in the clear, for loopback; `None` when it has characters that no token has.
    #[must_use]
    pub fn plain(token: &str) -> Option<Self> {
        Some(Self { dialler: Dialler::plain(), bearer: Some(header(token)?) })
    }

    /// A certificate.
    #[must_use]
    pub fn identity(identity: &Identity) -> Self {
        Self { dialler: Dialler::with_identity(identity), bearer: None }
    }

    /// A token, to members of the cluster of an authority.
    #[must_use]
    pub fn bearer(token: &str, ca: &CaCertificate) -> Option<Self> {
        Some(Self { dialler: Dialler::trusting(ca), bearer: Some(header(token)?) })
    }

    /// A token, to whoever shows the authority with this fingerprint.
    #[must_use]
    pub fn pinned(token: &str, fingerprint: Fingerprint) -> Option<Self> {
        Some(Self { dialler: Dialler::pinning(fingerprint), bearer: Some(header(token)?) })
    }

    /// How it dials.
    #[must_use]
    pub fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// The scheme of addresses that it dials.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.dialler.is_tls() { "https" } else { "http" }
    }
}

impl Interceptor for Pass {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}
