//! Stories of nodes: what operators do to them, and what becomes of the gangs there.

use std::collections::BTreeMap;

use muster_model::{
    AfterStop, Attempt, ConditionType, ExitStatus, GangPhase, JobId, JobPhase, Millis, NodeId,
    Rank, Reason, ReplicaId, RequestId, RestartPolicy, Taint, TaintEffect, Tolerated, Toleration,
};
use muster_state::{Accepted, Body, Effect, Order, RegisterNode, Reply, TaintNode};

use crate::world::{Shape, World};

fn rank(job: JobId, rank: u32) -> ReplicaId {
    ReplicaId { job, rank: Rank(rank) }
}

/// A gang of four ranks that fills two of three nodes.
fn running(shape: &Shape) -> (World, JobId) {
    let mut world = World::with_nodes(&[2, 2, 2]);
    let job = world.submit("ddp", shape);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    (world, job)
}

fn nodes_of(world: &World, job: JobId) -> Vec<u32> {
    world.state.replicas_of(job).map(|(_, replica)| replica.node.0).collect()
}

fn node(number: u32) -> NodeId {
    NodeId(number)
}

fn tolerating(seconds: Option<u64>) -> Shape {
    let lasts = seconds.map(Millis::from_secs);
    let toleration =
        Toleration { key: Some("odd".into()), value: Tolerated::Any, effect: None, lasts };
    Shape { tolerations: vec![toleration], ..Shape::ddp(3) }
}

#[test]
fn a_cordoned_node_keeps_what_runs_there_and_gets_nothing_new() {
    let mut world = World::with_nodes(&[2, 2]);
    let first = world.submit("first", &Shape::ddp(0));
    world.settle();
    let there = nodes_of(&world, first)[0];
    world.cordon(node(there), true).unwrap();
    let second = world.submit("second", &Shape::ddp(1));
    let third = world.submit("third", &Shape::ddp(0));
    world.settle();
    assert_eq!(world.phase(first), Some(JobPhase::Running));
    assert!(!nodes_of(&world, second).contains(&there));
    assert_eq!(world.phase(third), Some(JobPhase::Queued));
    let since = world.state.node(node(there)).unwrap().cordoned;
    world.advance(Millis::from_secs(5));
    world.cordon(node(there), true).unwrap();
    assert_eq!(world.state.node(node(there)).unwrap().cordoned, since, "asked twice");
    world.cordon(node(there), false).unwrap();
    assert!(world.effects.contains(&Effect::Plan));
    world.settle();
    assert_eq!(nodes_of(&world, third), [there]);
}

#[test]
fn a_placement_on_a_node_that_was_cordoned_meanwhile_is_refused() {
    let mut world = World::with_nodes(&[2]);
    let job = world.submit("ddp", &Shape::ddp(0));
    world.cordon(node(0), true).unwrap();
    let placement = muster_model::Placement { job, attempt: Attempt(0), nodes: vec![node(0)] };
    let bind = || Body::BindGang(muster_state::BindGang { placement: placement.clone() });
    assert!(matches!(world.command(bind()), Reply::Rejected(Reason::StalePlan { .. })));
    world.cordon(node(0), false).unwrap();
    world.taint(node(0), &["odd:NoSchedule"]).unwrap();
    assert!(matches!(world.command(bind()), Reply::Rejected(Reason::StalePlan { .. })));
    world.taint(node(0), &["odd-"]).unwrap();
    assert_eq!(world.command(bind()), Reply::Accepted(Accepted::Bound(job)));
}

#[test]
fn an_evicted_gang_leaves_all_its_nodes_and_starts_elsewhere_uncharged() {
    let (mut world, job) = running(&Shape::ddp(3));
    let before = world.state.status(job).unwrap().clone();
    let there = node(nodes_of(&world, job)[0]);
    world.cordon(there, true).unwrap();
    world.evict(job, there, None).unwrap();
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: AfterStop::Requeue });
    assert_eq!(world.phase(job), Some(JobPhase::Restarting));
    assert!(world.message(job, ConditionType::Restarting).starts_with("Evicted: node n"));
    // The others crash because the first have gone: that is nobody's failure.
    world.end(rank(job, 3), ExitStatus::Code(1));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert!(!nodes_of(&world, job).contains(&there.0));
    assert_eq!(world.state.gang(job).unwrap().attempt, Attempt(2));
    let after = world.state.status(job).unwrap();
    assert_eq!(
        (after.restarts, after.streak, after.program_streak),
        (before.restarts, before.streak, before.program_streak)
    );
    assert_eq!(after.started, before.started, "activeDeadlineSeconds goes on");
    // A late repetition does not hit the gang in its next place.
    world.evict(job, there, None).unwrap();
    assert_eq!(world.gang_phase(job), GangPhase::Running);
}

