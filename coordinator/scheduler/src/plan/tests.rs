use std::collections::BTreeMap;

use muster_model::{
    Attempt, NodeId, NodeName, NodeRules, NodeView, ResourceName, Resources, RoleName, RoleView,
};
use proptest::prelude::*;

use super::*;

mod nodes;

fn cpu(cores: u64) -> Resources {
    Resources::new().with("cpu", cores * 1000)
}

fn gpu(cores: u64, gpus: u64) -> Resources {
    cpu(cores).with("nvidia.com/gpu", gpus)
}

fn node(id: u32, capacity: Resources, free: Resources) -> NodeView {
    NodeView {
        id: NodeId(id),
        name: NodeName::new(format!("n{id}")).unwrap(),
        labels: BTreeMap::new(),
        capacity,
        free,
        replicas: 0,
        usable: true,
        cordoned: false,
        taints: Vec::new(),
    }
}

fn empty(id: u32, capacity: Resources) -> NodeView {
    node(id, capacity.clone(), capacity)
}

fn role(name: &str, replicas: u32, request: Resources) -> RoleView {
    RoleView { name: RoleName(name.into()), replicas, request, rules: NodeRules::default() }
}

fn zone(value: &str) -> NodeRules {
    let selector = BTreeMap::from([("zone".to_owned(), value.to_owned())]);
    NodeRules { selector, ..NodeRules::default() }
}

fn gang(job: u64, roles: Vec<RoleView>) -> GangView {
    GangView { job: JobId(job), attempt: Attempt(0), since: Timestamp(job), roles }
}

fn planned(nodes: Vec<NodeView>, waiting: Vec<GangView>) -> Plan {
    plan(&View { nodes, waiting }, &Policy::default(), Timestamp(1000))
}

fn places(plan: &Plan) -> Vec<Vec<u32>> {
    plan.placements.iter().map(|p| p.nodes.iter().map(|node| node.0).collect()).collect()
}

#[test]
fn a_gang_goes_to_the_smallest_node_that_holds_it_whole() {
    let nodes = vec![empty(0, cpu(16)), empty(1, cpu(4)), empty(2, cpu(8))];
    let gangs = vec![gang(1, vec![role("Master", 1, cpu(1)), role("Worker", 3, cpu(1))])];
    assert_eq!(places(&planned(nodes, gangs)), [[1, 1, 1, 1]]);
}

#[test]
fn a_gang_too_large_for_one_node_fills_few_and_numbers_its_ranks_node_by_node() {
    let nodes = vec![empty(0, cpu(2)), empty(1, cpu(4)), empty(2, cpu(4))];
    let gangs = vec![gang(1, vec![role("Worker", 6, cpu(1))])];
    assert_eq!(places(&planned(nodes, gangs)), [[1, 1, 1, 1, 0, 0]]);
}

#[test]
fn gangs_without_gpus_leave_gpu_nodes_alone() {
    let nodes = vec![empty(0, gpu(8, 8)), empty(1, cpu(64))];
    let gangs = vec![gang(1, vec![role("Worker", 2, cpu(4))])];
    assert_eq!(places(&planned(nodes, gangs)), [[1, 1]]);
}

#[test]
fn the_role_with_devices_is_placed_first_and_the_other_joins_it() {
    let nodes = vec![empty(0, cpu(16)), empty(1, gpu(4, 4)), empty(2, gpu(4, 4))];
    let gangs = vec![gang(1, vec![role("Master", 1, cpu(1)), role("Worker", 2, gpu(3, 4))])];
    assert_eq!(places(&planned(nodes, gangs)), [[1, 1, 2]]);
}

#[test]
fn gangs_that_ask_for_nothing_spread() {
    let nodes = vec![empty(0, cpu(2)), empty(1, cpu(2))];
    let gangs = (1..=4).map(|job| gang(job, vec![role("Worker", 2, Resources::new())])).collect();
    assert_eq!(places(&planned(nodes, gangs)), [[0, 0], [1, 1], [0, 0], [1, 1]]);
}

#[test]
fn nothing_of_a_gang_is_placed_when_one_replica_does_not_fit() {
    let nodes = vec![empty(0, gpu(8, 4)), node(1, gpu(8, 4), gpu(8, 2))];
    let gangs = vec![gang(1, vec![role("Worker", 2, gpu(1, 4))])];
    let plan = planned(nodes, gangs);
    assert_eq!(plan.placements, []);
    let wait = &plan.waits[&JobId(1)];
    assert_eq!(
        wait.to_string(),
        "needs 4x nvidia.com/gpu on one node for role Worker; 1 of 2 replicas fit now, then the \
         largest free block is 2 (node n1)"
    );
}

