//! Random histories: any order of submissions, failures, losses, suspensions, deletions and work on nodes keeps all
//! invariants, and once the trouble ends every job comes to its end.

use muster_model::{
    CleanPodPolicy, ExitStatus, JobPhase, Millis, NodeId, Rank, ReplicaId, RestartPolicy,
    RunPolicy, TaintEffect, Tolerated, Toleration,
};
use muster_state::State;
use proptest::prelude::*;

use crate::world::{Shape, World, key};

#[derive(Debug, Clone)]
enum Step {
    Submit { name: u8, shape: Shape },
    Delete { name: u8 },
    Suspend { name: u8, suspend: bool },
    Plan,
    Obey { node: u8, end: Option<(u8, ExitStatus)> },
    Lose { node: u8 },
    ComeBack { node: u8, forgetful: bool },
    RemoveNode { node: u8 },
    NewNode { cores: u64 },
    Advance { seconds: u64 },
    Cordon { node: u8, cordon: bool },
    Taint { node: u8, effect: TaintEffect, remove: bool },
    Label { node: u8, value: Option<bool> },
    Evict { name: u8, node: u8, grace: Option<u64> },
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        3 => Just(ExitStatus::Code(0)),
        1 => Just(ExitStatus::Code(3)),
        1 => Just(ExitStatus::Code(130)),
        1 => Just(ExitStatus::Signal(9)),
        1 => Just(ExitStatus::Signal(11)),
        1 => Just(ExitStatus::OutOfMemory),
        1 => any::<bool>().prop_map(|permanent| ExitStatus::StartFailed { why: "x".into(), permanent }),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let restart = prop_oneof![
        Just(RestartPolicy::Never),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Always),
        Just(RestartPolicy::ExitCode)
    ];
    let clean = prop_oneof![
        Just(CleanPodPolicy::None),
        Just(CleanPodPolicy::Running),
        Just(CleanPodPolicy::All)
    ];
    let run_policy = (
        proptest::option::of(0u32..3),
        proptest::option::of((1u64..100).prop_map(Millis::from_secs)),
        proptest::option::of((0u64..100).prop_map(Millis::from_secs)),
        clean,
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(backoff_limit, active_deadline, ttl_after_finished, clean_pod_policy, suspend)| {
                RunPolicy {
                    backoff_limit,
                    active_deadline,
                    ttl_after_finished,
                    clean_pod_policy,
                    suspend,
                }
            },
        );
    let gang = (0u32..2, 0u32..4, restart, run_policy);
    (gang, proptest::option::of(toleration())).prop_map(|(gang, toleration)| {
        let (masters, workers, restart, run_policy) = gang;
        Shape {
            masters,
            workers: workers.max(1 - masters),
            restart,
            run_policy,
            tolerations: toleration.into_iter().collect(),
            ..Shape::ddp(0)
        }
    })
}

fn effect() -> impl Strategy<Value = TaintEffect> {
    proptest::sample::select(TaintEffect::ALL.to_vec())
}

