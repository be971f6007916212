//! Between the session's wire types and the agent's own.

use std::collections::HashMap;

use muster_agent_core::{Observation, Order};
use muster_model::{
    Attempt, Exit, ExitStatus, Fence, Generation, GenerationContext, JobId, LaunchSpec, Millis,
    Peer, Rank, ReplicaId, Resources,
};
use muster_proto::v1 as wire;
use tracing::warn;

pub(super) fn reference(id: ReplicaId, fence: Fence) -> wire::ReplicaRef {
    wire::ReplicaRef {
        job: id.job.0,
        rank: id.rank.0,
        attempt: fence.attempt.0,
        generation: fence.generation.0,
    }
}

/// What was seen of a replica, for the coordinator.
pub(super) fn report(id: ReplicaId, fence: Fence, seen: &Observation) -> wire::Report {
    use wire::report::What;
    let what = match seen {
        Observation::Ready { store_port, free_port } => What::Ready(wire::Ready {
            store_port: store_port.map(u32::from),
            free_port: free_port.map(u32::from),
        }),
        Observation::Running => What::Running(wire::Running {}),
        Observation::Exited(exit) => What::Exited(exited(exit)),
    };
    wire::Report { replica: Some(reference(id, fence)), what: Some(what) }
}

/// A notice about a replica, for its job's events.
pub(super) fn notice(id: ReplicaId, fence: Fence, text: String) -> wire::Report {
    wire::Report {
        replica: Some(reference(id, fence)),
        what: Some(wire::report::What::Notice(text)),
    }
}

fn exited(exit: &Exit) -> wire::Exited {
    use wire::exited::Status;
    let status = match &exit.status {
        ExitStatus::Code(code) => Status::Code(u32::from(*code)),
        ExitStatus::Signal(signal) => Status::Signal(u32::from(*signal)),
        ExitStatus::OutOfMemory => Status::OutOfMemory(true),
        ExitStatus::StartFailed { why, permanent } => {
            Status::StartFailed(wire::StartFailed { why: why.clone(), permanent: *permanent })
        }
        ExitStatus::NeverStarted => Status::NeverStarted(true),
        ExitStatus::Lost => Status::Lost(true),
    };
    wire::Exited { status: Some(status), after_stop: exit.after_stop }
}

/// An order. One that this version does not understand is an order all the same; `None` is only for a message without
/// one.
pub(super) fn order(wire: wire::Order) -> Option<(ReplicaId, Fence, Order)> {
    let reference = wire.replica?;
    let id = ReplicaId { job: JobId(reference.job), rank: Rank(reference.rank) };
    let fence =
        Fence { attempt: Attempt(reference.attempt), generation: Generation(reference.generation) };
    let order = match wire.what? {
        wire::order::What::Prepare(prepare) => {
            match serde_json::from_slice::<LaunchSpec>(&prepare.launch_spec) {
                Ok(spec) => Order::Prepare(Box::new(spec)),
                Err(error) => {
                    warn!(%error, "a launch specification cannot be read; is the agent older than the coordinator?");
                    Order::Unreadable(format!(
                        "the agent (version {}) cannot read what the coordinator wants started: {error}; update the \
                         agent",
                        env!("CARGO_PKG_VERSION")
                    ))
                }
            }
        }
        wire::order::What::Run(run) => Order::Run(GenerationContext {
            generation: Generation(run.generation),
            leader_address: run.leader_address,
            store_port: run.store_port.and_then(|port| u16::try_from(port).ok()),
            free_port: run.free_port.and_then(|port| u16::try_from(port).ok()),
            peers: run.peer_roles.into_iter().map(peers).collect(),
        }),
        wire::order::What::Stop(stop) => Order::Stop(Millis(stop.grace_ms)),
        wire::order::What::Clear(_) => Order::Clear,
    };
    Some((id, fence, order))
}

/// Capacities by name, in base units.
pub(super) fn capacity(resources: &Resources) -> HashMap<String, u64> {
    resources.iter().map(|(name, amount)| (name.to_string(), amount)).collect()
}

fn peers(role: wire::PeerRole) -> Vec<Peer> {
    let peer = |peer: wire::Peer| Peer {
        address: peer.address,
        port: peer.port.and_then(|port| u16::try_from(port).ok()),
    };
    role.replicas.into_iter().map(peer).collect()
}
