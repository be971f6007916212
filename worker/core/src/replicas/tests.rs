use muster_model::{
    Attempt, ContainerSpec, Generation, JobId, JobKey, JobKind, JobName, Namespace, Naming,
    PodSpec, Rank, RestartPolicy, RoleIndex, RoleName, RoleSpec, Uid,
};
use proptest::prelude::*;

use super::*;

const ID: ReplicaId = ReplicaId { job: JobId(1), rank: Rank(0) };

fn fence(generation: u32) -> Fence {
    Fence { attempt: Attempt(1), generation: Generation(generation) }
}

fn spec(id: ReplicaId, fence: Fence) -> Box<LaunchSpec> {
    let pod = PodSpec {
        containers: vec![ContainerSpec::default()],
        termination_grace: Millis(30_000),
        ..PodSpec::default()
    };
    Box::new(LaunchSpec {
        id,
        fence,
        job_uid: Uid("u".into()),
        job: JobKey {
            namespace: Namespace::default_namespace(),
            kind: JobKind("PyTorchJob".into()),
            name: JobName::new("ddp").unwrap(),
        },
        name: "ddp-master-0".into(),
        short_name: "master-0".into(),
        role_index: RoleIndex(0),
        index_in_role: 0,
        role: RoleSpec {
            name: RoleName("Master".into()),
            replicas: 1,
            restart: RestartPolicy::OnFailure,
            pod,
            env: Vec::new(),
            main_env: Vec::new(),
            files: Vec::new(),
            processes: 1,
            naming: Naming::default(),
        },
        gang_size: 1,
        replicas_on_node: 1,
        holds_store: true,
        reserves_port: false,
        witnesses: Vec::new(),
        submit_dir: None,
    })
}

fn context(generation: u32) -> GenerationContext {
    GenerationContext {
        generation: Generation(generation),
        leader_address: "127.0.0.1".into(),
        store_port: Some(1),
        free_port: Some(2),
        peers: Vec::new(),
    }
}

fn prepare(generation: u32) -> (ReplicaId, Fence, Order) {
    (ID, fence(generation), Order::Prepare(spec(ID, fence(generation))))
}

fn exit(status: ExitStatus, after_stop: bool) -> Observation {
    Observation::Exited(Exit { status, after_stop })
}

const READY: Observation = Observation::Ready { store_port: Some(1), free_port: Some(2) };

fn running() -> Replicas {
    let mut replicas = Replicas::new();
    assert_eq!(replicas.ordered(true, [prepare(1)]), [Action::Prepare(spec(ID, fence(1)))]);
    assert_eq!(replicas.observed(ID, fence(1), READY), [Action::Report(ID, fence(1), READY)]);
    let run = || (ID, fence(1), Order::Run(context(1)));
    assert_eq!(replicas.ordered(true, [run()]), [Action::Start(ID, fence(1), context(1))]);
    assert_eq!(replicas.ordered(true, [run()]), [], "the same order twice is one action");
    let seen = replicas.observed(ID, fence(1), Observation::Running);
    assert_eq!(seen, [Action::Report(ID, fence(1), Observation::Running)]);
    replicas
}

#[test]
fn a_replica_is_prepared_started_reported_and_removed() {
    let mut replicas = running();
    let end = exit(ExitStatus::Code(0), false);
    assert_eq!(
        replicas.observed(ID, fence(1), end.clone()),
        [Action::Report(ID, fence(1), end.clone())]
    );
    assert_eq!(replicas.reports(), [Action::Report(ID, fence(1), end)]);
    assert_eq!(
        replicas.ordered(false, [(ID, fence(1), Order::Clear)]),
        [Action::Remove(ID, fence(1))]
    );
    assert_eq!(replicas, Replicas::new());
}

#[test]
fn an_end_is_reported_again_until_it_is_cleared() {
    let mut replicas = running();
    let end = exit(ExitStatus::Signal(9), false);
    replicas.observed(ID, fence(1), end.clone());
    let again = [Action::Report(ID, fence(1), end)];
    assert_eq!(replicas.ordered(true, [(ID, fence(1), Order::Run(context(1)))]), again);
    assert_eq!(replicas.ordered(true, [(ID, fence(1), Order::Stop(Millis(1)))]), again);
}

#[test]
fn what_a_full_list_does_not_name_is_stopped_and_removed() {
    let mut replicas = running();
    assert_eq!(replicas.ordered(false, []), []);
    let stop = [Action::Stop(ID, fence(1), Millis(30_000))];
    assert_eq!(replicas.ordered(true, []), stop);
    assert_eq!(replicas.ordered(true, []), [], "it is being stopped already");
    let end = exit(ExitStatus::Signal(15), true);
    assert_eq!(
        replicas.observed(ID, fence(1), end.clone()),
        [Action::Report(ID, fence(1), end), Action::Remove(ID, fence(1))]
    );
}

