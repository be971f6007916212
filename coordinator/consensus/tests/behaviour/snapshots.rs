//! Compaction, and followers that need what was compacted away.

use bytes::Bytes;
use muster_consensus::{
    CompactError, Index, MemberId, Membership, Position, Snapshot, SnapshotMeta, Term,
};

use crate::world::{Load, Plan, World};

fn busy(seed: u64) -> World {
    let mut plan = Plan::calm(seed, 3);
    plan.load = Load { propose: 800, snapshot_every: 15, ..Load::none() };
    let mut world = World::new(plan);
    assert_eq!(world.run_until(60, |world| world.leader().is_some()), Ok(true));
    world
}

#[test]
fn a_member_that_was_down_for_long_is_brought_up_by_a_snapshot() {
    let mut world = busy(1);
    let leader = world.leader().expect("elected");
    let other = MemberId(leader.0 % 3 + 1);
    world.power_cut(other, 150);
    world.run(160).expect("nothing breaks");
    world.heal();
    assert_eq!(world.run_until(100, World::has_converged), Ok(true));
    assert!(world.ledger.snapshots_installed > 0);
    let node = world.member(leader.0).node.as_ref().expect("up");
    assert_eq!(node.snapshot_wanted(), None);
}

#[test]
fn memory_holds_only_the_log_after_the_compaction() {
    let mut world = busy(2);
    world.run(300).expect("nothing breaks");
    for member in world.members.values() {
        let status = member.node.as_ref().expect("up").status();
        assert!(status.last.0 > 100 && status.last.0 - status.first.0 < 60, "{status:?}");
    }
}

#[test]
fn what_is_not_applied_cannot_be_compacted() {
    let mut world = busy(3);
    let node = world.member(1).node.as_mut().expect("up");
    let applied = node.status().applied;
    let to = applied.next();
    assert_eq!(node.compact(to), Err(CompactError { to, applied }));
    assert_eq!(node.compact(Index(0)), Ok(()));
}

#[test]
fn a_snapshot_from_which_nobody_could_go_on_is_refused() {
    let mut world = busy(4);
    world.run(50).expect("nothing breaks");
    let node = world.member(1).node.as_mut().expect("up");
    let status = node.status();
    let at = |index, term| Snapshot {
        meta: SnapshotMeta {
            at: Position::new(index, term),
            membership: Membership::of_voters([MemberId(1)]),
        },
        data: Bytes::new(),
    };
    assert!(node.supply_snapshot(at(status.applied, Term(99))).is_err());
    assert!(node.supply_snapshot(at(status.applied.next(), status.standing.term)).is_err());
    assert!(node.supply_snapshot(at(Index(0), Term(0))).is_err());
    assert!(node.supply_snapshot(at(status.applied, status.standing.term)).is_ok());
}
