//! Which nodes are used at all.

use muster_model::{Excluded, Obstacle, Taint, TaintEffect, Tolerated, Toleration};

use super::*;

fn tainted(node: NodeView, effect: TaintEffect) -> NodeView {
    NodeView { taints: vec![Taint::new("gpu", "a100", effect).unwrap()], ..node }
}

fn cordoned(node: NodeView) -> NodeView {
    NodeView { cordoned: true, ..node }
}

fn labelled(node: NodeView, value: &str) -> NodeView {
    NodeView { labels: BTreeMap::from([("zone".to_owned(), value.to_owned())]), ..node }
}

fn tolerant(role: RoleView) -> RoleView {
    let toleration = Toleration { key: None, value: Tolerated::Any, effect: None, lasts: None };
    let rules = NodeRules { tolerations: vec![toleration], ..role.rules };
    RoleView { rules, ..role }
}

fn wait(nodes: Vec<NodeView>, role: RoleView) -> Wait {
    planned(nodes, vec![gang(1, vec![role])]).waits[&JobId(1)].clone()
}

#[test]
fn cordoned_and_tainted_nodes_are_not_used_unless_the_taint_is_tolerated() {
    let nodes = || {
        vec![
            cordoned(empty(0, cpu(2))),
            tainted(empty(1, cpu(2)), TaintEffect::NoSchedule),
            tainted(empty(2, cpu(2)), TaintEffect::NoExecute),
            empty(3, cpu(8)),
        ]
    };
    let two = || role("W", 2, cpu(1));
    assert_eq!(places(&planned(nodes(), vec![gang(1, vec![two()])])), [[3, 3]]);
    assert_eq!(places(&planned(nodes(), vec![gang(1, vec![tolerant(two())])])), [[1, 1]]);
}

#[test]
fn discouraged_nodes_are_used_only_when_nothing_else_fits_and_then_as_little_as_possible() {
    let discouraged = || tainted(empty(0, cpu(4)), TaintEffect::PreferNoSchedule);
    let nodes = || vec![discouraged(), empty(1, cpu(2)), empty(2, cpu(2))];
    let of = |replicas| vec![gang(1, vec![role("W", replicas, cpu(1))])];
    // One node would hold it whole, but two others do without it.
    assert_eq!(places(&planned(nodes(), of(4))), [[1, 1, 2, 2]]);
    assert_eq!(places(&planned(nodes(), of(5))), [[1, 1, 2, 2, 0]]);
    let willing = gang(1, vec![tolerant(role("W", 4, cpu(1)))]);
    assert_eq!(places(&planned(nodes(), vec![willing])), [[0, 0, 0, 0]]);
}

#[test]
fn what_one_gang_takes_without_the_last_resort_is_not_sold_again() {
    let discouraged = tainted(empty(0, cpu(2)), TaintEffect::PreferNoSchedule);
    let gangs = (1..=3).map(|job| gang(job, vec![role("W", 2, cpu(1))])).collect();
    let plan = planned(vec![discouraged, empty(1, cpu(2))], gangs);
    assert_eq!(places(&plan), [[1, 1], [0, 0]]);
    assert_eq!(plan.waits[&JobId(3)].name(), "NotEnoughFree");
}

#[test]
fn roles_of_one_gang_may_need_different_nodes() {
    let nodes = vec![labelled(empty(0, cpu(8)), "a"), labelled(empty(1, cpu(8)), "b")];
    let of = |value| RoleView { rules: zone(value), ..role(value, 1, cpu(1)) };
    assert_eq!(places(&planned(nodes, vec![gang(1, vec![of("b"), of("a")])])), [[1, 0]]);
}

#[test]
fn a_gang_that_no_node_can_take_is_told_what_keeps_it_off_each() {
    let nodes = vec![
        cordoned(empty(0, cpu(4))),
        cordoned(labelled(empty(1, cpu(4)), "a")),
        cordoned(empty(2, cpu(4))),
        tainted(empty(3, cpu(4)), TaintEffect::NoSchedule),
        tainted(labelled(empty(4, cpu(4)), "a"), TaintEffect::NoSchedule),
        labelled(empty(5, cpu(4)), "b"),
    ];
    let wait = wait(nodes, RoleView { rules: zone("a"), ..role("W", 1, cpu(1)) });
    assert_eq!(wait.name(), "NoMatchingNode");
    assert_eq!(
        wait.to_string(),
        "no node can take role W: 3 nodes cordoned, 2 with taint gpu=a100:NoSchedule not \
         tolerated, 1 without label zone=a"
    );
}

#[test]
fn nodes_that_are_not_used_are_named_beside_a_shortage() {
    let nodes = vec![cordoned(empty(0, cpu(4))), node(1, cpu(4), cpu(1))];
    let wait = wait(nodes, role("W", 1, cpu(2)));
    let Wait::NotEnoughFree { excluded, .. } = &wait else { panic!("{wait}") };
    assert_eq!(*excluded, [Excluded { nodes: 1, why: Obstacle::Cordoned }]);
    assert!(wait.to_string().ends_with("; not used: 1 node cordoned"), "{wait}");
}

#[test]
fn a_gang_that_waits_for_a_cordoned_node_holds_nobody_back() {
    let nodes = vec![cordoned(empty(0, cpu(4))), empty(1, cpu(4))];
    let waiting = vec![gang(1, vec![role("W", 8, cpu(1))]), gang(2, vec![role("W", 1, cpu(1))])];
    let plan = plan(&View { nodes, waiting }, &Policy::default(), Timestamp(400_000));
    assert_eq!(places(&plan), [[1]]);
    assert_eq!(
        plan.waits[&JobId(1)].to_string(),
        "only 4 of 8 replicas would fit into the nodes that can be used now; not used: 1 node \
         cordoned"
    );
}

#[test]
fn a_cluster_of_closed_nodes_says_why_each_is_closed() {
    let mut away = empty(1, cpu(4));
    away.usable = false;
    let wait = wait(vec![cordoned(empty(0, cpu(4))), away], role("W", 1, cpu(1)));
    assert_eq!(
        wait.to_string(),
        "none of the 2 known nodes can be used now: 1 node unreachable, 1 cordoned; see `muster \
         nodes`"
    );
}