#[test]
fn a_running_order_for_an_unknown_replica_reports_it_lost() {
    let mut replicas = Replicas::new();
    assert_eq!(
        replicas.ordered(true, [(ID, fence(3), Order::Run(context(3)))]),
        [Action::Report(ID, fence(3), exit(ExitStatus::Lost, false))]
    );
    assert_eq!(
        replicas.ordered(true, [(ID, fence(3), Order::Stop(Millis(5)))]),
        [Action::Report(ID, fence(3), exit(ExitStatus::Lost, true))]
    );
}

#[test]
fn an_order_that_cannot_be_read_fails_the_start_and_leaves_what_runs_alone() {
    let unreadable = || (ID, fence(1), Order::Unreadable("a newer version".into()));
    let status = ExitStatus::StartFailed { why: "a newer version".into(), permanent: true };
    let mut replicas = Replicas::new();
    let told = [Action::Report(ID, fence(1), exit(status, false))];
    assert_eq!(replicas.ordered(true, [unreadable()]), told);
    assert_eq!(running().ordered(true, [unreadable()]), []);
}

#[test]
fn a_newer_fence_waits_until_the_older_one_is_gone() {
    let mut replicas = running();
    assert_eq!(replicas.ordered(false, [prepare(2)]), [Action::Stop(ID, fence(1), Millis(30_000))]);
    let end = exit(ExitStatus::Signal(15), true);
    assert_eq!(
        replicas.observed(ID, fence(1), end.clone()),
        [
            Action::Report(ID, fence(1), end),
            Action::Remove(ID, fence(1)),
            Action::Prepare(spec(ID, fence(2))),
        ]
    );
    assert_eq!(replicas.ordered(false, [prepare(1)]), [], "an overtaken order does nothing");
}

#[test]
fn an_ended_older_generation_makes_room_at_once() {
    let mut replicas = running();
    replicas.observed(ID, fence(1), exit(ExitStatus::Signal(9), false));
    assert_eq!(
        replicas.ordered(false, [prepare(2)]),
        [Action::Remove(ID, fence(1)), Action::Prepare(spec(ID, fence(2)))]
    );
}

#[test]
fn a_held_replica_that_is_stopped_never_starts() {
    let mut replicas = running();
    replicas.ordered(false, [prepare(2)]);
    assert_eq!(
        replicas.ordered(false, [(ID, fence(2), Order::Stop(Millis(1)))]),
        [Action::Report(ID, fence(2), exit(ExitStatus::NeverStarted, true))]
    );
}

#[test]
fn adopted_replicas_are_reported_as_the_runtime_found_them() {
    let mut replicas = Replicas::new();
    replicas.adopt(*spec(ID, fence(1)), Some(Observation::Running));
    assert!(replicas.any_live());
    assert_eq!(replicas.reports(), [Action::Report(ID, fence(1), Observation::Running)]);
    assert_eq!(replicas.ordered(true, [(ID, fence(1), Order::Run(context(1)))]), []);
}

proptest! {
    /// Whatever comes in whatever order, no replica is ever prepared while an older one of the same id
    /// may still live, nothing is removed before its end was seen, and each end is reported.
    #[test]
    fn older_generations_are_gone_before_newer_ones_are_prepared(
        steps in proptest::collection::vec((0u8..7, 1u32..4), 1..60)
    ) {
        let mut replicas = Replicas::new();
        let mut live: Vec<Fence> = Vec::new();
        let mut ended: Vec<Fence> = Vec::new();
        for (step, generation) in steps {
            let fence = fence(generation);
            let actions = match step {
                0 => replicas.ordered(false, [prepare(generation)]),
                1 => replicas.ordered(true, [prepare(generation)]),
                2 => replicas.ordered(false, [(ID, fence, Order::Run(context(generation)))]),
                3 => replicas.ordered(false, [(ID, fence, Order::Stop(Millis(5)))]),
                4 => replicas.ordered(false, [(ID, fence, Order::Clear)]),
                5 if live.contains(&fence) => replicas.observed(ID, fence, READY),
                6 if live.contains(&fence) => {
                    live.retain(|known| *known != fence);
                    ended.push(fence);
                    let end = exit(ExitStatus::Code(1), false);
                    let actions = replicas.observed(ID, fence, end.clone());
                    prop_assert!(actions.contains(&Action::Report(ID, fence, end)));
                    actions
                }
                _ => Vec::new(),
            };
            for action in actions {
                match action {
                    Action::Prepare(spec) => {
                        prop_assert!(live.is_empty(), "{live:?} still live, {} prepared", spec.fence);
                        live.push(spec.fence);
                    }
                    Action::Remove(_, fence) => {
                        prop_assert!(ended.contains(&fence));
                        ended.retain(|known| *known != fence);
                    }
                    Action::Start(_, fence, _) | Action::Stop(_, fence, _) => {
                        prop_assert!(live.contains(&fence));
                    }
                    Action::Report(..) => {}
                }
            }
        }
    }
}
