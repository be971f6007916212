//! What clients submit.

use muster_model::{
    CleanPodPolicy, ContainerSpec, GangSpec, JobKey, JobKind, JobName, Millis, Namespace, Naming,
    PodSpec, Rendezvous, Resources, RestartPolicy, RoleIndex, RoleName, RoleSpec, RunPolicy,
    SchedulingPolicy, SuccessRule,
};

use crate::dice::Dice;

/// Names are few, so that clients get into each other's way.
const NAMES: u64 = 8;

pub(crate) fn key(dice: &mut Dice) -> JobKey {
    JobKey {
        namespace: Namespace::default_namespace(),
        kind: JobKind("PyTorchJob".into()),
        name: JobName::new(format!("job-{}", dice.between(1, NAMES))).expect("a label"),
    }
}

/// A gang that fits on one empty machine of any kind.
pub(crate) fn gang(dice: &mut Dice) -> GangSpec {
    let policies = [
        RestartPolicy::Never,
        RestartPolicy::OnFailure,
        RestartPolicy::OnFailure,
        RestartPolicy::Always,
        RestartPolicy::ExitCode,
    ];
    let restart = dice.pick(&policies).expect("there are five");
    let grace = Millis(dice.between(200, 6000));
    let cpu = dice.between(1, 10) * 100;
    let role = |name: &str, replicas| RoleSpec {
        name: RoleName(name.into()),
        replicas,
        restart,
        pod: PodSpec {
            containers: vec![ContainerSpec {
                name: "pytorch".into(),
                requests: Resources::new().with("cpu", cpu),
                ..ContainerSpec::default()
            }],
            termination_grace: grace,
            ..PodSpec::default()
        },
        env: Vec::new(),
        main_env: Vec::new(),
        files: Vec::new(),
        processes: 1,
        naming: Naming::default(),
    };
    let mut roles = vec![role("Master", 1)];
    let workers = dice.between(0, 3) as u32;
    if workers > 0 {
        roles.push(role("Worker", workers));
    }
    let success = match workers > 0 && dice.hits(3000) {
        true => SuccessRule::Any(RoleIndex(1)),
        false => SuccessRule::All(RoleIndex(0)),
    };
    GangSpec {
        roles,
        rendezvous: Rendezvous::TorchStore,
        success,
        run_policy: run_policy(dice),
        scheduling: SchedulingPolicy::default(),
    }
}

fn run_policy(dice: &mut Dice) -> RunPolicy {
    let policies = [CleanPodPolicy::None, CleanPodPolicy::Running, CleanPodPolicy::All];
    RunPolicy {
        backoff_limit: dice.hits(5000).then(|| dice.between(0, 4) as u32),
        active_deadline: dice.hits(2000).then(|| Millis(dice.between(500, 40_000))),
        ttl_after_finished: dice.hits(3000).then(|| Millis(dice.between(0, 30_000))),
        clean_pod_policy: dice.pick(&policies).expect("there are three"),
        suspend: dice.hits(500),
    }
}
