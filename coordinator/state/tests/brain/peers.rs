//! Gangs whose templates name peers, and gangs that end with their first worker.

use muster_model::{
    EnvTemplate, ExitStatus, GangSpec, JobPhase, Part, Peer, PeerPart, PeerSet, Peers, Rank,
    ReplicaId, RoleIndex, SuccessRule, Template,
};
use muster_state::{Apply, Body, Order};

use crate::world::{Shape, World};

/// Two workers, a master that is listed without its port, and the rule that the first worker decides.
fn submit(world: &mut World) -> muster_model::JobId {
    let mut body = world.create("tf", &Shape::ddp(2));
    let Body::Apply(list) = &mut body else { panic!("a creation is an apply") };
    let [Apply::Create(create)] = list.as_mut_slice() else { panic!("one creation") };
    let gang: &mut GangSpec = &mut create.gang;
    let list = |role, each: &[PeerPart]| {
        Part::Peers(Peers { of: PeerSet::Role(role), each: each.to_vec(), separator: ",".into() })
    };
    let masters = list(RoleIndex(0), &[PeerPart::Address]);
    let workers = list(RoleIndex(1), &[PeerPart::Host, PeerPart::Port]);
    gang.roles[1].env = vec![EnvTemplate {
        name: "CLUSTER".into(),
        value: Template(vec![masters, workers]),
        user_wins: false,
    }];
    gang.success = SuccessRule::First(RoleIndex(1));
    assert!(gang.mentions_peers());
    world.command(body).into_result().expect("the gang is accepted");
    world.state.job_id(&crate::world::key("tf")).expect("it was just created")
}

#[test]
fn every_replica_is_told_of_all_and_holds_a_port_where_one_is_named() {
    let mut world = World::with_nodes(&[2, 2]);
    let job = submit(&mut world);
    world.plan();
    let spec = |world: &World, rank| match world.state.order(ReplicaId { job, rank: Rank(rank) }) {
        Some((_, ordered)) => match ordered.order {
            Order::Prepare(spec) => spec,
            other => panic!("{other:?}"),
        },
        None => panic!("no replica {rank}"),
    };
    assert!(!spec(&world, 0).reserves_port);
    assert!(spec(&world, 1).reserves_port && spec(&world, 2).reserves_port);
    assert_eq!(spec(&world, 2).name, "tf-worker-1");
    world.settle();
    let (_, ordered) = world.state.order(ReplicaId { job, rank: Rank(2) }).expect("it runs");
    let Order::Run(context) = ordered.order else { panic!("{ordered:?}") };
    let address = |rank| {
        let replica = world.state.replica(ReplicaId { job, rank: Rank(rank) }).expect("placed");
        world.state.node(replica.node).expect("known").address.clone()
    };
    let peer = |rank| Peer { address: address(rank), port: Some(29_501) };
    assert_eq!(context.peers, [vec![peer(0)], vec![peer(1), peer(2)]]);
}

#[test]
fn the_first_worker_decides_and_another_one_does_not() {
    let mut world = World::with_nodes(&[2, 2]);
    let job = submit(&mut world);
    world.settle();
    for rank in [0, 2] {
        world.end(ReplicaId { job, rank: Rank(rank) }, ExitStatus::Code(0));
        assert_eq!(world.phase(job), Some(JobPhase::Running));
    }
    world.end(ReplicaId { job, rank: Rank(1) }, ExitStatus::Code(0));
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
}
