//! Making connections, and checking who answers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::certificate::{CaCertificate, Fingerprint};
use crate::identity::Identity;
use crate::tls::{self, Trusts};

/// The name in every member's certificate. Callers check it whatever address they dial: members move, and what makes
/// somebody the coordinator is the authority's word and not an address.
pub const SERVER_NAME: &str = "coordinator.muster.internal";

/// The name in every agent's certificate, which no member's has: an agent can answer other agents, and nobody takes it for
/// the coordinator.
pub const AGENT_NAME: &str = "agent.muster.internal";

/// An address that nobody can be called at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no address: HOST:PORT, [IPv6]:PORT")]
pub struct AddressError(pub String);

/// Makes connections; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Dialler {
    tls: Option<Tls>,
}

/// As whom one calls, and what the other's certificate must name.
#[derive(Debug, Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    name: &'static str,
}

impl Tls {
    fn to_members(trusts: Trusts, identity: Option<&Identity>) -> Option<Self> {
        Some(Self { config: tls::client(trusts, identity), name: SERVER_NAME })
    }
}

impl Dialler {
    /// In the clear, for loopback.
    #[must_use]
    pub fn plain() -> Self {
        Self { tls: None }
    }

    /// As this identity, to members of its cluster.
    #[must_use]
    pub fn with_identity(identity: &Identity) -> Self {
        let trusts = Trusts::Ca(identity.ca().clone());
        Self { tls: Tls::to_members(trusts, Some(identity)) }
    }

    /// As nobody, to members of the cluster of this authority.
    #[must_use]
    pub fn trusting(ca: &CaCertificate) -> Self {
        Self { tls: Tls::to_members(Trusts::Ca(ca.clone()), None) }
    }

    /// As nobody, to whoever shows the authority with this fingerprint.
    #[must_use]
    pub fn pinning(fingerprint: Fingerprint) -> Self {
        Self { tls: Tls::to_members(Trusts::Pinned(fingerprint), None) }
    }

    /// The same, to agents of the cluster instead of members.
    #[must_use]
    pub fn to_agents(&self) -> Self {
        let tls = self.tls.as_ref();
        Self { tls: tls.map(|tls| Tls { config: Arc::clone(&tls.config), name: AGENT_NAME }) }
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// An endpoint for HOST:PORT, for time limits to be set on.
    ///
    /// # Errors
    /// When that is no address.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, AddressError> {
        let wrong = || AddressError(address.to_owned());
        if address.is_empty() || address.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        // The scheme tells servers whether the way is safe; tonic itself must not try TLS of its own.
        Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())
    }

    /// A channel that connects when it is first used.
    #[must_use]
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(Connector(self.tls.clone()))
    }
}

/// Connects to the authority of a URI.
#[derive(Debug, Clone)]
struct Connector(Option<Tls>);

/// A connection of either sort.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Pin<Box<dyn Io>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let io: Pin<Box<dyn Io>> = match tls {
                None => Box::pin(stream),
                Some(Tls { config, name }) => {
                    let name = ServerName::try_from(name).expect("a DNS name");
                    let connected = TlsConnector::from(config).connect(name, stream).await;
                    Box::pin(Explained(connected.map_err(not_shaken)?))
                }
            };
            Ok(TokioIo::new(io))
        })
    }
}

/// With TLS 1.3 a server's refusal of a certificate comes when the caller believes the handshake to be done.
struct Explained(TlsStream<TcpStream>);

impl AsyncRead for Explained {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer).map_err(explain)
    }
}

impl AsyncWrite for Explained {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

/// As [`explain`], where not even the handshake has come to its end.
fn not_shaken(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => io::Error::new(
            error.kind(),
            "whoever answers there speaks no TLS, or has no room for more connections",
        ),
        _ => explain(error),
    }
}

/// What a refusal means for a person.
fn explain(error: io::Error) -> io::Error {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else {
        return error;
    };
    let why = match tls {
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "whoever answers there is of another cluster: its certificate is not of the authority that is trusted here"
        }
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the certificate of whoever answers there has expired; compare the clocks of both machines"
        }
        Tls::InvalidCertificate(
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. },
        ) => {
            "the certificate of whoever answers there is not valid yet; compare the clocks of both machines"
        }
        Tls::InvalidCertificate(_) => {
            "whoever answers there is no member of the coordinator: its certificate is not one of a member"
        }
        Tls::InvalidMessage(_) => {
            "whoever answers there speaks no TLS: give its address with http://"
        }
        Tls::AlertReceived(Alert::UnknownCA | Alert::DecryptError) => {
            "the coordinator refuses the certificate shown: it is of another cluster"
        }
        Tls::AlertReceived(Alert::CertificateExpired | Alert::BadCertificate) => {
            "the coordinator refuses the certificate shown: it has expired, or the clocks differ"
        }
        _ => return error,
    };
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Whether a call failed because one side does not believe the other: to try on is in vain.
#[must_use]
pub fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    is_because_of(error, io::ErrorKind::PermissionDenied)
}

/// Whether a call failed because nobody listens there: the machine itself has answered.
#[must_use]
pub fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    is_because_of(error, io::ErrorKind::ConnectionRefused)
}

fn is_because_of(error: &(dyn std::error::Error + 'static), kind: io::ErrorKind) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == kind) {
            return true;
        }
        next = error.source();
    }
    false
}
