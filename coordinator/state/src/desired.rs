//! What every agent should do, computed from the state alone. Orders are level-triggered: the same order may
//! be given any number of times, and after a failover they are computed anew.

use std::collections::BTreeSet;

use muster_model::{Fence, Rank};
use muster_model::{
    GangPhase, GenerationContext, JobId, LaunchSpec, Millis, NodeId, ReplicaId, Timestamp,
};

use crate::record::{Gang, Job, NodePhase, Replica};
use crate::state::State;

/// What an agent should do with one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Prepare it, report ready, and wait.
    Prepare(Box<LaunchSpec>),
    /// Its generation is open: run it. An agent that knows nothing of it reports it lost.
    Run(GenerationContext),
    /// Stop it within the grace period and report its end.
    Stop {
        /// The time between SIGTERM and SIGKILL.
        grace: Millis,
    },
    /// Its end is known, or it is not known at all: clean up.
    Clear,
}

/// An order and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The replica.
    pub id: ReplicaId,
    /// The placement and generation that the order belongs to.
    pub fence: Fence,
    /// The order.
    pub order: Order,
}

/// See [`State::held_up`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUp {
    /// Since when the node is unreachable.
    pub since: Timestamp,
    /// See [`crate::Node::cut_off`].
    pub cut_off: Millis,
    /// The jobs of which something may still run there, each with the witnesses of the node.
    pub jobs: Vec<(JobId, Vec<NodeId>)>,
}

/// A cut-off agent must reach all of its witnesses to go on without members, and the leader must hear one of them all the
/// while to give it up: few enough to be asked at once, and enough that one of them lives.
const MOST_WITNESSES: usize = 8;

impl State {
    /// The order for a replica and the node that it goes to; `None` when the replica is gone.
    #[must_use]
    pub fn order(&self, id: ReplicaId) -> Option<(NodeId, Ordered)> {
        let replica = self.replica(id)?;
        let order = self.order_of(id, replica)?;
        Some((replica.node, Ordered { id, fence: replica.fence, order }))
    }

    /// Every order for a node that is not Clear, in the order of replicas: with the rule that
    /// what is not listed is to be cleared, this is all that a node must know.
    #[must_use]
    pub fn orders_for(&self, node: NodeId) -> Vec<Ordered> {
        self.replicas_on(node)
            .filter_map(|id| self.order(id).map(|(_, ordered)| ordered))
            .filter(|ordered| ordered.order != Order::Clear)
            .collect()
    }

    /// The other nodes of a gang whose agents one of its nodes asks whether they hear a leader: those of the ranks that
    /// follow on its own, in the order of ranks, and [`MOST_WITNESSES`] at most. None for a gang on a single node.
    #[must_use]
    pub fn witnesses(&self, job: JobId, node: NodeId) -> Vec<NodeId> {
        let own = self.replicas_on(node).find(|id| id.job == job).map_or(Rank(0), |id| id.rank);
        let id = |rank| ReplicaId { job, rank: Rank(rank) };
        let replicas = &self.tables().replicas;
        let after = replicas.range(id(own.0)..=id(u32::MAX));
        let mut found: Vec<NodeId> = Vec::new();
        for (_, replica) in after.chain(replicas.range(id(0)..id(own.0))) {
            if replica.node != node && !found.contains(&replica.node) {
                found.push(replica.node);
                if found.len() == MOST_WITNESSES {
                    break;
                }
            }
        }
        found
    }

    /// What an unreachable node holds up, and what its agent has promised; `None` when it can be reached, is gone, has
    /// promised nothing, or would not ask the members of today for a leader.
    #[must_use]
    pub fn held_up(&self, id: NodeId) -> Option<HeldUp> {
        let (since, cut_off) = self.promise_of_lost(id)?;
        let live = |id: &ReplicaId| self.replica(*id).is_some_and(|r| !r.phase.is_exited());
        let mut jobs: Vec<JobId> =
            self.replicas_on(id).filter(live).map(|replica| replica.job).collect();
        jobs.dedup();
        let jobs = jobs.into_iter().map(|job| (job, self.witnesses(job, id))).collect();
        Some(HeldUp { since, cut_off, jobs })
    }

    /// Since when a node is unreachable, and after which span its agent has stopped everything. `None` as for
    /// [`State::held_up`].
    pub(crate) fn promise_of_lost(&self, id: NodeId) -> Option<(Timestamp, Millis)> {
        let node = self.node(id)?;
        let NodePhase::Unreachable { since } = node.phase else { return None };
        // One that would ask others might find all of them gone, take that for an outage, and let its replicas run.
        let asks_members = node.members == self.member_addresses();
        Some((since, node.cut_off.filter(|_| asks_members)?))
    }

    /// The addresses of the members, in order.
    fn member_addresses(&self) -> Vec<String> {
        let members = self.tables().members.iter();
        let members: BTreeSet<String> = members.map(|(_, one)| one.address.clone()).collect();
        members.into_iter().collect()
    }

    fn order_of(&self, id: ReplicaId, replica: &Replica) -> Option<Order> {
        let (job, gang) = (self.job(id.job)?, self.gang(id.job)?);
        if replica.phase.is_exited() {
            return Some(Order::Clear);
        }
        Some(match gang.phase {
            GangPhase::Preparing => Order::Prepare(Box::new(self.launch_spec(id, replica, job))),
            GangPhase::Running | GangPhase::Draining { .. } => run(gang)?,
            GangPhase::Stopping { .. } => {
                let own = job.gang.role(replica.role).pod.termination_grace;
                Order::Stop { grace: gang.stop_grace.unwrap_or(own) }
            }
            GangPhase::Waiting | GangPhase::Backoff { .. } | GangPhase::Released => Order::Clear,
        })
    }

    fn launch_spec(&self, id: ReplicaId, replica: &Replica, job: &Job) -> LaunchSpec {
        let spec = &job.gang;
        let role = spec.role(replica.role);
        let index_in_role = spec.place(id.rank).map_or(0, |(_, index)| index);
        let short_name = spec.rank_name(id.rank);
        let others = self.witnesses(id.job, replica.node).into_iter();
        let witness = |node| self.node(node).map(|node| node.witness.clone()).unwrap_or_default();
        let neighbours = self.replicas_on(replica.node).filter(|other| other.job == id.job);
        LaunchSpec {
            id,
            fence: replica.fence,
            job_uid: job.uid.clone(),
            job: job.key.clone(),
            name: role.replica_name(&job.key.name, index_in_role),
            short_name,
            role_index: replica.role,
            index_in_role,
            role: role.clone(),
            gang_size: spec.size(),
            replicas_on_node: neighbours.count() as u32,
            holds_store: id.rank == Rank(0)
                && spec.rendezvous == muster_model::Rendezvous::TorchStore,
            reserves_port: spec.reserves_ports(replica.role),
            witnesses: others.map(witness).collect(),
            submit_dir: job.submit_dir.clone(),
        }
    }
}

fn run(gang: &Gang) -> Option<Order> {
    let open = gang.rendezvous.as_ref()?;
    Some(Order::Run(GenerationContext {
        generation: gang.generation,
        leader_address: open.leader_address.clone(),
        store_port: open.store_port,
        free_port: open.free_port,
        peers: open.peers.clone(),
    }))
}
