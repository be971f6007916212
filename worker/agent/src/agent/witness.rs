//! The door at which an agent tells other agents whether it hears a leader.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use muster_agent_core::{Answer, Standing};
use muster_proto::v1 as wire;
use muster_proto::v1::witness_server::{Witness, WitnessServer};
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use muster_trust::{Door, DoorLimits, Identity, Peer, Subject};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::machine::clock::since_boot;

const WITNESS: TaskKind = TaskKind { name: "witness", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// What the agent knows of its standing, for its loop and for its door.
pub(super) type SharedStanding = Arc<Mutex<Standing>>;

#[derive(Debug)]
struct Service(SharedStanding);

#[tonic::async_trait]
impl Witness for Service {
    async fn ask(
        &self,
        request: Request<wire::AskRequest>,
    ) -> Result<Response<wire::AskReply>, Status> {
        let peer = request.extensions().get::<Peer>();
        let is_of_us = peer.is_some_and(|peer| match &peer.subject {
            Some(subject) => matches!(subject, Subject::Agent { .. }),
            // A door in the clear is one on loopback.
            None => !peer.is_tls,
        });
        if !is_of_us {
            return Err(Status::permission_denied("only agents of this cluster are told"));
        }
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = standing.witness(since_boot()) == Answer::Leader;
        Ok(Response::new(wire::AskReply { leader }))
    }
}

/// A door that is not opened yet.
#[derive(Debug)]
pub(super) struct WitnessDoor {
    listener: TcpListener,
    identity: Option<Identity>,
    /// HOST:PORT, for others.
    pub(super) address: String,
    /// To be asked for again.
    pub(super) port: u16,
}

impl WitnessDoor {
    /// A door at the node's address, or none: without TLS there is only one on loopback. `wanted` is a port that must be
    /// had; `last` is the one of before, by which others know it.
    ///
    /// # Errors
    /// When the wanted port is not to be had.
    pub(super) async fn bind(
        host: &str,
        (wanted, last): (Option<u16>, Option<u16>),
        identity: Option<&Identity>,
    ) -> Result<Option<Self>, String> {
        let Ok(ip) = host.parse::<IpAddr>() else { return Ok(None) };
        if identity.is_none() && !ip.is_loopback() {
            return Ok(None);
        }
        let first = wanted.or(last).unwrap_or(0);
        let listener = match TcpListener::bind((ip, first)).await {
            Err(_) if wanted.is_none() => TcpListener::bind((ip, 0)).await,
            bound => bound,
        };
        let port = listener.as_ref().ok().and_then(|listener| listener.local_addr().ok());
        match (listener, port) {
            (Ok(listener), Some(address)) => Ok(Some(Self {
                listener,
                identity: identity.cloned(),
                address: address.to_string(),
                port: address.port(),
            })),
            (Err(error), _) if wanted.is_some() => {
                Err(format!("--witness-port {first} at {ip}: {error}"))
            }
            (listener, _) => {
                let error = listener.err();
                warn!(%ip, ?error, "no door for other agents; they will not ask this one for a leader");
                Ok(None)
            }
        }
    }

    /// Opens it.
    pub(super) fn open(self, standing: &SharedStanding, tasks: &Tasks) {
        let limits = DoorLimits { proven: 4_096, strangers: 64, ..DoorLimits::grpc() };
        let door = match &self.identity {
            Some(identity) => Door::tls(self.listener, identity, limits),
            None => Door::plain(self.listener, limits),
        };
        let service = WitnessServer::new(Service(Arc::clone(standing)));
        tasks.spawn(WITNESS, async move {
            let (incoming, driven) = door.open();
            let served = tonic::transport::Server::builder()
                .max_concurrent_streams(8)
                .add_service(service)
                .serve_with_incoming(incoming);
            tokio::select! {
                served = served => served,
                never = driven => match never { },
            }
        });
    }
}
