//! The connection to the coordinator: made, lost, and made again with growing patience.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_model::Millis;
use muster_proto::v1 as wire;
use muster_proto::v1::agents_client::AgentsClient;
use muster_proto::v1::trust_client::TrustClient;
use muster_trust::Pass;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use crate::machine::clock::since_boot;

/// How many messages may wait for the coordinator.
const OUTBOUND: usize = 256;
/// The first and the longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));
/// The metadata key with which a member that does not lead names the one that does.
const LEADER: &str = "muster-leader";
/// How long one attempt may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection that shows who the agent is.
type Connection = InterceptedService<Channel, Pass>;
/// A client of the coordinator.
pub(super) type Client = AgentsClient<Connection>;

/// What the link tells the agent.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A session is open; what goes into the sender goes to the coordinator. Its first message was sent then, by the
    /// machine's boot clock.
    Up(mpsc::Sender<wire::AgentMessage>, Millis),
    /// A message from the coordinator.
    Message(wire::CoordinatorMessage),
    /// The session is over.
    Down,
}

/// How sessions are opened, and with which member. Clones share what is known of members.
#[derive(Debug, Clone)]
pub(super) struct Link {
    members: Arc<Mutex<Members>>,
    pass: Pass,
}

/// The members of the coordinator, as far as they are known.
#[derive(Debug)]
struct Members {
    /// Those that were named at the start,
    named: Vec<String>,
    /// and those that the last session told of.
    told: Vec<String>,
    /// Which of them comes next.
    next: usize,
    /// Whom to ask now.
    current: Endpoint,
}

impl Members {
    /// After a session that failed: the leader, if it was named, or the next member.
    fn move_on(&mut self, pass: &Pass, leader: Option<&str>) {
        let known: Vec<&String> = self.named.iter().chain(&self.told).collect();
        let next = match leader {
            Some(leader) => format!("{}://{leader}", pass.scheme()),
            None => known[self.next % known.len()].clone(),
        };
        if leader.is_none() {
            self.next += 1;
        }
        if let Ok(endpoint) = endpoint(pass, &next) {
            self.current = endpoint;
        }
    }
}

fn endpoint(pass: &Pass, address: &str) -> Result<Endpoint, String> {
    let wrong = || {
        format!(
            "{address} is no address of a coordinator; write it as {}://HOST:PORT",
            pass.scheme()
        )
    };
    let (scheme, authority) = address.split_once("://").ok_or_else(wrong)?;
    if scheme != pass.scheme() {
        return Err(wrong());
    }
    Ok(pass
        .dialler()
        .endpoint(authority)
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

impl Link {
    /// A link to the members at these addresses, separated by commas.
    pub(super) fn new(addresses: &str, pass: Pass) -> Result<Self, String> {
        let named: Vec<String> =
            addresses.split(',').map(|one| one.trim().trim_end_matches('/').to_owned()).collect();
        for address in &named {
            endpoint(&pass, address)?;
        }
        let current = endpoint(&pass, named.first().map_or(addresses, String::as_str))?;
        let members = Members { named, told: Vec::new(), next: 1, current };
        Ok(Self { members: Arc::new(Mutex::new(members)), pass })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has told where the members are.
    pub(super) fn members_are(&self, told: Vec<String>) {
        let scheme = self.pass.scheme();
        self.members().told =
            told.into_iter().map(|address| format!("{scheme}://{address}")).collect();
    }

    /// What the agent shows.
    pub(super) fn pass(&self) -> &Pass {
        &self.pass
    }

    fn connection(&self) -> Connection {
        let channel = self.pass.dialler().channel(&self.members().current);
        InterceptedService::new(channel, self.pass.clone())
    }

    /// A client that connects when it is used.
    pub(super) fn client(&self) -> Client {
        AgentsClient::new(self.connection())
            .max_decoding_message_size(muster_proto::MAX_MESSAGE_BYTES)
    }

    /// A client of the cluster's trust, likewise.
    pub(super) fn trust(&self) -> TrustClient<Connection> {
        TrustClient::new(self.connection())
    }

    /// Opens sessions for ever and tells of them. `hello` makes the first message of each.
    pub(super) async fn run(
        self,
        hello: impl Fn() -> wire::Hello + Send,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<Infallible, Closed> {
        let mut pause = PAUSES.0;
        let mut told = String::new();
        loop {
            let failure = match self.session(&hello, &events).await {
                Ok(()) => {
                    pause = PAUSES.0;
                    told.clear();
                    "the session ended".to_owned()
                }
                Err(Ended::Agent) => return Err(Closed),
                Err(Ended::Coordinator { status, opened }) => {
                    if opened {
                        pause = PAUSES.0;
                        told.clear();
                    }
                    let leader =
                        status.metadata().get(LEADER).and_then(|value| value.to_str().ok());
                    self.members().move_on(&self.pass, leader);
                    if leader.is_some() && !opened {
                        // It was only the wrong door.
                        pause = PAUSES.0;
                    }
                    explain(&status)
                }
            };
            // A coordinator that stays away is one line in the log and not one a second.
            if failure != told {
                warn!(reason = %failure, "no session with the coordinator; what runs goes on, and the agent keeps trying");
                told = failure;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn session(
        &self,
        hello: &(impl Fn() -> wire::Hello + Send),
        events: &mpsc::Sender<LinkEvent>,
    ) -> Result<(), Ended> {
        let (outbound, stream) = mpsc::channel(OUTBOUND);
        let sent = since_boot();
        let first = wire::AgentMessage { body: Some(wire::agent_message::Body::Hello(hello())) };
        outbound.try_send(first).map_err(|_| Ended::Agent)?;
        let refused = |status| Ended::Coordinator { status, opened: false };
        let response = self.client().session(ReceiverStream::new(stream)).await.map_err(refused)?;
        let mut inbound = response.into_inner();
        info!("session with the coordinator opened");
        tell(events, LinkEvent::Up(outbound, sent)).await?;
        let ended = loop {
            match inbound.message().await {
                Ok(Some(message)) => tell(events, LinkEvent::Message(message)).await?,
                Ok(None) => break Ok(()),
                Err(status) => break Err(Ended::Coordinator { status, opened: true }),
            }
        };
        tell(events, LinkEvent::Down).await?;
        ended
    }
}

/// Why a session ended badly.
enum Ended {
    /// The agent is going.
    Agent,
    /// The coordinator, or the way to it.
    Coordinator { status: Status, opened: bool },
}

/// The agent does not listen any more.
#[derive(Debug, thiserror::Error)]
#[error("the agent has stopped")]
pub(super) struct Closed;

async fn tell(events: &mpsc::Sender<LinkEvent>, event: LinkEvent) -> Result<(), Ended> {
    events.send(event).await.map_err(|_| Ended::Agent)
}

/// What went wrong, without the layers of the transport.
pub(super) fn explain(status: &Status) -> String {
    let mut source = std::error::Error::source(status);
    let mut deepest = None;
    while let Some(error) = source {
        deepest = Some(error.to_string());
        source = error.source();
    }
    match deepest {
        Some(deepest) if status.message() == "transport error" || status.message().is_empty() => {
            deepest
        }
        _ => status.message().to_owned(),
    }
}