#[test]
fn an_evicted_gang_that_fits_nowhere_else_waits_and_comes_back() {
    let mut world = World::with_nodes(&[4]);
    let job = world.submit("ddp", &Shape::ddp(3));
    world.settle();
    world.cordon(node(0), true).unwrap();
    world.evict(job, node(0), None).unwrap();
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Queued));
    assert!(world.state.reserved(node(0)).is_empty());
    world.cordon(node(0), false).unwrap();
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn the_grace_period_of_a_drain_replaces_the_one_of_the_pods_for_this_stop_only() {
    let (mut world, job) = running(&Shape::ddp(3));
    let there = node(nodes_of(&world, job)[0]);
    world.cordon(there, true).unwrap();
    let grace = |world: &World| match world.state.order(rank(job, 3)).unwrap().1.order {
        Order::Stop { grace } => grace,
        other => panic!("{other:?}"),
    };
    world.evict(job, there, Some(Millis::from_secs(5))).unwrap();
    assert_eq!(grace(&world), Millis::from_secs(5));
    // Asked again it may only hurry up; then every node is told.
    world.evict(job, there, Some(Millis::from_secs(60))).unwrap();
    assert_eq!(grace(&world), Millis::from_secs(5));
    world.evict(job, there, Some(Millis(0))).unwrap();
    assert_eq!(grace(&world), Millis(0));
    let told = |effect: &&Effect| matches!(effect, Effect::Order(..));
    assert_eq!(world.effects.iter().filter(told).count(), 4);
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().stop_grace, None);
}

#[test]
fn a_gang_is_evicted_only_from_a_cordoned_node_and_only_if_it_may_start_twice() {
    let never = Shape { restart: RestartPolicy::Never, ..Shape::ddp(3) };
    let (mut world, job) = running(&never);
    let there = node(nodes_of(&world, job)[0]);
    let refused = world.evict(job, there, None);
    assert!(matches!(refused, Err(Reason::NodeNotCordoned { .. })), "{refused:?}");
    world.cordon(there, true).unwrap();
    let refused = world.evict(job, there, None);
    assert!(matches!(refused, Err(Reason::NotToRestart { .. })), "{refused:?}");
    let name = world.state.node(there).unwrap().name.to_string();
    let force = muster_state::EvictGang { job, node: name, grace: None, force: true };
    world.command(Body::EvictGang(force)).into_result().unwrap();
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert_eq!(world.state.gang(job).unwrap().attempt, Attempt(2));
}

#[test]
fn work_that_was_done_before_the_eviction_reached_it_counts() {
    let (mut world, job) = running(&Shape::ddp(3));
    let there = node(nodes_of(&world, job)[3]);
    world.cordon(there, true).unwrap();
    world.evict(job, there, None).unwrap();
    world.end(rank(job, 0), ExitStatus::Code(0));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
    assert_eq!(world.gang_phase(job), GangPhase::Released);
}

#[test]
fn a_failure_that_is_being_judged_is_judged_and_the_gang_restarts_elsewhere() {
    let (mut world, job) = running(&Shape::ddp(3));
    let there = node(nodes_of(&world, job)[0]);
    world.cordon(there, true).unwrap();
    world.end(rank(job, 2), ExitStatus::Code(3));
    world.evict(job, there, None).unwrap();
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: AfterStop::Judge });
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert!(!nodes_of(&world, job).contains(&there.0));
    assert_eq!(world.state.status(job).unwrap().restarts, 1, "the failure is charged");
}

#[test]
fn a_gang_that_restarts_does_not_stay_on_a_node_that_was_cordoned() {
    let (mut world, job) = running(&Shape::ddp(3));
    let there = node(nodes_of(&world, job)[0]);
    world.cordon(there, true).unwrap();
    world.end(rank(job, 2), ExitStatus::Signal(9));
    world.settle();
    assert!(!nodes_of(&world, job).contains(&there.0));
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn an_eviction_is_undone_by_nothing_but_deletion_and_suspension() {
    for suspend in [true, false] {
        let (mut world, job) = running(&Shape::ddp(3));
        let there = node(nodes_of(&world, job)[0]);
        world.cordon(there, true).unwrap();
        world.evict(job, there, None).unwrap();
        if suspend {
            world.suspend("ddp", true).unwrap();
            world.settle();
            assert_eq!(world.phase(job), Some(JobPhase::Suspended));
        } else {
            world.delete("ddp").unwrap();
            world.settle();
            assert_eq!(world.phase(job), None);
        }
    }
}

#[test]
fn what_is_left_of_a_succeeded_gang_leaves_a_drained_node_whatever_its_restart_policy() {
    let never = Shape { restart: RestartPolicy::Never, ..Shape::ddp(3) };
    let (mut world, job) = running(&never);
    world.end(rank(job, 0), ExitStatus::Code(0));
    assert!(matches!(world.gang_phase(job), GangPhase::Draining { .. }));
    let there = node(nodes_of(&world, job)[3]);
    world.cordon(there, true).unwrap();
    world.evict(job, there, Some(Millis(0))).unwrap();
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: AfterStop::Release });
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
    assert_eq!(world.gang_phase(job), GangPhase::Released);
}

