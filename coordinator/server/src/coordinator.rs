//! A coordinator: sockets bound first, state recovered, then everything started under a supervisor.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_model::Uid;
use muster_proto::v1::agents_server::AgentsServer;
use muster_proto::v1::members_server::MembersServer;
use muster_proto::v1::muster_server::MusterServer;
use muster_proto::v1::peers_server::PeersServer;
use muster_proto::v1::trust_server::TrustServer;
use muster_proto::v1::witness_server::WitnessServer;
use muster_service::{OnEnd, OnStop, Readiness, TaskKind, Tasks};
use muster_trust::{Door, DoorLimits, Identity, Pass, Subject};
use thiserror::Error;
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::access::{AccessLayer, Guard};
use crate::brain::{self, AddressBook, Brain, BrainConfig, Fatal, OpenBrain, Origin};
use crate::clock::Clock;
use crate::config::{Config, Error as ConfigError, JoinWith};
use crate::grpc::{Api, ApiContext, MembersApi};
use crate::http::{HttpContext, HttpListener, router};
use crate::hub::Hub;
use crate::idle::{self, Activity};
use crate::logs::LogRelay;
use crate::metrics::Metrics;
use crate::peers::{self, Dial, Joined, Outbox, PeerService, SenderContext};
use crate::planner::{self, Waits};
use crate::rest::{Feed, PeerInfo, RestContext};
use crate::sessions::{AgentService, Answers, Details, Leases, SessionContext, WitnessService};
use crate::token;
use crate::trust::{Error as TrustError, Trust, TrustApi};

const BRAIN: TaskKind =
    TaskKind { name: "brain", on_stop: OnStop::Wait, on_end: OnEnd::StopDaemon };
