//! Free room on nodes while a plan grows.

use std::cmp::Reverse;

use muster_model::{NodeId, NodeView, Resources, RoleView, View};

/// A node's room.
#[derive(Debug, Clone)]
pub(crate) struct Room<'a> {
    pub(crate) node: &'a NodeView,
    pub(crate) free: Resources,
    pub(crate) replicas: u32,
}

/// The order in which nodes that can take what is left of a role are tried; the least is best.
pub(crate) type Snugness = (Reverse<bool>, u64, u64, u32, NodeId);

/// The rooms of all nodes that can be used, as they are now.
pub(crate) fn free_rooms(view: &View) -> Vec<Room<'_>> {
    let open = view.nodes.iter().filter(|node| node.closed().is_none());
    open.map(|node| Room { node, free: node.free.clone(), replicas: node.replicas }).collect()
}

/// The rooms of all known nodes, as if nothing ran on them.
pub(crate) fn empty_rooms(view: &View) -> Vec<Room<'_>> {
    let rooms = view.nodes.iter();
    rooms.map(|node| Room { node, free: node.capacity.clone(), replicas: 0 }).collect()
}

impl Room<'_> {
    /// Whether the role may run on the node: its labels are the ones that are asked for, its taints are tolerated.
    pub(crate) fn matches(&self, role: &RoleView) -> bool {
        role.rules.obstacle(self.node.facts()).is_none()
    }

    /// Whether the node is only for when nothing else is left (`PreferNoSchedule`).
    pub(crate) fn is_last_resort(&self, role: &RoleView) -> bool {
        role.rules.avoids(&self.node.taints)
    }

    /// How many replicas of a role fit here now.
    pub(crate) fn count(&self, role: &RoleView) -> u32 {
        if !self.matches(role) {
            return 0;
        }
        let per_resource = role.request.iter().map(|(name, amount)| self.free.get(name) / amount);
        per_resource.min().map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How well `count` replicas of a role would fill this node. Best is a node that the gang
    /// uses already; then one whose devices the role has use for, so that GPUs are not spent
    /// on gangs that want none; then the one with the least left over; for gangs that ask for nothing, the
    /// one with the fewest replicas.
    pub(crate) fn snugness(&self, role: &RoleView, (count, used): (u32, bool)) -> Snugness {
        let mut left_permille = 0;
        let mut idle_devices = 0;
        for (name, free) in self.free.iter() {
            let asked = role.request.get(name);
            if asked == 0 {
                idle_devices += if name.is_extended() { free } else { 0 };
            } else {
                let left = free.saturating_sub(asked.saturating_mul(u64::from(count)));
                let capacity = self.node.capacity.get(name).max(1);
                left_permille += u64::try_from(u128::from(left) * 1000 / u128::from(capacity))
                    .unwrap_or(u64::MAX);
            }
        }
        (Reverse(used), idle_devices, left_permille, self.replicas, self.node.id)
    }

    /// Takes room for `count` replicas.
    pub(crate) fn take(&mut self, request: &Resources, count: u32) {
        for _ in 0..count {
            self.free = self.free.saturating_sub(request);
        }
        self.replicas = self.replicas.saturating_add(count);
    }
}