#[test]
fn a_gang_between_two_starts_does_not_start_again_where_it_may_not() {
    let (mut world, job) = running(&Shape::ddp(3));
    // The second failure in a row has a delay.
    for _ in 0..2 {
        world.end(rank(job, 2), ExitStatus::Signal(9));
        world.settle();
    }
    assert!(matches!(world.gang_phase(job), GangPhase::Backoff { .. }));
    let there = node(nodes_of(&world, job)[0]);
    world.taint(there, &["odd:NoSchedule"]).unwrap();
    world.advance(Millis::from_secs(60));
    assert_eq!(world.gang_phase(job), GangPhase::Waiting);
    world.settle();
    assert!(!nodes_of(&world, job).contains(&there.0));
}

#[test]
fn the_record_of_a_node_of_before_there_were_taints_still_reads() {
    let mut world = World::with_nodes(&[2]);
    let has = |world: &World, word: &str| {
        let rows: Vec<_> = world.state.export().map(|(_, write)| write).collect();
        let row = rows.iter().find(|write| write.table == 2).unwrap().value.clone().unwrap();
        row.windows(word.len()).any(|bytes| bytes == word.as_bytes())
    };
    // As long as nobody uses them a record is written as before, so that older members read it as well.
    for word in ["taints", "cordoned", "set_labels"] {
        assert!(!has(&world, word), "{word}");
    }
    let rows: Vec<_> = world.state.export().collect();
    let again = muster_state::State::import(world.state.applied(), rows).unwrap();
    assert_eq!(again, world.state);
    world.taint(node(0), &["odd:NoSchedule"]).unwrap();
    world.cordon(node(0), true).unwrap();
    world.label(node(0), &["zone=a"]).unwrap();
    for word in ["taints", "cordoned", "set_labels"] {
        assert!(has(&world, word), "{word}");
    }
}

#[test]
fn no_execute_evicts_who_does_not_tolerate_it_and_no_schedule_nobody() {
    let (mut world, job) = running(&Shape::ddp(3));
    let there = node(nodes_of(&world, job)[0]);
    world.taint(there, &["odd:NoSchedule", "odd=x:PreferNoSchedule"]).unwrap();
    world.advance(Millis(1));
    assert_eq!(world.gang_phase(job), GangPhase::Running);
    world.taint(there, &["odd=x:NoExecute"]).unwrap();
    world.advance(Millis(0));
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: AfterStop::Requeue });
    let message = world.message(job, ConditionType::Restarting);
    assert!(message.contains("has the taint odd=x:NoExecute"), "{message}");
    world.settle();
    assert!(!nodes_of(&world, job).contains(&there.0));
    assert_eq!(world.state.status(job).unwrap().restarts, 0);
}

#[test]
fn toleration_seconds_run_from_the_taint_and_nobody_is_placed_to_be_evicted() {
    let (mut world, job) = running(&tolerating(Some(60)));
    let there = node(nodes_of(&world, job)[0]);
    world.taint(there, &["odd:NoExecute"]).unwrap();
    world.advance(Millis::from_secs(59));
    assert_eq!(world.gang_phase(job), GangPhase::Running);
    world.advance(Millis::from_secs(1));
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: AfterStop::Requeue });
    let others: Vec<NodeId> = world.agents.keys().copied().filter(|id| *id != there).collect();
    for other in others {
        world.cordon(other, true).unwrap();
    }
    let small = world.submit("small", &Shape { workers: 0, ..tolerating(Some(60)) });
    let patient = world.submit("patient", &Shape { workers: 0, ..tolerating(None) });
    world.settle();
    assert_eq!(world.phase(small), Some(JobPhase::Queued));
    assert_eq!(nodes_of(&world, patient), [there.0]);
}

#[test]
fn a_taint_that_goes_in_time_or_is_tolerated_for_ever_evicts_nobody() {
    for (shape, removed) in [(tolerating(Some(60)), true), (tolerating(None), false)] {
        let (mut world, job) = running(&shape);
        let there = node(nodes_of(&world, job)[0]);
        world.taint(there, &["odd:NoExecute"]).unwrap();
        world.advance(Millis::from_secs(30));
        if removed {
            world.taint(there, &["odd:NoExecute-"]).unwrap();
        }
        world.advance(Millis::from_secs(300));
        assert_eq!(world.gang_phase(job), GangPhase::Running);
    }
}

