//! The client.

use std::time::{Duration, Instant};

use muster_proto::v1 as api;
use muster_proto::v1::members_client::MembersClient;
use muster_proto::v1::muster_client::MusterClient;
use muster_proto::v1::trust_client::TrustClient;
use muster_trust::Pass;
use tonic::{Request, Streaming};
use uuid::Uuid;

use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::way::{Connection, Way};

/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_secs(60);

/// A client of a coordinator, whichever of its members leads; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    retry: RetryPolicy,
}

/// A watch that goes on.
#[derive(Debug)]
pub struct WatchStream {
    events: Streaming<api::WatchEvent>,
    address: String,
    way: Way,
}

/// Logs that go on.
#[derive(Debug)]
pub struct LogStream {
    chunks: Streaming<api::LogChunk>,
    address: String,
    way: Way,
}

/// A backup that goes on.
#[derive(Debug)]
pub struct BackupStream {
    pieces: Streaming<api::BackupPiece>,
    address: String,
    way: Way,
}

/// Calls with retries: `$call` is made anew for each try.
macro_rules! call {
    ($client:expr, $service:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let mut pauses = $client.retry.pauses();
        let begin = Instant::now();
        loop {
            let mut message = Request::new(request.clone());
            message.set_timeout(CALL_WITHIN);
            let (address, mut service) = $client.$service();
            let error = match service.$method(message).await {
                Ok(response) => break Ok(response.into_inner()),
                Err(status) => Error::of(&status, &address),
            };
            let leads = $client.way.failed(&address, &error);
            match pauses.next() {
                // A leader that was named is asked at once.
                Some(_) if leads => {}
                Some(pause) if error.is_transient() && begin.elapsed() < $client.retry.give_up => {
                    tokio::time::sleep(pause).await;
                }
                _ => break Err(error),
            }
        }
    }};
}

// === impl Client ===

impl Client {
    /// A client that connects when it is first used. Several members' addresses are separated by commas.
    ///
    /// # Errors
    /// When an address cannot be used, or not with this pass.
    pub fn new(addresses: &str, pass: Pass) -> Result<Self, Error> {
        Ok(Self { way: Way::new(addresses, pass)?, retry: RetryPolicy::default() })
    }

    fn muster(&self) -> (String, MusterClient<Connection>) {
        let (address, connection) = self.way.current();
        let limit = muster_proto::MAX_MESSAGE_BYTES;
        let service = MusterClient::new(connection)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        (address, service)
    }

    fn of_members(&self) -> (String, MembersClient<Connection>) {
        let (address, connection) = self.way.current();
        (address, MembersClient::new(connection))
    }

    fn of_trust(&self) -> (String, TrustClient<Connection>) {
        let (address, connection) = self.way.current();
        (address, TrustClient::new(connection))
    }

    /// The same client with other patience.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Where the coordinator is.
    #[must_use]
    pub fn address(&self) -> String {
        self.way.address()
    }

