//! The agent's loop.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_agent_core::{Action, Beat, Deadline, Promise, Replicas, Standing};
use muster_model::{Fence, Millis, ReplicaId, Uid};
use muster_proto::v1 as wire;
use muster_proto::v1::agent_message::Body as ToCoordinator;
use muster_proto::v1::coordinator_message::Body as FromCoordinator;
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::asking::{self, Told};
use super::config::{Config, Error as ConfigError};
use super::convert;
use super::enrol;
use super::environments::{Error as ImagesError, MappedImages, gpu_of};
use super::identity::Identity;
use super::link::{Link, LinkEvent};
use super::uploads::Uploads;
use super::witness::{SharedStanding, WitnessDoor};
use crate::machine::clock::since_boot;
use crate::machine::{self, Machine};
use crate::runtime::{
    Config as RuntimeConfig, Error as RuntimeError, Events, Opened, ProcessRuntime, Runtime,
    RuntimeEvent, Seen, Until,
};

const RENEW: TaskKind =
    TaskKind { name: "renew", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };
const LINK: TaskKind = TaskKind { name: "link", on_stop: OnStop::Abort, on_end: OnEnd::StopDaemon };

/// By which interface the ranks' gloo finds its own address.
const GLOO_INTERFACE: &str = "GLOO_SOCKET_IFNAME";
/// How many events of the link may wait.
const LINK_EVENTS: usize = 64;
/// Messages are sent this many times in the length of a lease.
const BEATS_PER_LEASE: u32 = 4;
/// The lease as long as no coordinator has said otherwise.
const FIRST_LEASE: Duration = Duration::from_secs(10);

/// Why an agent cannot start or go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine cannot be read.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The runtime cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Images cannot be mapped.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The address of the coordinator.
    #[error("{0}")]
    Link(String),
    /// What lets the agent in.
    #[error(transparent)]
    Enrol(#[from] enrol::Error),
    /// Who this agent is.
    #[error("the agent's identity: {0}")]
    Identity(std::io::Error),
    /// The runtime has gone away.
    #[error("the runtime tells nothing any more")]
    RuntimeGone,
}

/// An agent that is ready to run.
pub struct Agent {
    hello: wire::Hello,
    identity: Identity,
    replicas: Replicas,
    runtime: Arc<dyn Runtime>,
    events: Events,
    link: Link,
    tasks: Tasks,
    uploads: Uploads,
    /// With the moment at which its first message was sent.
    session: Option<(mpsc::Sender<wire::AgentMessage>, Millis)>,
    lease: Duration,
    /// Orders whose last piece has not come yet.
    pieces: wire::Orders,
    data: std::path::PathBuf,
    /// What is promised once a session is open.
    promise: Promise,
    standing: SharedStanding,
    /// Until when each replica may run, as its shim was told.
    leases: BTreeMap<(ReplicaId, Fence), Option<Until>>,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
}

// === impl Agent ===