#[test]
fn a_taint_goes_with_its_node() {
    let (mut world, job) = running(&tolerating(Some(60)));
    let there = node(nodes_of(&world, job)[3]);
    for done in [2, 3] {
        world.end(rank(job, done), ExitStatus::Code(0));
    }
    world.taint(there, &["odd:NoExecute"]).unwrap();
    world.lose(there);
    world.remove_node(there);
    assert!(world.state.node(there).is_none());
    world.advance(Millis::from_secs(300));
    assert_eq!(world.gang_phase(job), GangPhase::Running);
}

#[test]
fn labels_and_taints_of_operators_survive_the_agent() {
    let mut world = World::with_nodes(&[2]);
    let register = |world: &mut World, labels: &[(&str, &str)]| {
        let old = world.state.node(node(0)).unwrap().clone();
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let (name, agent) = (old.name, old.agent);
        let (address, capacity, version) = (old.address, old.capacity, old.version);
        let labels = labels.collect();
        let (cut_off, witness, members) = (old.cut_off, old.witness, old.members);
        let hello = RegisterNode {
            name,
            address,
            capacity,
            labels,
            version,
            agent,
            cut_off,
            witness,
            members,
        };
        world.command(Body::RegisterNode(hello)).into_result().unwrap();
        let labels = world.state.node(node(0)).unwrap().all_labels();
        labels.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>()
    };
    register(&mut world, &[("arch", "x86"), ("disk", "slow")]);
    world.label(node(0), &["zone=a", "disk-"]).unwrap();
    world.taint(node(0), &["odd:NoSchedule"]).unwrap();
    world.cordon(node(0), true).unwrap();
    assert_eq!(register(&mut world, &[("arch", "arm"), ("disk", "fast")]), ["arch=arm", "zone=a"]);
    let record = world.state.node(node(0)).unwrap();
    assert!(record.cordoned.is_some() && record.taints.len() == 1);
    let refused = world.label(node(0), &["arch=riscv", "zone=a"]);
    assert!(
        matches!(&refused, Err(Reason::NodeHasOther { what, .. }) if what.len() == 1),
        "{refused:?}"
    );
    world.label(node(0), &["zone-", "nothing-", "disk=odd"]).unwrap();
    assert_eq!(register(&mut world, &[("disk", "fast")]), ["disk=odd"]);
}

#[test]
fn a_change_of_taints_is_made_whole_or_not_at_all_and_once_per_request() {
    let mut world = World::with_nodes(&[2]);
    let shown = |world: &World| {
        let taints = &world.state.node(node(0)).unwrap().taints;
        taints.iter().map(|mark| mark.taint.to_string()).collect::<Vec<_>>()
    };
    world.taint(node(0), &["b=1:NoSchedule", "a:NoExecute", "b:NoExecute"]).unwrap();
    assert_eq!(shown(&world), ["a:NoExecute", "b=1:NoSchedule", "b:NoExecute"]);
    let refused = world.taint(node(0), &["c:NoSchedule", "b=2:NoSchedule"]);
    assert!(matches!(refused, Err(Reason::NodeHasOther { .. })), "{refused:?}");
    let refused = world.taint(node(0), &["a-", "c-", "b:PreferNoSchedule-"]);
    assert!(
        matches!(&refused, Err(Reason::TaintNotFound { taints, .. }) if taints.len() == 2),
        "{refused:?}"
    );
    assert_eq!(shown(&world).len(), 3);
    let remove = || {
        let changes = vec!["b-".parse().unwrap()];
        Body::TaintNode(TaintNode { name: "n0".into(), changes, overwrite: false })
    };
    let request = Some(RequestId(1, 2));
    world.request(request, remove()).into_result().unwrap();
    // The answer was lost and the client asks again.
    world.request(request, remove()).into_result().unwrap();
    assert_eq!(shown(&world), ["a:NoExecute"]);
    let other = Taint::new("a", "2", TaintEffect::NoExecute).unwrap();
    let changes = vec![muster_model::TaintChange::Set(other)];
    let change = TaintNode { name: "n0".into(), changes, overwrite: true };
    world.command(Body::TaintNode(change)).into_result().unwrap();
    assert_eq!(shown(&world), ["a=2:NoExecute"]);
}

#[test]
fn a_gang_goes_where_its_selector_says_also_after_a_label_was_set_by_hand() {
    let mut world = World::with_nodes(&[4, 4]);
    let selector = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let job = world.submit("ddp", &Shape { selector, ..Shape::ddp(1) });
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Queued));
    world.label(node(1), &["zone=a"]).unwrap();
    world.settle();
    assert_eq!(nodes_of(&world, job), [1, 1]);
    // Labels matter when a gang is placed, not while it runs or starts again.
    world.label(node(1), &["zone-"]).unwrap();
    world.end(rank(job, 1), ExitStatus::Signal(9));
    world.settle();
    assert_eq!(nodes_of(&world, job), [1, 1]);
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}
