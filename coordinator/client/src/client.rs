//! The client.

use std::time::Duration;

use muster_proto::v1 as api;
use muster_proto::v1::muster_client::MusterClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

use crate::error::Error;
use crate::retry::RetryPolicy;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct ShowToken(MetadataValue<Ascii>);

impl Interceptor for ShowToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A client of one coordinator; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: MusterClient<InterceptedService<Channel, ShowToken>>,
    address: String,
    retry: RetryPolicy,
}

/// A watch that goes on.
#[derive(Debug)]
pub struct WatchStream {
    events: Streaming<api::WatchEvent>,
    address: String,
}

/// Logs that go on.
#[derive(Debug)]
pub struct LogStream {
    chunks: Streaming<api::LogChunk>,
    address: String,
}

/// Calls with retries: `$call` is made anew for each try.
macro_rules! call {
    ($client:expr, $method:ident, $request:expr) => {{
        let request = $request;
        let mut pauses = $client.retry.pauses();
        loop {
            let mut message = Request::new(request.clone());
            message.set_timeout(CALL_WITHIN);
            let error = match $client.inner.clone().$method(message).await {
                Ok(response) => break Ok(response.into_inner()),
                Err(status) => Error::of(&status, &$client.address),
            };
            match pauses.next() {
                Some(pause) if error.is_transient() => tokio::time::sleep(pause).await,
                _ => break Err(error),
            }
        }
    }};
}

// === impl Client ===

impl Client {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// When the address or the token cannot be used.
    pub fn new(address: &str, token: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|_| Error::Address { address: address.to_owned() })?
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        let limit = muster_proto::MAX_MESSAGE_BYTES;
        let inner = MusterClient::with_interceptor(endpoint.connect_lazy(), ShowToken(value))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        Ok(Self { inner, address: address.to_owned(), retry: RetryPolicy::default() })
    }

    /// The same client with other patience.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Where the coordinator is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Creates or changes jobs. A request without an id gets one.
    ///
    /// # Errors
    /// When the call fails; documents that are refused are in the reply.
    pub async fn apply(&self, mut request: api::ApplyRequest) -> Result<api::ApplyReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, apply, request)
    }

    /// One object.
    ///
    /// # Errors
    /// When the call fails or there is no such object.
    pub async fn get(&self, request: api::GetRequest) -> Result<api::Object, Error> {
        call!(self, get, request)
    }

    /// Objects.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list(&self, request: api::ListRequest) -> Result<api::ListReply, Error> {
        call!(self, list, request)
    }

    /// Deletes a job.
    ///
    /// # Errors
    /// When the call fails or there is no such job.
    pub async fn delete(&self, mut request: api::DeleteRequest) -> Result<api::DeleteReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, delete, request)
    }

    /// Why a job waits.
    ///
    /// # Errors
    /// When the call fails or there is no such job.
    pub async fn explain(&self, request: api::ExplainRequest) -> Result<api::ExplainReply, Error> {
        call!(self, explain, request)
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// When the call fails, or the node is in use or not known.
    pub async fn remove_node(&self, name: &str) -> Result<(), Error> {
        let request = api::RemoveNodeRequest { name: name.to_owned() };
        call!(self, remove_node, request).map(|_| ())
    }

    /// How the coordinator is.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn status(&self) -> Result<api::StatusReply, Error> {
        call!(self, status, api::StatusRequest {})
    }

    /// Starts a watch.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn watch(&self, request: api::WatchRequest) -> Result<WatchStream, Error> {
        let mut pauses = self.retry.pauses();
        loop {
            let error = match self.inner.clone().watch(request.clone()).await {
                Ok(response) => {
                    let events = response.into_inner();
                    return Ok(WatchStream { events, address: self.address.clone() });
                }
                Err(status) => Error::of(&status, &self.address),
            };
            match pauses.next() {
                Some(pause) if error.is_transient() => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Starts to read logs.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn logs(&self, request: api::LogsRequest) -> Result<LogStream, Error> {
        let response = self.inner.clone().logs(request).await;
        let chunks = response.map_err(|status| Error::of(&status, &self.address))?.into_inner();
        Ok(LogStream { chunks, address: self.address.clone() })
    }
}

fn new_request_id() -> Vec<u8> {
    Uuid::new_v4().into_bytes().to_vec()
}

// === impl WatchStream ===

impl WatchStream {
    /// The next event.
    ///
    /// # Errors
    /// When the stream broke; a new watch starts with everything that exists.
    pub async fn next(&mut self) -> Result<Option<api::WatchEvent>, Error> {
        self.events.message().await.map_err(|status| Error::of(&status, &self.address))
    }
}

// === impl LogStream ===

impl LogStream {
    /// The next piece.
    ///
    /// # Errors
    /// When the stream broke or a log could not be read.
    pub async fn next(&mut self) -> Result<Option<api::LogChunk>, Error> {
        self.chunks.message().await.map_err(|status| Error::of(&status, &self.address))
    }
}
