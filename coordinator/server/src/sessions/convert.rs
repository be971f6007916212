//! Between the session's wire types and the model.

use muster_coordinator_core::Beat;
use muster_model::{
    Attempt, Exit, ExitStatus, Fence, Generation, JobId, Millis, NodeName, Peer, Rank, ReplicaId,
    ResourceName,
};
use muster_proto::v1 as wire;
use muster_state::{Order, Ordered, RegisterNode, ReplicaReport, Reported};

/// A replica and its fence.
pub(super) fn replica(wire: Option<wire::ReplicaRef>) -> Option<(ReplicaId, Fence)> {
    let wire = wire?;
    let id = ReplicaId { job: JobId(wire.job), rank: Rank(wire.rank) };
    let fence = Fence { attempt: Attempt(wire.attempt), generation: Generation(wire.generation) };
    Some((id, fence))
}

/// What an agent reports; `None` for what this version does not know.
pub(super) fn report(wire: wire::Report) -> Option<ReplicaReport> {
    let (id, fence) = replica(wire.replica)?;
    let what = match wire.what? {
        wire::report::What::Ready(ready) => Reported::Ready {
            store_port: port(ready.store_port)?,
            free_port: port(ready.free_port)?,
        },
        wire::report::What::Running(_) => Reported::Running,
        wire::report::What::Exited(exited) => Reported::Exited(exit(exited)?),
        wire::report::What::Notice(text) => Reported::Notice(text),
    };
    Some(ReplicaReport { id, fence, what })
}

fn port(wire: Option<u32>) -> Option<Option<u16>> {
    wire.map(|port| u16::try_from(port).ok()).map_or(Some(None), |port| port.map(Some))
}

fn exit(wire: wire::Exited) -> Option<Exit> {
    use wire::exited::Status;
    let status = match wire.status? {
        Status::Code(code) => ExitStatus::Code(u8::try_from(code).ok()?),
        Status::Signal(signal) => ExitStatus::Signal(u8::try_from(signal).ok()?),
        Status::OutOfMemory(_) => ExitStatus::OutOfMemory,
        Status::StartFailed(failed) => {
            ExitStatus::StartFailed { why: failed.why, permanent: failed.permanent }
        }
        Status::NeverStarted(_) => ExitStatus::NeverStarted,
        Status::Lost(_) => ExitStatus::Lost,
    };
    Some(Exit { status, after_stop: wire.after_stop })
}

/// What an agent says of itself.
pub(super) fn register(hello: &wire::Hello, name: NodeName) -> RegisterNode {
    let capacity = hello.capacity.iter();
    RegisterNode {
        name,
        address: hello.address.clone(),
        capacity: capacity.map(|(name, amount)| (ResourceName(name.clone()), *amount)).collect(),
        labels: hello.labels.clone().into_iter().collect(),
        version: hello.version.clone(),
        agent: hello.agent.clone(),
        cut_off: hello.cut_off_ms.map(Millis),
        witness: hello.witness.clone(),
        members: hello.members.clone(),
    }
}

fn peer_role(replicas: &[Peer]) -> wire::PeerRole {
    let peer =
        |peer: &Peer| wire::Peer { address: peer.address.clone(), port: peer.port.map(u32::from) };
    wire::PeerRole { replicas: replicas.iter().map(peer).collect() }
}

/// A heartbeat.
pub(super) fn beat(wire: &wire::Heartbeat) -> Beat {
    let wire::Heartbeat { number, hearing, lapses, heard } = *wire;
    Beat { number, hearing, lapses, heard }
}

/// An order.
pub(super) fn order(ordered: &Ordered) -> wire::Order {
    use wire::order::What;
    let what = match &ordered.order {
        Order::Prepare(spec) => What::Prepare(wire::Prepare {
            launch_spec: serde_json::to_vec(spec)
                .expect("a launch spec is plain data with string keys"),
        }),
        Order::Run(context) => What::Run(wire::Run {
            generation: context.generation.0,
            leader_address: context.leader_address.clone(),
            store_port: context.store_port.map(u32::from),
            free_port: context.free_port.map(u32::from),
            peer_roles: context.peers.iter().map(|role| peer_role(role)).collect(),
        }),
        Order::Stop { grace } => What::Stop(wire::Stop { grace_ms: grace.0 }),
        Order::Clear => What::Clear(wire::Clear {}),
    };
    wire::Order { replica: Some(reference(ordered.id, ordered.fence)), what: Some(what) }
}

/// The order to clear a replica that the state no longer knows, whatever its fence.
pub(super) fn clear(id: ReplicaId) -> wire::Order {
    let newest = Fence { attempt: Attempt(u32::MAX), generation: Generation(u32::MAX) };
    wire::Order {
        replica: Some(reference(id, newest)),
        what: Some(wire::order::What::Clear(wire::Clear {})),
    }
}

fn reference(id: ReplicaId, fence: Fence) -> wire::ReplicaRef {
    wire::ReplicaRef {
        job: id.job.0,
        rank: id.rank.0,
        attempt: fence.attempt.0,
        generation: fence.generation.0,
    }
}