const GRPC: TaskKind = TaskKind { name: "grpc", on_stop: OnStop::Wait, on_end: OnEnd::StopDaemon };
const HTTP: TaskKind = TaskKind { name: "http", on_stop: OnStop::Wait, on_end: OnEnd::StopDaemon };
const FEED: TaskKind = TaskKind { name: "feed", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const PLANNER: TaskKind =
    TaskKind { name: "planner", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const PEERS: TaskKind =
    TaskKind { name: "peers", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const ANNOUNCE: TaskKind =
    TaskKind { name: "announce", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const RENEW: TaskKind =
    TaskKind { name: "renew", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const LEASES: TaskKind =
    TaskKind { name: "leases", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const ANSWERS: TaskKind =
    TaskKind { name: "answers", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };

/// Streams of one connection that may be open at a time.
const STREAMS: u32 = 1024;

/// Why a coordinator cannot start.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", advice(.source, .flag))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory.
    #[error("the data directory {path}: {source}")]
    Data {
        /// The directory.
        path: String,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// What is stored.
    #[error("{0}")]
    Store(String),
    /// The cluster does not take this member in.
    #[error("cannot join through {through}: {why}")]
    Join {
        /// The member that was asked.
        through: String,
        /// What it said.
        why: String,
    },
    /// The cluster's authority, or a certificate of it.
    #[error("the cluster's trust: {0}")]
    Trust(String),
    /// The token has characters that no token has.
    #[error("the cluster's token cannot be used: it has characters that no token has")]
    Token,
}

fn advice(error: &std::io::Error, flag: &str) -> String {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        format!(
            ". Something else listens there, perhaps another coordinator; stop it, or choose \
             another port with {flag} 127.0.0.1:PORT"
        )
    } else {
        String::new()
    }
}

/// A coordinator whose sockets are bound and whose state is recovered.
pub struct Coordinator {
    config: Config,
    grpc: TcpListener,
    http: TcpListener,
    /// The token of the data directory; none with TLS.
    token: Option<String>,
    /// Where the others reach it, HOST:PORT.
    address: String,
}

/// What answers at the doors besides the native API.
struct Doors {
    sessions: SessionContext,
    http: HttpContext,
    rest: RestContext,
    /// What the HTTP door shows.
    https: Identity,
}

/// A coordinator that has been started.
pub struct Started {
    brain: Brain,
    hub: Arc<Hub>,
    activity: Activity,
    trust: Option<Trust>,
}

/// Makes certificates for what runs in the same process as a member.
#[derive(Debug, Clone)]
pub struct Certifier(Trust);

impl Certifier {
    /// An identity for a subject.
    ///
    /// # Errors
    /// Why there is none.
    pub fn certify(&self, subject: &Subject) -> Result<Identity, String> {
        self.0.certify(subject).map_err(|error| error.to_string())
    }
}

impl Started {
    /// Makes certificates for what runs in the same process; none without TLS.
    #[must_use]
    pub fn certifier(&self) -> Option<Certifier> {
        self.trust.clone().map(Certifier)
    }

    /// Waits until nobody has needed the coordinator for `span`: no request came, nobody watched, and every
    /// job had ended. Never ends when there is no span.
    pub async fn idle(self, span: Option<Duration>) {
        match span {
            Some(span) => idle::idle(span, self.brain, (self.hub, self.activity)).await,
            None => std::future::pending().await,
        }
    }
}

/// What others need to reach a coordinator.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The gRPC door.
    pub grpc: SocketAddr,
    /// The HTTP door.
    pub http: SocketAddr,
    /// The token that opens the gRPC door; none with TLS.
    pub token: Option<String>,
    /// Whether the gRPC door speaks TLS.
    pub tls: bool,
}

impl Coordinator {
    /// Checks the configuration, makes the data directory and binds the sockets.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub async fn bind(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let grpc = listen(config.grpc, "--listen").await?;
        let http = listen(config.http, "--http-listen").await?;
        let data = |source| Error::Data { path: config.data.display().to_string(), source };
        make_private(&config.data).map_err(data)?;
        let token = match (config.is_tls(), config.join.as_ref().filter(|_| !is_member(&config))) {
            (true, _) => None,
            (false, joins) => {
                if let Some(JoinWith::OwnersToken(token)) = joins.map(|join| &join.with) {
                    token::adopt(&config.data, token).map_err(data)?;
                }
                Some(token::load_or_create(&config.data).map_err(data)?)
            }
        };
        let listens = grpc.local_addr().map_err(data)?;
        let address = config.advertise.clone().unwrap_or_else(|| listens.to_string());
        Ok(Self { config, grpc, http, token, address })
    }

    /// Where it can be reached.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            grpc: self.grpc.local_addr()?,
            http: self.http.local_addr()?,
            token: self.token.clone(),
            tls: self.config.is_tls(),
        })
    }

    /// What this member shows as long as it has no certificate.
    fn plain(&self) -> Result<Option<Pass>, Error> {
        let Some(token) = &self.token else { return Ok(None) };
        Pass::plain(token).map(Some).ok_or(Error::Token)
    }

    /// What this member begins as. One that is new asks its cluster to take it in.
    async fn origin(&self) -> Result<(Origin, AddressBook), Error> {
        let Some(join) = self.config.join.as_ref().filter(|_| !is_member(&self.config)) else {
            return Ok((Origin::NewCluster, AddressBook::new()));
        };
        let failed = |status: tonic::Status| Error::Join {
            through: join.through.clone(),
            why: status.message().to_owned(),
        };
        let joined = match (&join.with, self.plain()?) {
            (JoinWith::Token(token), None) => {
                let enrolled = peers::enrol(token, &join.through, &self.address).await;
                let (joined, authority) = enrolled.map_err(failed)?;
                let directory = Trust::directory(&self.config.data);
                authority.store(&directory).map_err(|error| Error::Trust(error.to_string()))?;
                joined
            }
            (JoinWith::OwnersToken(_), Some(pass)) => {
                let dial = Dial::new(pass);
                peers::join(&dial, &join.through, &self.address).await.map_err(failed)?
            }
            (JoinWith::Token(_), Some(_)) => {
                return Err(Error::Trust(
                    "with a join token a member speaks TLS: add --tls, or listen on an address that others can reach"
                        .into(),
                ));
            }
            (JoinWith::OwnersToken(_), None) => {
                return Err(Error::Trust(
                    "with TLS a member joins with a join token: `muster token create --role member` on a member makes one"
                        .into(),
                ));
            }
        };
        let Joined { cluster, member, known } = joined;
        Ok((Origin::Joined { cluster, member }, known))
    }

    /// What this member holds of its cluster's trust.
    async fn trust(
        &self,
        brain: &Brain,
        (cluster, member): (&str, u64),
    ) -> Result<Option<Trust>, Error> {
        if !self.config.is_tls() {
            return Ok(None);
        }
        let is_alone = brain.peek(|state| state.tables().members.iter().count() <= 1).await;
        let is_alone = is_alone.unwrap_or(false) && self.config.join.is_none();
        let opened = Trust::open(&self.config.data, (cluster, member), is_alone);
        opened.map(Some).map_err(|error: TrustError| Error::Trust(error.to_string()))
    }

    /// Recovers the state and starts everything. Ready once `readiness` says so.
    ///
    /// # Errors
    /// When the state cannot be recovered, or the cluster does not take this member in.
    pub async fn start(self, tasks: &Tasks, readiness: &Readiness) -> Result<Started, Error> {
        let (origin, known) = self.origin().await?;
        let hub = Arc::new(Hub::default());
        let metrics = Metrics::new();
        let config = BrainConfig { data: member_dir(&self.config), origin, known };
        let stop = tasks.token().child_token();
        let outbox = Outbox::default();
        let parts = (Arc::clone(&hub), metrics.clone(), outbox.clone());
        let OpenBrain { brain, peers: inbox, cluster, member, snapshots, ended } =
            brain::open(&config, parts, (stop, readiness.latch()))
                .map_err(|error| Error::Store(error.to_string()))?;
        tasks.spawn(BRAIN, async move {
            // The sender is dropped without a word only if the thread panicked.
            ended.await.unwrap_or(Err(Fatal::Panicked))
        });
        let trust = self.trust(&brain, (&cluster, member)).await?;
        let pass = match &trust {
            Some(trust) => Some(Pass::identity(trust.identity())),
            None => self.plain()?,
        };
        let dial = Dial::new(pass.ok_or(Error::Token)?);
        // Where agents and members speak in the clear, the HTTP door has an authority of its own.
        let https = match &trust {
            Some(trust) => trust.clone(),
            None => Trust::open_https(&self.config.data, (&cluster, member))
                .map_err(|error: TrustError| Error::Trust(error.to_string()))?,
        };
        let renewing = https.clone();
        tasks.spawn(RENEW, async move {
            let never: Result<(), Infallible> = Err(renewing.renew().await);
            never
        });
        let senders = SenderContext {
            cluster: cluster.clone(),
            member,
            dial: dial.clone(),
            inbox: inbox.clone(),
            outbox,
            snapshots: snapshots.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(PEERS, stopping(peers::run(senders, brain.clone())));
        let own = (member, self.address.clone());
        tasks.spawn(ANNOUNCE, stopping(peers::announce(brain.clone(), dial.clone(), own)));
        let waits = Arc::new(Waits::default());
        let details = Arc::new(Details::default());
        let leases = Arc::new(Leases::new(self.config.lease));
        let logs = Arc::new(LogRelay::new(Arc::clone(&hub)));
        tasks.spawn(
            PLANNER,
            stopping(planner::run(brain.clone(), Arc::clone(&hub), Arc::clone(&waits), Clock)),
        );
        let (reaper, asked, sessions_of) = (Arc::clone(&leases), brain.clone(), Arc::clone(&hub));
        tasks.spawn(LEASES, async move { stopping(reaper.run(&asked, &sessions_of)).await });
        let seen = (Arc::clone(&hub), Arc::clone(&waits));
        let feed = Arc::new(Feed::new(brain.clone(), seen, cluster.clone()));
        let following = Arc::clone(&feed);
        tasks.spawn(FEED, async move { stopping(following.run()).await });
        let answers = Arc::new(Answers::default());
        let (answering, asked, told) = (Arc::clone(&answers), brain.clone(), Arc::clone(&leases));
        tasks.spawn(ANSWERS, async move { stopping(answering.run(&asked, &told)).await });
        let api = ApiContext {
            brain: brain.clone(),
            hub: Arc::clone(&hub),
            waits,
            details: Arc::clone(&details),
            logs: Arc::clone(&logs),
            tasks: tasks.clone(),
            cluster: cluster.clone(),
        };
        let sessions = SessionContext {
            brain: brain.clone(),
            hub: Arc::clone(&hub),
            leases,
            answers,
            details,
            logs: Arc::clone(&logs),
            tasks: tasks.clone(),
            cluster: Uid(cluster.clone()),
        };
        let activity = Activity::new();
        let started = Started { brain, hub: Arc::clone(&hub), activity, trust };
        let brain = started.brain.clone();
        let guard = Guard::new(self.token.clone(), brain.known(), started.activity.clone());
        let rest = RestContext {
            brain: brain.clone(),
            feed,
            hub: Arc::clone(&hub),
            logs: Arc::clone(&logs),
            guard: Arc::new(guard),
            dial,
            tasks: tasks.clone(),
        };
        let peers = PeerService::new(
            brain.clone(),
            inbox,
            (snapshots, cluster.clone()),
            (rest.clone(), tasks.token().clone()),
        );
        let http = HttpContext { readiness: readiness.clone(), metrics, brain, hub, logs };
        let doors = Doors { sessions, http, rest, https: https.identity().clone() };
        self.serve((api, doors), (peers, &started), (cluster, tasks));
        Ok(started)
    }

    fn serve(
        self,
        (api, doors): (ApiContext, Doors),
        (peers, started): (PeerService, &Started),
        (cluster, tasks): (String, &Tasks),
    ) {
        let guard = Arc::clone(&doors.rest.guard);
        let trust = TrustApi::new(started.brain.clone(), started.trust.clone());
        let identity = started.trust.as_ref().map(|trust| trust.identity().clone());
        let brain = started.brain.clone();
        let limit = muster_proto::MAX_MESSAGE_BYTES;
        let api = MusterServer::new(Api::new(api))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let Doors { sessions, http, rest, https } = doors;
        let agents =
            AgentsServer::new(AgentService::new(sessions)).max_decoding_message_size(limit);
        let peers = PeersServer::new(peers)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let members = MembersApi::new(started.brain.clone(), cluster);
        let server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .layer(AccessLayer::new(guard))
            .add_service(api)
            .add_service(agents)
            .add_service(peers)
            .add_service(WitnessServer::new(WitnessService(started.brain.clone())))
            .add_service(MembersServer::new(members))
            .add_service(TrustServer::new(trust));
        let is_joining = self.config.join.is_some();
        let stop = tasks.token().clone();
        tasks.spawn(GRPC, async move {
            // Whoever connects early to a lone member waits in the backlog until there is somebody to answer. A member
            // of several must hear the others to find out who leads.
            let is_alone = brain.peek(|state| state.tables().members.iter().count() <= 1).await;
            if is_alone.unwrap_or(true) && !is_joining && brain.leads().await.is_err() {
                return Ok(());
            }
            let (incoming, driven) = door(self.grpc, identity.as_ref(), DoorLimits::grpc()).open();
            tokio::select! {
                served = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()) => served,
                never = driven => match never {},
            }
        });
        let stop = tasks.token().clone();
        tasks.spawn(HTTP, async move {
            let address = self.http.local_addr()?;
            // On loopback nobody listens in, and what asks for metrics there has no way to know the authority.
            let door = if address.ip().is_loopback() { Door::either } else { Door::tls };
            let (incoming, driven) = door(self.http, &https, DoorLimits::http()).open();
            let routes = router(http, rest).into_make_service_with_connect_info::<PeerInfo>();
            let served = axum::serve(HttpListener { incoming, address }, routes);
            tokio::select! {
                served = served.with_graceful_shutdown(stop.cancelled_owned()) => served,
                never = driven => match never {},
            }
        });
    }
}

fn door(listener: TcpListener, identity: Option<&Identity>, limits: DoorLimits) -> Door {
    match identity {
        Some(identity) => Door::tls(listener, identity, limits),
        None => Door::plain(listener, limits),
    }
}

/// Where the member's own files lie.
fn member_dir(config: &Config) -> std::path::PathBuf {
    config.data.join("coordinator")
}

fn is_member(config: &Config) -> bool {
    brain::is_member(&member_dir(config))
}

/// An end that comes with the brain's own is none of its own.
async fn stopping<F>(task: F) -> Result<(), brain::BrainError>
where
    F: Future<Output = Result<Infallible, brain::BrainError>>,
{
    match task.await {
        Ok(never) => match never {},
        Err(brain::BrainError::Stopping) => std::future::pending().await,
        Err(error) => Err(error),
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, flag, source })
}

/// Makes a directory that only its owner may enter.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
