//! Linearizable reads.

use bytes::Bytes;
use muster_consensus::{
    Boot, Config, Index, MemberId, Membership, Node, ReadError, ReadId, ReadReady,
};

use crate::world::{Plan, World};

#[test]
fn a_read_on_a_sole_member_is_answered_at_its_commit() {
    let me = MemberId(1);
    let boot = Boot::first_start(Membership::of_voters([me]));
    let mut node = Node::new(Config::new(me), boot).expect("a healthy member");
    assert_eq!(node.read_index(ReadId(1)), Err(ReadError::NotYet));
    drop(node.ready().expect("an election").persisted());
    node.read_index(ReadId(2)).expect("it leads and has committed");
    let mut ready = node.ready().expect("an answer");
    assert_eq!(ready.take_reads(), [ReadReady { id: ReadId(2), index: Index(2) }]);
    drop(ready.persisted());
}

#[test]
fn a_follower_sends_readers_to_the_leader() {
    let mut world = World::new(Plan::calm(1, 3));
    assert_eq!(world.run_until(100, World::has_converged), Ok(true));
    let leader = world.leader();
    for id in (1..4).filter(|id| leader != Some(MemberId(*id))) {
        let node = world.member(id).node.as_mut().expect("up");
        assert_eq!(node.read_index(ReadId(1)), Err(ReadError::NotLeader { leader }));
    }
}

#[test]
fn a_leader_that_was_cut_off_answers_no_read() {
    let mut world = World::new(Plan::calm(2, 3));
    assert_eq!(world.run_until(100, World::has_converged), Ok(true));
    let old = world.leader().expect("agreed");
    world.isolate(old, 40);
    world.ledger.read_begins(ReadId(1));
    let node = world.member(old.0).node.as_mut().expect("up");
    node.read_index(ReadId(1)).expect("it does not know yet");
    world.drain(old).expect("nothing breaks");
    let other = |world: &World| world.leader().is_some_and(|leader| leader != old);
    assert_eq!(world.run_until(60, other), Ok(true));
    let new = world.leader().expect("elected");
    let node = world.member(new.0).node.as_mut().expect("up");
    node.propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    world.drain(new).expect("nothing breaks");
    world.run(100).expect("nothing breaks");
    assert_eq!(world.ledger.reads_answered, 0);
}