impl Agent {
    /// Looks at the machine, opens the runtime and takes over what runs already.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(config: Config, tasks: Tasks) -> Result<Self, Error> {
        let address = config.announced_address()?;
        std::fs::create_dir_all(&config.data).map_err(|error| {
            Error::Link(format!("the data directory {}: {error}", config.data.display()))
        })?;
        // Before anything is taken over: an agent that nobody lets in shall change nothing.
        let mut identity = Identity::load(&config.data).map_err(Error::Identity)?;
        let home = (&*config.data, &*config.coordinator);
        let who = (config.node_name.as_str(), identity.agent());
        let (pass, certified) = enrol::pass(&config.access, home, who).await?;
        let machine = machine::detect(&config.data, &config.overrides)?;
        let images = Arc::new(MappedImages::open(&config.environments, gpu_of(&machine))?);
        let node = (config.node_name.as_str(), &*address);
        let mut variables = config.variables.clone();
        // An operator who has set it knows better.
        if !variables.iter().any(|(name, _)| name == GLOO_INTERFACE)
            && let Some(interface) = machine::interface_of(&address)
        {
            variables.push((GLOO_INTERFACE.into(), interface));
        }
        let mut runtime_config =
            RuntimeConfig::new(config.data.clone(), node, &machine, &variables);
        runtime_config.cgroups = config.cgroups.clone();
        runtime_config.shim = config.shim.clone();
        let Opened { runtime, adopted, events } =
            ProcessRuntime::open(runtime_config, images, tasks.clone()).await?;
        let mut replicas = Replicas::new();
        for found in adopted {
            info!(replica = %found.spec.name, fence = %found.spec.fence, "took over a replica");
            replicas.adopt(found.spec, found.seen);
        }
        let promise = config.promise();
        let (agreed, members) = identity.agreed();
        let mut standing = Standing::new(FIRST_LEASE.into(), agreed, members);
        standing.announces(promise, since_boot());
        identity.promise(standing.promise()).map_err(Error::Identity)?;
        let standing: SharedStanding = Arc::new(Mutex::new(standing));
        let mut witness = String::new();
        if matches!(promise, Promise::Stops(_)) {
            let ports = (config.witness_port, identity.witness_port());
            let door = WitnessDoor::bind(&address, ports, certified.as_ref()).await;
            if let Some(door) = door.map_err(Error::Link)? {
                identity.set_witness_port(door.port).map_err(Error::Identity)?;
                witness.clone_from(&door.address);
                door.open(&standing, &tasks);
            }
        }
        let link = Link::new(&config.coordinator, pass).map_err(Error::Link)?;
        if let Some(certified) = certified {
            let (renewing, data) = (link.clone(), config.data.clone());
            tasks.spawn(RENEW, async move {
                let never: Result<(), Infallible> =
                    Err(enrol::renew(certified, renewing, data).await);
                never
            });
        }
        Ok(Self {
            hello: wire::Hello {
                agent: identity.agent().to_owned(),
                cut_off_ms: match promise {
                    Promise::Stops(after) => Some(after.0),
                    Promise::Nothing | Promise::Unknown => None,
                },
                witness,
                ..hello(&config, address, &machine)
            },
            identity,
            replicas,
            runtime: Arc::new(runtime),
            events,
            link,
            tasks,
            uploads: Uploads::default(),
            session: None,
            lease: FIRST_LEASE,
            pieces: wire::Orders::default(),
            data: config.data,
            promise,
            standing,
            leases: BTreeMap::new(),
            told: mpsc::channel(LINK_EVENTS),
        })
    }

    /// Works until the daemon stops.
    ///
    /// # Errors
    /// When the runtime fails; the coordinator's absence is no error.
    pub async fn run(mut self) -> Result<Infallible, Error> {
        let (send, mut link_events) = mpsc::channel(LINK_EVENTS);
        self.connect(send);
        let mut beat = tokio::time::interval(self.lease / BEATS_PER_LEASE);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.next() => {
                    let event = event.ok_or(Error::RuntimeGone)?;
                    self.take_runtime_events(event).await;
                }
                event = link_events.recv() => match event {
                    Some(event) => {
                        let lease = self.lease;
                        self.take_link_event(event).await;
                        if self.lease != lease {
                            beat = tokio::time::interval_at(Instant::now(), self.lease / BEATS_PER_LEASE);
                            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                        }
                    }
                    // The supervisor stops the daemon when the link's task ends.
                    None => std::future::pending().await,
                },
                Some(told) = self.told.1.recv() => {
                    let Told { round, address, answer } = told;
                    self.standing().told(round, &address, answer);
                }
                _ = beat.tick() => self.beat().await,
            }
            self.stand();
        }
    }

    fn connect(&self, events: mpsc::Sender<LinkEvent>) {
        let (link, hello, data) = (self.link.clone(), self.hello.clone(), self.data.clone());
        let runtime = Arc::clone(&self.runtime);
        let (standing, promise) = (Arc::clone(&self.standing), self.promise);
        self.tasks.spawn(LINK, async move {
            let hello = move || {
                let mut standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
                standing.announces(promise, since_boot());
                wire::Hello {
                    cluster: Identity::cluster_in(&data),
                    log_jobs: runtime.jobs_with_logs().into_iter().map(|uid| uid.0).collect(),
                    members: standing.members().to_vec(),
                    ..hello.clone()
                }
            };
            link.run(hello, events).await.map(|never| match never {})
        });
    }

    /// Takes an event and all that wait behind it, so that what happens together is reported together.
    async fn take_runtime_events(&mut self, first: RuntimeEvent) {
        let mut reports = Vec::new();
        let mut next = Some(first);
        while let Some(RuntimeEvent { id, fence, seen }) = next {
            match seen {
                Seen::State(seen) => {
                    let actions = self.replicas.observed(id, fence, seen);
                    reports.extend(self.perform(actions));
                }
                Seen::Notice { text } => reports.push(convert::notice(id, fence, text)),
                Seen::Progress { text } => {
                    let replica = Some(convert::reference(id, fence));
                    self.say(ToCoordinator::Progress(wire::Progress { replica, text })).await;
                }
            }
            next = self.events.waiting();
        }
        self.report(reports).await;
    }

    async fn take_link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(session, sent) => self.session = Some((session, sent)),
            LinkEvent::Down => {
                self.session = None;
                self.pieces = wire::Orders::default();
                self.uploads.close_all();
            }
            LinkEvent::Message(message) => match message.body {
                Some(FromCoordinator::Welcome(welcome)) => self.welcome(welcome).await,
                Some(FromCoordinator::Orders(orders)) => self.obey(orders).await,
                Some(FromCoordinator::LogOpen(order)) => {
                    let with = (&self.runtime, self.link.client(), &self.tasks);
                    self.uploads.open(order, with);
                }
                Some(FromCoordinator::LogClose(close)) => self.uploads.close(close.stream),
                Some(FromCoordinator::Members(members)) => {
                    self.members_are(members.addresses).await
                }
                Some(FromCoordinator::Heard(heard)) => {
                    self.standing().answered(heard.number, since_boot());
                }
                Some(FromCoordinator::ForgetJobs(forget)) => {
                    for uid in forget.uids {
                        self.runtime.forget_logs(&Uid(uid));
                    }
                }
                None => warn!("the coordinator sent something this version does not know"),
            },
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn beat(&mut self) {
        if self.session.is_none() {
            return;
        }
        let Beat { number, hearing, lapses, heard } = self.standing().beat(since_boot());
        let beat = wire::Heartbeat { number, hearing, lapses, heard };
        self.say(ToCoordinator::Heartbeat(beat)).await;
    }

    /// Asks for a leader if none is heard, and says to the shims how long their replicas may run.
    fn stand(&mut self) {
        let live: Vec<_> = self.replicas.live().collect();
        let jobs = live.iter().map(|(id, _, spec)| (id.job, &spec.witnesses[..]));
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let questions = standing.look(since_boot(), jobs);
        let mut leases = BTreeMap::new();
        for (id, fence, spec) in live {
            let known = self.leases.get(&(id, fence)).copied();
            let until = match standing.deadline(id.job) {
                Deadline::AsBefore => match known {
                    Some(known) => known,
                    None => continue,
                },
                Deadline::Never => None,
                Deadline::At(at) => {
                    Some(until((at, standing.promise()), spec.role.pod.termination_grace))
                }
            };
            if known != Some(until) {
                self.runtime.lease(id, fence, until);
            }
            leases.insert((id, fence), until);
        }
        drop(standing);
        self.leases = leases;
        if let Some(questions) = questions {
            asking::ask(questions, self.link.pass(), (&self.told.0, &self.tasks));
        }
    }

    /// The members of the coordinator have changed, or are told anew.
    async fn members_are(&mut self, addresses: Vec<String>) {
        self.link.members_are(addresses.clone());
        if let Err(error) = self.identity.members_are(addresses.clone()) {
            // What is not known after a restart must not be relied on.
            warn!(%error, "the members' addresses could not be stored");
            return;
        }
        self.standing().members_are(addresses.clone());
        self.say(ToCoordinator::Knows(wire::Knows { members: addresses })).await;
    }

    async fn welcome(&mut self, welcome: wire::Welcome) {
        self.lease = Duration::from_millis(welcome.lease_ms.max(100));
        // A coordinator that answers no heartbeats knows nothing of promises either.
        let promise = if welcome.answers { self.promise } else { Promise::Nothing };
        if let Some((_, sent)) = self.session {
            let terms = (self.lease.into(), promise);
            self.standing().welcomed(terms, sent, since_boot());
            if let Err(error) = self.identity.promise(promise) {
                warn!(%error, "what was agreed on could not be stored");
            }
        }
        self.link.members_are(welcome.members);
        if let Err(error) = self.identity.set_cluster(&welcome.cluster) {
            warn!(%error, "the cluster's name could not be stored");
        }
        let actions = self.replicas.reports();
        let reports = self.perform(actions);
        self.report(reports).await;
    }

    /// Obeys orders once their last piece is there: a part of them would read as if the rest were to be cleared.
    async fn obey(&mut self, orders: wire::Orders) {
        self.pieces.full |= orders.full;
        self.pieces.orders.extend(orders.orders);
        if orders.more {
            return;
        }
        let orders = std::mem::take(&mut self.pieces);
        let actions = self
            .replicas
            .ordered(orders.full, orders.orders.into_iter().filter_map(convert::order));
        let reports = self.perform(actions);
        self.report(reports).await;
    }

    /// Lets the runtime act, and gives back what is to be reported.
    fn perform(&self, actions: Vec<Action>) -> Vec<wire::Report> {
        let mut reports = Vec::new();
        for action in actions {
            match action {
                Action::Prepare(spec) => self.runtime.prepare(*spec),
                Action::Start(id, fence, context) => self.runtime.start(id, fence, context),
                Action::Stop(id, fence, grace) => self.runtime.stop(id, fence, grace),
                Action::Remove(id, fence) => self.runtime.remove(id, fence),
                Action::Report(id, fence, seen) => reports.push(convert::report(id, fence, &seen)),
            }
        }
        reports
    }

    async fn report(&mut self, reports: Vec<wire::Report>) {
        if !reports.is_empty() {
            self.say(ToCoordinator::Reports(wire::Reports { reports })).await;
        }
    }

    /// Says something to the coordinator. Without a session it is dropped: a new session begins with
    /// everything that matters.
    async fn say(&mut self, body: ToCoordinator) {
        let Some((session, _)) = &self.session else { return };
        if session.send(wire::AgentMessage { body: Some(body) }).await.is_err() {
            self.session = None;
        }
    }
}

