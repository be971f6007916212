//! Members come and go.

use std::collections::BTreeSet;

use bytes::Bytes;
use muster_consensus::{Change, ChangeError, Index, MemberId, Membership, Role, Step};

use crate::world::{Load, Plan, World};

fn ids(ids: &[u64]) -> BTreeSet<MemberId> {
    ids.iter().copied().map(MemberId).collect()
}

/// A calm cluster with spare members that has agreed on a leader, some entries and snapshots.
fn busy(seed: u64, members: u64, spares: u64) -> World {
    let mut plan = Plan { spares, ..Plan::calm(seed, members) };
    plan.load = Load { propose: 500, snapshot_every: 10, ..Load::none() };
    let mut world = World::new(plan);
    world.run(150).expect("nothing breaks");
    world.heal();
    assert_eq!(world.run_until(50, World::has_converged), Ok(true));
    world
}

fn change(world: &mut World, change: &Change) -> Result<(), ChangeError> {
    let leader = world.leader().expect("agreed");
    let node = world.member(leader.0).node.as_mut().expect("up");
    node.propose_membership(change, Bytes::from_static(b"why"))?;
    world.drain(leader).expect("nothing breaks");
    Ok(())
}

fn becomes(world: &mut World, membership: &Membership) -> bool {
    let settled = |world: &World| {
        world.leader_membership().as_ref() == Some(membership) && world.has_converged()
    };
    world.run_until(100, settled).expect("nothing breaks")
}

#[test]
fn a_new_member_is_brought_up_by_a_snapshot_and_gets_a_vote() {
    let mut world = busy(1, 3, 1);
    assert_eq!(world.applied(4), Index(0));
    change(&mut world, &Change::Now(vec![Step::Learner(MemberId(4))])).expect("possible");
    let learner = Membership { learners: ids(&[4]), ..Membership::of_voters((1..4).map(MemberId)) };
    assert!(becomes(&mut world, &learner));
    assert!(world.ledger.snapshots_installed > 0);
    assert!(world.applied(4) > Index(10));
    change(&mut world, &Change::Now(vec![Step::Voter(MemberId(4))])).expect("possible");
    assert!(becomes(&mut world, &Membership::of_voters((1..5).map(MemberId))));
}

#[test]
fn members_are_replaced_through_a_joint_membership_that_is_left_by_itself() {
    let mut world = busy(2, 3, 2);
    let steps = vec![
        Step::Voter(MemberId(4)),
        Step::Voter(MemberId(5)),
        Step::Remove(MemberId(1)),
        Step::Remove(MemberId(2)),
    ];
    let before = world.ledger.memberships.len();
    change(&mut world, &Change::Now(steps)).expect("possible");
    assert!(becomes(&mut world, &Membership::of_voters((3..6).map(MemberId))));
    assert_eq!(world.ledger.memberships.len(), before + 2, "entered and left");
}

#[test]
fn a_joint_membership_on_purpose_stays_until_it_is_left() {
    let mut world = busy(3, 3, 1);
    change(&mut world, &Change::Joint(vec![Step::Voter(MemberId(4))])).expect("possible");
    world.run(60).expect("nothing breaks");
    // The world leaves it as soon as it is in effect, since nothing else is under way.
    let membership = Membership::of_voters((1..5).map(MemberId));
    assert!(becomes(&mut world, &membership));
    let refused = change(&mut world, &Change::LeaveJoint);
    assert!(matches!(refused, Err(ChangeError::Impossible(_))), "{refused:?}");
}

#[test]
fn a_leader_that_removes_itself_steps_down_and_the_others_go_on() {
    for seed in 10..20 {
        let mut world = busy(seed, 3, 0);
        let leader = world.leader().expect("agreed");
        change(&mut world, &Change::Now(vec![Step::Remove(leader)])).expect("possible");
        let rest = Membership::of_voters((1..4).map(MemberId).filter(|id| *id != leader));
        assert!(becomes(&mut world, &rest), "seed {seed}");
        let old = world.member(leader.0).node.as_mut().expect("up");
        assert_ne!(old.standing().role, Role::Leader);
        assert!(old.campaign().is_err());
    }
}

#[test]
fn a_cluster_can_shrink_to_one_and_grow_again() {
    let mut world = busy(4, 3, 0);
    let leader = world.leader().expect("agreed");
    let others: Vec<_> = (1..4).map(MemberId).filter(|id| *id != leader).collect();
    let steps = others.iter().copied().map(Step::Remove).collect();
    change(&mut world, &Change::Now(steps)).expect("possible");
    assert!(becomes(&mut world, &Membership::of_voters([leader])));
    let steps = others.into_iter().map(Step::Voter).collect();
    change(&mut world, &Change::Now(steps)).expect("possible");
    assert!(becomes(&mut world, &Membership::of_voters((1..4).map(MemberId))));
}

#[test]
fn the_last_voter_left_takes_over_without_waiting() {
    let mut world = busy(5, 2, 0);
    let leader = world.leader().expect("agreed");
    let other = MemberId(3 - leader.0);
    change(&mut world, &Change::Now(vec![Step::Remove(leader)])).expect("possible");
    // Far less than an election timeout.
    assert_eq!(world.run_until(5, |world| world.leader() == Some(other)), Ok(true));
}

#[test]
fn a_second_change_waits_for_the_first() {
    let mut world = busy(6, 3, 2);
    let leader = world.leader().expect("agreed");
    let node = world.member(leader.0).node.as_mut().expect("up");
    let add = |member| Change::Now(vec![Step::Learner(MemberId(member))]);
    let at = node.propose_membership(&add(4), Bytes::new()).expect("possible");
    let second = node.propose_membership(&add(5), Bytes::new());
    assert_eq!(second, Err(ChangeError::Pending { until: at.index }));
}

#[test]
fn impossible_changes_are_refused_before_they_reach_the_log() {
    let mut world = busy(7, 2, 1);
    let last = world.ledger.last();
    let everyone = (1..3).map(MemberId).map(Step::Remove).collect();
    for impossible in [
        Change::Now(vec![]),
        Change::Now(vec![Step::Voter(MemberId(0))]),
        Change::Now(vec![Step::Voter(MemberId(3)), Step::Remove(MemberId(3))]),
        Change::Now(everyone),
        Change::LeaveJoint,
    ] {
        let refused = change(&mut world, &impossible);
        assert!(matches!(refused, Err(ChangeError::Impossible(_))), "{impossible:?}: {refused:?}");
    }
    world.run(20).expect("nothing breaks");
    assert_eq!(world.ledger.last(), last);
}

#[test]
fn a_restarted_member_finds_its_membership_in_snapshot_and_log() {
    let mut world = busy(8, 3, 1);
    change(&mut world, &Change::Now(vec![Step::Voter(MemberId(4))])).expect("possible");
    let membership = Membership::of_voters((1..5).map(MemberId));
    assert!(becomes(&mut world, &membership));
    for id in 1..5 {
        world.member(id).keep_state();
        world.member(id).crash(false);
        world.member(id).start();
        let node = world.member(id).node.as_ref().expect("up");
        assert_eq!(node.membership(), membership);
    }
    assert_eq!(world.run_until(100, World::has_converged), Ok(true));
}