    /// Creates or changes jobs. A request without an id gets one.
    ///
    /// # Errors
    /// When the call fails; documents that are refused are in the reply.
    pub async fn apply(&self, mut request: api::ApplyRequest) -> Result<api::ApplyReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, muster, apply, request)
    }

    /// One object.
    ///
    /// # Errors
    /// When the call fails or there is no such object.
    pub async fn get(&self, request: api::GetRequest) -> Result<api::Object, Error> {
        call!(self, muster, get, request)
    }

    /// Objects.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list(&self, request: api::ListRequest) -> Result<api::ListReply, Error> {
        call!(self, muster, list, request)
    }

    /// Deletes a job.
    ///
    /// # Errors
    /// When the call fails or there is no such job.
    pub async fn delete(&self, mut request: api::DeleteRequest) -> Result<api::DeleteReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, muster, delete, request)
    }

    /// Why a job waits.
    ///
    /// # Errors
    /// When the call fails or there is no such job.
    pub async fn explain(&self, request: api::ExplainRequest) -> Result<api::ExplainReply, Error> {
        call!(self, muster, explain, request)
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// When the call fails, or the node is in use or not known.
    pub async fn remove_node(&self, name: &str) -> Result<(), Error> {
        let request = api::RemoveNodeRequest { name: name.to_owned() };
        call!(self, muster, remove_node, request).map(|_| ())
    }

    /// Keeps new gangs off a node, or lets them on it again.
    ///
    /// # Errors
    /// When the call fails or there is no such node.
    pub async fn cordon_node(&self, name: &str, cordon: bool) -> Result<api::NodeReply, Error> {
        let (name, request_id) = (name.to_owned(), new_request_id());
        call!(self, muster, cordon_node, api::CordonNodeRequest { name, cordon, request_id })
    }

    /// Changes labels of a node. A request without an id gets one.
    ///
    /// # Errors
    /// When the call fails, there is no such node, or a label has another value already.
    pub async fn label_node(
        &self,
        mut request: api::LabelNodeRequest,
    ) -> Result<api::NodeReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, muster, label_node, request)
    }

    /// Changes taints of a node. A request without an id gets one.
    ///
    /// # Errors
    /// When the call fails, there is no such node or taint, or a taint has another value already.
    pub async fn taint_node(
        &self,
        mut request: api::TaintNodeRequest,
    ) -> Result<api::NodeReply, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        call!(self, muster, taint_node, request)
    }

    /// The gangs that have live ranks on a node.
    ///
    /// # Errors
    /// When the call fails or there is no such node.
    pub async fn gangs_on(&self, node: &str) -> Result<api::ListGangsReply, Error> {
        call!(self, muster, list_gangs, api::ListGangsRequest { node: node.to_owned() })
    }

    /// Makes a gang leave a cordoned node. Its ranks are being stopped when this returns.
    ///
    /// # Errors
    /// When the call fails, the node is not cordoned, or the job is never to be restarted.
    pub async fn evict_gang(&self, request: api::EvictGangRequest) -> Result<(), Error> {
        call!(self, muster, evict_gang, request).map(|_| ())
    }

    /// How the coordinator is.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn status(&self) -> Result<api::StatusReply, Error> {
        call!(self, muster, status, api::StatusRequest {})
    }

    /// Starts a watch.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn watch(&self, request: api::WatchRequest) -> Result<WatchStream, Error> {
        let mut pauses = self.retry.pauses();
        let begin = Instant::now();
        loop {
            let (address, mut service) = self.muster();
            let error = match service.watch(request.clone()).await {
                Ok(response) => {
                    let (events, way) = (response.into_inner(), self.way.clone());
                    return Ok(WatchStream { events, address, way });
                }
                Err(status) => Error::of(&status, &address),
            };
            let leads = self.way.failed(&address, &error);
            match pauses.next() {
                Some(_) if leads => {}
                Some(pause) if error.is_transient() && begin.elapsed() < self.retry.give_up => {
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Starts to read logs.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn logs(&self, request: api::LogsRequest) -> Result<LogStream, Error> {
        let mut redirects = 3;
        loop {
            let (address, mut service) = self.muster();
            let error = match service.logs(request.clone()).await {
                Ok(response) => {
                    let (chunks, way) = (response.into_inner(), self.way.clone());
                    return Ok(LogStream { chunks, address, way });
                }
                Err(status) => Error::of(&status, &address),
            };
            if !self.way.failed(&address, &error) || redirects == 0 {
                return Err(error);
            }
            redirects -= 1;
        }
    }

    /// The members of the coordinator.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn members(&self) -> Result<api::ListMembersReply, Error> {
        call!(self, of_members, list_members, api::ListMembersRequest {})
    }

    /// Starts to read the state as of now, as `muster restore` takes it.
    ///
    /// # Errors
    /// When the leader cannot be asked.
    pub async fn backup(&self) -> Result<BackupStream, Error> {
        let mut pauses = self.retry.pauses();
        let begin = Instant::now();
        loop {
            let (address, mut service) = self.of_members();
            let error = match service.backup(api::BackupRequest {}).await {
                Ok(response) => {
                    let (pieces, way) = (response.into_inner(), self.way.clone());
                    return Ok(BackupStream { pieces, address, way });
                }
                Err(status) => Error::of(&status, &address),
            };
            let leads = self.way.failed(&address, &error);
            match pauses.next() {
                Some(_) if leads => {}
                Some(pause) if error.is_transient() && begin.elapsed() < self.retry.give_up => {
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Takes a member out.
    ///
    /// # Errors
    /// When the call fails, or it is not known or the last one.
    pub async fn remove_member(&self, member: u64) -> Result<(), Error> {
        let request = api::RemoveMemberRequest { member };
        call!(self, of_members, remove_member, request).map(|_| ())
    }

    /// Lets another member lead; 0 is whichever is furthest.
    ///
    /// # Errors
    /// When the call fails, or that member cannot lead.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), Error> {
        let request = api::TransferLeaderRequest { to };
        call!(self, of_members, transfer_leader, request).map(|_| ())
    }
}

// === impl Client: trust ===

impl Client {
    /// Makes a token. The reply is the only place where it can be read.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn create_token(
        &self,
        request: api::CreateTokenRequest,
    ) -> Result<api::CreateTokenReply, Error> {
        call!(self, of_trust, create_token, request)
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_tokens(&self) -> Result<Vec<api::TokenInfo>, Error> {
        call!(self, of_trust, list_tokens, api::ListTokensRequest {}).map(|reply| reply.tokens)
    }

    /// Removes a token: it lets nobody in any more.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn remove_token(&self, id: &str) -> Result<(), Error> {
        let request = api::RemoveTokenRequest { id: id.to_owned() };
        call!(self, of_trust, remove_token, request).map(|_| ())
    }

    /// Takes the certificates back that a subject has so far.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn revoke(&self, subject: &str) -> Result<(), Error> {
        let request = api::RevokeRequest { subject: subject.to_owned() };
        call!(self, of_trust, revoke, request).map(|_| ())
    }

    /// Who the coordinator takes this client for.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn who_am_i(&self) -> Result<api::WhoAmIReply, Error> {
        call!(self, of_trust, who_am_i, api::WhoAmIRequest {})
    }
}

/// A stream has broken: the next call goes where the coordinator is now.
fn broken((way, address): (&Way, &str), status: &tonic::Status) -> Error {
    let error = Error::of(status, address);
    way.failed(address, &error);
    error
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
        self.events.message().await.map_err(|status| broken((&self.way, &self.address), &status))
    }
}

// === impl BackupStream ===

impl BackupStream {
    /// The next piece.
    ///
    /// # Errors
    /// When the stream broke: the backup must be taken anew.
    pub async fn next(&mut self) -> Result<Option<api::BackupPiece>, Error> {
        self.pieces.message().await.map_err(|status| broken((&self.way, &self.address), &status))
    }
}

// === impl LogStream ===

impl LogStream {
    /// The next piece.
    ///
    /// # Errors
    /// When the stream broke or a log could not be read.
    pub async fn next(&mut self) -> Result<Option<api::LogChunk>, Error> {
        self.chunks.message().await.map_err(|status| broken((&self.way, &self.address), &status))
    }
}
