//! Who leads, and how that changes.

use bytes::Bytes;
use muster_consensus::{ElectionError, MemberId, ProposeError, Role};

use crate::world::{Plan, World};

/// A calm cluster that has just agreed on a leader.
fn agreed(seed: u64, members: u64) -> World {
    let mut world = World::new(Plan::calm(seed, members));
    assert_eq!(world.run_until(100, World::has_converged), Ok(true));
    world
}

#[test]
fn three_members_elect_one_leader_within_a_few_timeouts() {
    for seed in 0..20 {
        let mut world = World::new(Plan::calm(seed, 3));
        assert_eq!(world.run_until(45, |world| world.leader().is_some()), Ok(true), "seed {seed}");
    }
}

#[test]
fn a_calm_cluster_keeps_its_leader() {
    let mut world = agreed(1, 5);
    let (leader, elections) = (world.leader(), world.ledger.elections());
    world.run(500).expect("nothing breaks");
    assert_eq!((world.leader(), world.ledger.elections()), (leader, elections));
}

#[test]
fn another_leader_takes_over_when_the_leader_dies_and_nothing_is_lost() {
    let mut world = agreed(2, 3);
    let first = world.leader().expect("agreed");
    let node = world.member(first.0).node.as_mut().expect("up");
    node.propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    world.drain(first).expect("nothing breaks");
    world.run(3).expect("nothing breaks");
    let committed = world.ledger.last();
    world.power_cut(first, 200);
    let other = |world: &World| world.leader().is_some_and(|leader| leader != first);
    assert_eq!(world.run_until(60, other), Ok(true));
    assert_eq!(world.run_until(300, World::has_converged), Ok(true));
    assert!(world.ledger.last() > committed);
}

#[test]
fn a_leader_without_its_quorum_steps_down() {
    let mut world = agreed(3, 3);
    let leader = world.leader().expect("agreed");
    world.isolate(leader, 100);
    let stepped_down = |world: &World| {
        let node = world.members[&leader].node.as_ref().expect("up");
        node.standing().role != Role::Leader
    };
    assert_eq!(world.run_until(25, stepped_down), Ok(true));
}

#[test]
fn a_member_that_was_cut_off_comes_back_without_disturbing_the_leader() {
    let mut world = agreed(4, 3);
    let leader = world.leader().expect("agreed");
    let term = world.member(leader.0).node.as_ref().expect("up").standing().term;
    let other = MemberId(leader.0 % 3 + 1);
    world.isolate(other, 300);
    world.run(310).expect("nothing breaks");
    assert_eq!(world.run_until(60, World::has_converged), Ok(true));
    let standing = world.member(leader.0).node.as_ref().expect("up").standing();
    assert_eq!((standing.role, standing.term), (Role::Leader, term));
}

#[test]
fn leadership_is_handed_over_on_request_and_proposals_wait_meanwhile() {
    let mut world = agreed(5, 3);
    let leader = world.leader().expect("agreed");
    let to = MemberId(leader.0 % 3 + 1);
    let node = world.member(leader.0).node.as_mut().expect("up");
    node.transfer_leader(to).expect("a voter");
    let refused = node.propose(Bytes::from_static(b"data"), Bytes::new());
    assert_eq!(refused, Err(ProposeError::Transferring { to }));
    world.drain(leader).expect("nothing breaks");
    assert_eq!(world.run_until(10, |world| world.leader() == Some(to)), Ok(true));
}

#[test]
fn a_handover_that_cannot_succeed_is_refused_or_given_up() {
    let mut world = agreed(6, 3);
    let leader = world.leader().expect("agreed");
    let to = MemberId(leader.0 % 3 + 1);
    let node = world.member(leader.0).node.as_mut().expect("up");
    let stranger = MemberId(9);
    assert_eq!(node.transfer_leader(stranger), Err(ElectionError::NotVoter(stranger)));
    let follower = world.member(to.0).node.as_mut().expect("up");
    let refused = follower.transfer_leader(leader);
    assert_eq!(refused, Err(ElectionError::NotLeader { leader: Some(leader) }));
    world.power_cut(to, 100);
    let node = world.member(leader.0).node.as_mut().expect("up");
    node.transfer_leader(to).expect("a voter");
    world.run(30).expect("nothing breaks");
    let node = world.member(leader.0).node.as_mut().expect("up");
    assert_eq!(node.status().transferring, None);
    node.propose(Bytes::from_static(b"data"), Bytes::new()).expect("it goes on leading");
}

#[test]
fn a_follower_names_the_leader_when_it_refuses() {
    let mut world = agreed(7, 3);
    let leader = world.leader().expect("agreed");
    let follower = world.member(leader.0 % 3 + 1).node.as_mut().expect("up");
    let refused = follower.propose(Bytes::from_static(b"data"), Bytes::new());
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
    let text = refused.expect_err("refused").to_string();
    assert_eq!(text, format!("this member is not the leader; member {leader} is"));
}