fn hello(config: &Config, address: String, machine: &Machine) -> wire::Hello {
    let mut labels = machine.labels.clone();
    labels.insert("kubernetes.io/hostname".into(), config.node_name.to_string());
    wire::Hello {
        node_name: config.node_name.to_string(),
        address,
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: muster_proto::SESSION_PROTOCOL,
        capacity: convert::capacity(&machine.capacity),
        labels: labels.into_iter().collect(),
        instance: instance(),
        log_jobs: Vec::new(),
        cluster: String::new(),
        agent: String::new(),
        cut_off_ms: None,
        witness: String::new(),
        members: Vec::new(),
    }
}

/// Killing is given so much time before the end of the promise.
const KILLING: Millis = Millis(2000);

/// How a shim keeps a deadline: everything has been killed by then, and was asked before, as long before as its grace period
/// says but not in the first half of what is promised.
fn until((at, promise): (Millis, Promise), grace: Millis) -> Until {
    let promised = match promise {
        Promise::Stops(after) => after.0,
        Promise::Nothing | Promise::Unknown => 0,
    };
    let kill = at.0.saturating_sub(KILLING.0.min(promised / 4));
    Until { stop: Millis(kill.saturating_sub(grace.0.min(promised / 2))), kill: Millis(kill) }
}

/// Tells this agent process from every other one: its pid and start, on this boot.
fn instance() -> Vec<u8> {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = started.map_or(0, |since| since.as_nanos());
    [&std::process::id().to_le_bytes()[..], &nanos.to_le_bytes()].concat()
}
