//! Nodes that are cut off for so long that their agents have stopped what they ran.

use muster_model::{JobId, JobPhase, NodeId, Rank, ReplicaId, Timestamp};
use muster_state::{AddMember, Body, CutOff, NodeKnows, NodePhase};

use crate::world::{Shape, World};

/// A gang on two nodes, one of which is lost; a third has room for it.
fn cut_off() -> (World, JobId, NodeId) {
    let mut world = World::with_nodes(&[2, 2]);
    let job = world.submit("ddp", &Shape::ddp(3));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    let node = world.state.replica(ReplicaId { job, rank: Rank(3) }).unwrap().node;
    world.lose(node);
    world.register("spare", 2);
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().generation.0, 1, "it may still run");
    (world, job, node)
}

fn stays(world: &mut World, job: JobId) {
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().generation.0, 1);
}

#[test]
fn a_gang_starts_elsewhere_once_its_cut_off_agent_must_have_stopped_it() {
    let (mut world, job, node) = cut_off();
    world.give_up(node, vec![job]);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert_eq!(world.state.gang(job).unwrap().generation.0, 2);
    assert!(world.state.replicas_of(job).all(|(_, replica)| replica.node != node));
    // The agent that comes back is told to clear what it has of it, and the gang goes on.
    world.come_back(node, false);
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().generation.0, 2);
}

#[test]
fn only_the_jobs_that_are_named_are_given_up() {
    let (mut world, job, node) = cut_off();
    world.give_up(node, vec![JobId(job.0 + 1)]);
    stays(&mut world, job);
}

#[test]
fn a_node_that_has_been_back_is_not_given_up_for_an_earlier_absence() {
    let (mut world, job, node) = cut_off();
    let NodePhase::Unreachable { since } = world.state.node(node).unwrap().phase else { panic!() };
    let late = |since| Body::CutOff(CutOff { node, since, jobs: vec![job] });
    world.come_back(node, false);
    world.command(late(since));
    stays(&mut world, job);
    world.advance(muster_model::Millis(5000));
    world.lose(node);
    world.command(late(since));
    stays(&mut world, job);
    world.command(late(Timestamp(since.0 + 1)));
    stays(&mut world, job);
}

/// It would ask those it knows, find all of them gone, and take that for an outage.
#[test]
fn an_agent_that_does_not_know_the_members_of_today_is_not_given_up() {
    let (mut world, job, node) = cut_off();
    let join = AddMember { address: "10.0.1.1:7000".into(), version: "0".into() };
    world.command(Body::AddMember(join)).into_result().unwrap();
    world.give_up(node, vec![job]);
    stays(&mut world, job);
    world.come_back(node, false);
    let members = vec!["10.0.1.1:7000".to_owned()];
    world.command(Body::NodeKnows(NodeKnows { node, members }));
    world.lose(node);
    world.give_up(node, vec![job]);
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().generation.0, 2);
}

#[test]
fn the_witnesses_of_a_node_are_the_nodes_of_the_ranks_after_its_own() {
    let mut world = World::with_nodes(&[1; 12]);
    let job = world.submit("ddp", &Shape::ddp(11));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    let node =
        |rank: u32| world.state.replica(ReplicaId { job, rank: Rank(rank % 12) }).unwrap().node;
    for rank in 0u32..12 {
        let expected: Vec<NodeId> = (rank + 1..rank + 9).map(node).collect();
        assert_eq!(world.state.witnesses(job, node(rank)), expected);
    }
    let small = World::with_nodes(&[4]);
    assert!(small.state.witnesses(job, NodeId(0)).is_empty());
}