#[test]
fn the_explanation_names_the_largest_free_block() {
    let nodes = vec![node(0, gpu(8, 8), gpu(8, 2)), node(1, gpu(8, 8), gpu(8, 1))];
    let plan = planned(nodes, vec![gang(1, vec![role("Worker", 1, gpu(1, 4))])]);
    let Wait::NotEnoughFree { shortage, would_fit, .. } = &plan.waits[&JobId(1)] else {
        panic!("{:?}", plan.waits)
    };
    assert_eq!(shortage.resource, ResourceName::nvidia_gpu());
    assert_eq!((shortage.needs, shortage.largest, *would_fit), (4, 2, 0));
    assert_eq!(shortage.node, NodeName::new("n0").ok());
}

#[test]
fn what_can_never_fit_says_so() {
    let one = |nodes: Vec<NodeView>, role: RoleView| {
        planned(nodes, vec![gang(1, vec![role])]).waits[&JobId(1)].name()
    };
    assert_eq!(one(vec![], role("W", 1, cpu(1))), "NoUsableNode");
    let mut unreachable = empty(0, cpu(4));
    unreachable.usable = false;
    assert_eq!(one(vec![unreachable], role("W", 1, cpu(1))), "NoUsableNode");
    assert_eq!(one(vec![empty(0, cpu(4))], role("W", 1, cpu(5))), "NeverFits");
    assert_eq!(one(vec![empty(0, cpu(4))], role("W", 5, cpu(1))), "ClusterTooSmall");
    assert_eq!(one(vec![node(0, cpu(4), cpu(1))], role("W", 2, cpu(1))), "NotEnoughFree");
    let selective = RoleView { rules: zone("a"), ..role("W", 1, cpu(1)) };
    assert_eq!(one(vec![empty(0, cpu(4))], selective), "NoMatchingNode");
}

#[test]
fn a_gang_that_has_waited_long_is_not_overtaken() {
    let nodes = vec![node(0, cpu(8), cpu(4))];
    let waiting = vec![gang(1, vec![role("W", 8, cpu(1))]), gang(2, vec![role("W", 1, cpu(1))])];
    let view = View { nodes, waiting };
    let soon = plan(&view, &Policy::default(), Timestamp(1000));
    assert_eq!(soon.placements.len(), 1);
    let late = plan(&view, &Policy::default(), Timestamp(400_000));
    assert_eq!(late.placements, []);
    assert_eq!(late.waits[&JobId(2)], Wait::BehindOlder { job: JobId(1) });
}

fn amounts() -> impl Strategy<Value = Resources> {
    (0u64..5, 0u64..3).prop_map(|(cores, gpus)| gpu(cores, gpus))
}

proptest! {
    #[test]
    fn plans_never_oversell_place_whole_gangs_and_answer_for_every_gang(
        nodes in proptest::collection::vec((amounts(), any::<bool>()), 0..6),
        gangs in proptest::collection::vec(
            proptest::collection::vec((amounts(), 0u32..5), 1..3), 0..8),
        now in 0u64..1_000_000,
    ) {
        let nodes: Vec<NodeView> = nodes.into_iter().enumerate().map(|(id, (capacity, usable))| {
            NodeView { usable, ..empty(id as u32, capacity) }
        }).collect();
        let waiting: Vec<GangView> = gangs.into_iter().enumerate().map(|(job, roles)| {
            let roles = roles.into_iter().enumerate();
            let mut roles: Vec<_> = roles.map(|(i, (request, n))| role(&format!("R{i}"), n, request)).collect();
            roles[0].replicas += 1;
            gang(job as u64, roles)
        }).collect();
        let view = View { nodes, waiting };
        let plan = plan(&view, &Policy::default(), Timestamp(now));
        let mut free: BTreeMap<NodeId, Resources> =
            view.nodes.iter().filter(|n| n.usable).map(|n| (n.id, n.free.clone())).collect();
        for placement in &plan.placements {
            let gang = view.waiting.iter().find(|gang| gang.job == placement.job).unwrap();
            let requests: Vec<&Resources> = gang.roles.iter()
                .flat_map(|role| std::iter::repeat_n(&role.request, role.replicas as usize)).collect();
            prop_assert_eq!(requests.len(), placement.nodes.len());
            for (request, node) in requests.into_iter().zip(&placement.nodes) {
                prop_assert!(free.get_mut(node).is_some_and(|free| free.checked_sub(request)));
            }
        }
        for gang in &view.waiting {
            let placed = plan.placements.iter().any(|placement| placement.job == gang.job);
            prop_assert!(placed != plan.waits.contains_key(&gang.job));
        }
    }
}
