//! How a member calls another one.

use std::time::Duration;

use muster_proto::v1::peers_client::PeersClient;
use muster_proto::v1::trust_client::TrustClient;
use muster_trust::{AddressError, Pass};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A silent connection is asked whether it lives after so long, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

type Connection = InterceptedService<Channel, Pass>;

/// A client of another member.
pub(crate) type PeerClient = PeersClient<Connection>;

/// Calls other members; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pass: Pass,
}

impl Dial {
    /// As somebody.
    pub(crate) fn new(pass: Pass) -> Self {
        Self { pass }
    }

    fn connection(&self, address: &str) -> Result<Connection, AddressError> {
        let dialler = self.pass.dialler();
        let endpoint = dialler
            .endpoint(address)?
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(InterceptedService::new(dialler.channel(&endpoint), self.pass.clone()))
    }

    /// A client of the member at HOST:PORT, which connects when it is used.
    ///
    /// # Errors
    /// When that is no address.
    pub(crate) fn client(&self, address: &str) -> Result<PeerClient, AddressError> {
        let limit = muster_proto::MAX_MESSAGE_BYTES;
        Ok(PeersClient::new(self.connection(address)?)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit))
    }

    /// A client of the cluster's trust at the member at HOST:PORT.
    ///
    /// # Errors
    /// When that is no address.
    pub(crate) fn trust(&self, address: &str) -> Result<TrustClient<Connection>, AddressError> {
        self.connection(address).map(TrustClient::new)
    }
}
