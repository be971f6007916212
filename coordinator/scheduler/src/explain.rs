//! Why a gang does not fit, in terms its owner can act on.

use std::collections::BTreeMap;

use muster_model::{
    Excluded, GangView, NodeRules, Obstacle, ResourceName, RoleView, Shortage, View, Wait,
};

use crate::fit::{Fit, fit};
use crate::room::{Room, empty_rooms};

/// What would fit of a gang at present.
pub(crate) struct Present<'a> {
    pub(crate) placed: u32,
    /// The role that does not fit whole, by its place in the gang.
    pub(crate) role: usize,
    /// What is left once those are placed.
    pub(crate) left: Vec<Room<'a>>,
}

/// The reason for which a gang has no place.
pub(crate) fn explain(view: &View, gang: &GangView, now: &Present<'_>) -> Wait {
    if now.left.is_empty() {
        let nobody = RoleView { rules: NodeRules::default(), ..gang.roles[now.role].clone() };
        let excluded = excluded(view, &nobody);
        return Wait::NoUsableNode { known: view.nodes.len(), excluded };
    }
    let asking = || gang.roles.iter().filter(|role| role.replicas > 0);
    if let Some(role) = asking().find(|role| !now.left.iter().any(|room| room.matches(role))) {
        let excluded = excluded(view, role);
        return Wait::NoMatchingNode { role: role.name.to_string(), excluded };
    }
    let known = empty_rooms(view);
    for role in asking() {
        if !known.iter().any(|room| room.count(role) > 0) {
            let role_name = role.name.to_string();
            return Wait::NeverFits { role: role_name, shortage: shortage(role, &known) };
        }
    }
    let replicas = gang.roles.iter().map(|role| role.replicas).sum();
    if let Fit::Partial { placed, role, .. } = fit(gang, &mut known.clone()) {
        let request = gang.roles[role].request.clone();
        return Wait::ClusterTooSmall { replicas, would_fit: placed, request };
    }
    let mut open: Vec<Room<'_>> =
        known.into_iter().filter(|room| room.node.closed().is_none()).collect();
    if let Fit::Partial { placed, role, .. } = fit(gang, &mut open) {
        let excluded = excluded(view, &gang.roles[role]);
        return Wait::NodesUnavailable { replicas, would_fit: placed, excluded };
    }
    let role = &gang.roles[now.role];
    Wait::NotEnoughFree {
        replicas,
        would_fit: now.placed,
        role: role.name.to_string(),
        shortage: shortage(role, &now.left),
        excluded: excluded(view, role),
    }
}

/// The nodes that are not used for a role whatever is free there, counted by reason.
fn excluded(view: &View, role: &RoleView) -> Vec<Excluded> {
    let mut counts: BTreeMap<Obstacle, u32> = BTreeMap::new();
    for node in &view.nodes {
        if let Some(why) = node.closed().or_else(|| role.rules.obstacle(node.facts())) {
            *counts.entry(why).or_default() += 1;
        }
    }
    counts.into_iter().map(|(why, nodes)| Excluded { nodes, why }).collect()
}

/// What one replica of a role is short of: the resource that no node has enough of or, when
/// each is there but never together, the one that the best node lacks.
fn shortage(role: &RoleView, rooms: &[Room<'_>]) -> Shortage {
    let matching = || rooms.iter().filter(|room| room.matches(role));
    let largest = |name: &ResourceName| matching().max_by_key(|room| room.free.get(name));
    let nowhere = role
        .request
        .iter()
        .find(|(name, amount)| largest(name).is_none_or(|room| room.free.get(name) < *amount));
    let (resource, room) = match nowhere {
        Some((name, _)) => (name.clone(), largest(name)),
        None => on_the_best_node(role, rooms),
    };
    let offered = room.map_or(0, |room| room.free.get(&resource));
    Shortage {
        needs: role.request.get(&resource),
        largest: offered,
        node: room.filter(|_| offered > 0).map(|room| room.node.name.clone()),
        resource,
        request: role.request.clone(),
    }
}

fn on_the_best_node<'a, 'v>(
    role: &RoleView,
    rooms: &'a [Room<'v>],
) -> (ResourceName, Option<&'a Room<'v>>) {
    let lacks = |room: &Room<'_>| {
        let lacking = role.request.iter().filter(|(name, amount)| room.free.get(name) < *amount);
        lacking.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let best = rooms.iter().filter(|room| room.matches(role)).min_by_key(|room| lacks(room).len());
    // Nothing lacks when one more replica would fit, but a gang with several needs more than one.
    let resource = best.and_then(|room| lacks(room).into_iter().next());
    let first = || role.request.iter().next().map(|(name, _)| name.clone());
    (resource.or_else(first).unwrap_or_else(ResourceName::cpu), best)
}
