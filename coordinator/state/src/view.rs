//! What the scheduler plans on.

use muster_model::{GangView, NodeId, NodeView, ReplicaId, RoleView, View};

use crate::state::State;

impl State {
    /// A snapshot of nodes and waiting gangs.
    #[must_use]
    pub fn view(&self) -> View {
        let nodes = self.tables().nodes.iter().map(|(id, node)| NodeView {
            id: *id,
            name: node.name.clone(),
            labels: node.all_labels(),
            capacity: node.capacity.clone(),
            free: node.capacity.saturating_sub(&self.reserved(*id)),
            replicas: self.holding_on(*id),
            usable: node.phase.is_ready(),
            cordoned: node.cordoned.is_some(),
            taints: node.taints.iter().map(|mark| mark.taint.clone()).collect(),
        });
        let waiting = self.indexes().waiting.iter().filter_map(|id| {
            let (job, gang) = (self.job(*id)?, self.gang(*id)?);
            let roles = job.gang.roles.iter().map(|role| RoleView {
                name: role.name.clone(),
                replicas: role.replicas,
                request: role.pod.request(),
                rules: role.pod.node_rules(),
            });
            Some(GangView {
                job: *id,
                attempt: gang.attempt,
                since: gang.since,
                roles: roles.collect(),
            })
        });
        View { nodes: nodes.collect(), waiting: waiting.collect() }
    }

    fn holding_on(&self, node: NodeId) -> u32 {
        let holds = |id: &ReplicaId| self.replica(*id).is_some_and(|replica| replica.holds);
        self.replicas_on(node).filter(holds).count() as u32
    }

    /// Whether any gang waits for a placement.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.indexes().waiting.is_empty()
    }
}
