//! How a member calls another one.

use std::time::Duration;

use muster_proto::v1::peers_client::PeersClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A silent connection is asked whether it lives after so long, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A client of another member.
pub(crate) type PeerClient = PeersClient<InterceptedService<Channel, ShowToken>>;

/// Shows the cluster's token.
#[derive(Debug, Clone)]
pub(crate) struct ShowToken(MetadataValue<Ascii>);

impl Interceptor for ShowToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Calls other members; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    token: ShowToken,
}

impl Dial {
    /// With the cluster's token; `None` when it has characters that no token has.
    pub(crate) fn new(token: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self { token: ShowToken(value) })
    }

    /// A client of the member at HOST:PORT, which connects when it is used.
    ///
    /// # Errors
    /// When that is no address.
    pub(crate) fn client(&self, address: &str) -> Result<PeerClient, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let limit = muster_proto::MAX_MESSAGE_BYTES;
        Ok(PeersClient::with_interceptor(endpoint.connect_lazy(), self.token.clone())
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit))
    }
}