fn toleration() -> impl Strategy<Value = Toleration> {
    let lasts = proptest::option::of((0u64..100).prop_map(Millis::from_secs));
    (proptest::option::of(effect()), lasts).prop_map(|(effect, lasts)| Toleration {
        key: None,
        value: Tolerated::Any,
        effect,
        lasts,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4, shape()).prop_map(|(name, shape)| Step::Submit { name, shape }),
        1 => (0u8..4).prop_map(|name| Step::Delete { name }),
        1 => (0u8..4, any::<bool>()).prop_map(|(name, suspend)| Step::Suspend { name, suspend }),
        4 => Just(Step::Plan),
        16 => (0u8..4, proptest::option::weighted(0.4, (0u8..6, status())))
            .prop_map(|(node, end)| Step::Obey { node, end }),
        1 => (0u8..4).prop_map(|node| Step::Lose { node }),
        2 => (0u8..4, any::<bool>()).prop_map(|(node, forgetful)| Step::ComeBack { node, forgetful }),
        1 => (0u8..4).prop_map(|node| Step::RemoveNode { node }),
        1 => (1u64..4).prop_map(|cores| Step::NewNode { cores }),
        2 => (0u64..70).prop_map(|seconds| Step::Advance { seconds }),
        1 => (0u8..4, any::<bool>()).prop_map(|(node, cordon)| Step::Cordon { node, cordon }),
        2 => (0u8..4, effect(), any::<bool>())
            .prop_map(|(node, effect, remove)| Step::Taint { node, effect, remove }),
        1 => (0u8..4, any::<Option<bool>>()).prop_map(|(node, value)| Step::Label { node, value }),
        2 => (0u8..4, 0u8..4, proptest::option::of(0u64..60))
            .prop_map(|(name, node, grace)| Step::Evict { name, node, grace }),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Submit { name, shape } => {
            let _ = world.try_submit(&format!("job-{name}"), &shape);
        }
        Step::Delete { name } => {
            let _ = world.delete(&format!("job-{name}"));
        }
        Step::Suspend { name, suspend } => {
            let _ = world.suspend(&format!("job-{name}"), suspend);
        }
        Step::Plan => world.plan(),
        Step::Obey { node, end } => {
            if let Some(node) = pick(world, node) {
                world.obey(node, |id: ReplicaId| {
                    end.as_ref()
                        .filter(|(rank, _)| id.rank == Rank(u32::from(*rank)))
                        .map(|(_, s)| s.clone())
                });
            }
        }
        Step::Lose { node } => {
            if let Some(node) = pick(world, node) {
                world.lose(node);
            }
        }
        Step::ComeBack { node, forgetful } => {
            if let Some(node) = pick(world, node) {
                world.come_back(node, forgetful);
            }
        }
        Step::RemoveNode { node } => {
            if let Some(node) = pick(world, node) {
                world.remove_node(node);
            }
        }
        Step::NewNode { cores } => {
            let name = format!("late-{}", world.state.meta().next_node);
            world.register(&name, cores);
        }
        Step::Advance { seconds } => world.advance(Millis::from_secs(seconds)),
        Step::Cordon { node, cordon } => {
            if let Some(node) = pick(world, node) {
                let _ = world.cordon(node, cordon);
            }
        }
        Step::Taint { node, effect, remove } => {
            if let Some(node) = pick(world, node) {
                let end = if remove { "-" } else { "" };
                let _ = world.taint(node, &[&format!("odd:{}{end}", effect.as_str())]);
            }
        }
        Step::Label { node, value } => {
            if let Some(node) = pick(world, node) {
                let change = value.map_or("zone-".to_owned(), |value| format!("zone={value}"));
                let _ = world.label(node, &[&change]);
            }
        }
        Step::Evict { name, node, grace } => {
            let job = world.state.job_id(&key(&format!("job-{name}")));
            if let (Some(job), Some(node)) = (job, pick(world, node)) {
                let _ = world.evict(job, node, grace.map(Millis::from_secs));
            }
        }
    }
}

fn pick(world: &World, number: u8) -> Option<NodeId> {
    world.agents.keys().nth(usize::from(number) % world.agents.len().max(1)).copied()
}

/// The trouble is over: every node is back, there is room for everything, every program ends well.
fn heal(world: &mut World) {
    let nodes: Vec<NodeId> = world.agents.keys().copied().collect();
    for node in nodes {
        world.come_back(node, false);
    }
    world.register("roomy", 64);
    for _ in 0..40 {
        world.plan();
        let nodes: Vec<NodeId> = world.agents.keys().copied().collect();
        for node in nodes {
            while world.obey(node, |_| Some(ExitStatus::Code(0))) {}
        }
        world.advance(Millis::from_secs(70));
    }
}

fn unfinished(state: &State) -> Vec<(u64, JobPhase)> {
    let statuses = state.tables().statuses.iter();
    statuses
        .filter(|(_, status)| !status.phase.is_final() && status.phase != JobPhase::Suspended)
        .map(|(id, status)| (id.0, status.phase))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_invariants_and_every_job_ends(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut world = World::with_nodes(&[2, 3]);
        for step in steps {
            take(&mut world, step);
        }
        heal(&mut world);
        prop_assert_eq!(unfinished(&world.state), []);
        for (id, _) in world.state.tables().nodes.iter() {
            prop_assert!(world.state.reserved(*id).is_empty(), "node {} still reserves", id);
        }
        prop_assert!(world.agents.values().all(|agent| agent.replicas.is_empty()));
    }
}
