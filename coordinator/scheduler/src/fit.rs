//! Fitting one gang into rooms: all of its replicas, or none.
//!
//! Few nodes rather than many, because ranks on one node talk fastest: the smallest node that holds all that is
//! left of a role, else as many as fit on the node that holds most. Larger requests go first, as in
//! best-fit decreasing bin packing; ranks are then numbered node by node.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use muster_model::{GangView, NodeId, NodeRules, Resources, RoleView};

use crate::room::Room;

/// The nodes of all ranks, or the first replica that has no room.
pub(crate) enum Fit<'a> {
    /// The node of each rank, in the order of ranks.
    Whole(Vec<NodeId>),
    /// Not all fit.
    Partial {
        /// How many do.
        placed: u32,
        /// The role, by its place in the gang, that does not fit whole.
        role: usize,
        /// What is left once those are placed.
        left: Vec<Room<'a>>,
    },
}

/// Tries to fit a gang. The rooms are changed only when it fits whole.
pub(crate) fn fit<'a>(gang: &GangView, rooms: &mut Vec<Room<'a>>) -> Fit<'a> {
    if let Some(nodes) = on_one_node(gang, rooms) {
        return Fit::Whole(nodes);
    }
    let mut trial = rooms.clone();
    let mut used = BTreeSet::new();
    let mut nodes: Vec<Vec<NodeId>> = vec![Vec::new(); gang.roles.len()];
    let mut placed = 0;
    for index in largest_first(gang) {
        let role = &gang.roles[index];
        nodes[index] = place_role(role, &mut trial, &mut used);
        placed += nodes[index].len() as u32;
        if nodes[index].len() < role.replicas as usize {
            return Fit::Partial { placed, role: index, left: trial };
        }
    }
    *rooms = trial;
    Fit::Whole(nodes.concat())
}

fn on_one_node(gang: &GangView, rooms: &mut [Room<'_>]) -> Option<Vec<NodeId>> {
    let mut sum = Resources::new();
    for role in &gang.roles {
        for (name, amount) in role.request.iter() {
            let all = amount.saturating_mul(u64::from(role.replicas));
            sum.set(name.clone(), sum.get(name).saturating_add(all));
        }
    }
    let size: u32 = gang.roles.iter().map(|role| role.replicas).sum();
    let whole = RoleView {
        name: gang.roles.first()?.name.clone(),
        replicas: 1,
        request: sum,
        rules: NodeRules::default(),
    };
    let asking = || gang.roles.iter().filter(|role| role.replicas > 0);
    let allowed =
        |room: &Room<'_>| asking().all(|role| room.matches(role) && !room.is_last_resort(role));
    let fits = |room: &&mut Room<'_>| whole_fits(room, &whole.request) && allowed(room);
    let best =
        rooms.iter_mut().filter(fits).min_by_key(|room| room.snugness(&whole, (1, false)))?;
    best.take(&whole.request, 1);
    best.replicas = best.replicas.saturating_add(size - 1);
    Some(vec![best.node.id; size as usize])
}

/// Whether a request has room, whoever asks.
fn whole_fits(room: &Room<'_>, request: &Resources) -> bool {
    request.iter().all(|(name, amount)| room.free.get(name) >= amount)
}

fn largest_first(gang: &GangView) -> Vec<usize> {
    let mut order: Vec<usize> = (0..gang.roles.len()).collect();
    let weight = |role: &RoleView| {
        let devices: u64 =
            role.request.iter().filter(|(name, _)| name.is_extended()).map(|(_, n)| n).sum();
        (devices, role.request.get(&muster_model::ResourceName::cpu()))
    };
    order.sort_by_key(|index| Reverse(weight(&gang.roles[*index])));
    order
}

/// The nodes of as many replicas of a role as fit, in the order of ranks.
fn place_role(role: &RoleView, rooms: &mut [Room<'_>], used: &mut BTreeSet<NodeId>) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut left = role.replicas;
    while left > 0 {
        // Last resorts are touched only once nothing else has room.
        let has_room = |room: &Room<'_>| room.count(role) > 0;
        let is_welcome = |room: &Room<'_>| !room.is_last_resort(role);
        let some_welcome = rooms.iter().any(|room| is_welcome(room) && has_room(room));
        let usable = |room: &&mut Room<'_>| is_welcome(room) || !some_welcome;
        let holds_rest = rooms
            .iter_mut()
            .filter(usable)
            .filter(|room| room.count(role) >= left)
            .min_by_key(|room| room.snugness(role, (left, used.contains(&room.node.id))));
        let room = match holds_rest {
            Some(room) => Some(room),
            None => rooms
                .iter_mut()
                .filter(usable)
                .filter(|room| has_room(room))
                .max_by_key(|room| (room.count(role), Reverse(room.node.id))),
        };
        let Some(room) = room else { break };
        let count = room.count(role).min(left);
        room.take(&role.request, count);
        used.insert(room.node.id);
        nodes.extend(std::iter::repeat_n(room.node.id, count as usize));
        left -= count;
    }
    nodes
}
