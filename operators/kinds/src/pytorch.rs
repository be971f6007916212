//! PyTorchJob (`kubeflow.org/v1`): defaults, validation, expansion.
//!
//! The contract is that of the v1 training operator (`pkg/webhooks/pytorch`,
//! `pkg/controller.v1/pytorch`); where Muster differs, `docs/divergences.md` says why. Ranks: the
//! Master first, then the Workers; without a Master, Worker 0 is rank 0.

mod elastic;
mod env;
mod launch;
mod rendezvous;
#[cfg(test)]
mod tests;

use muster_model::{EnvSource, GangSpec, Rendezvous, RestartPolicy, RoleIndex, SuccessRule};

use self::elastic::Elastic;
use self::env::EnvPlan;
pub use self::launch::LAUNCHER;
use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::{Facts, Job, Kind};
use crate::launcher;
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const MASTER: &str = "Master";
const WORKER: &str = "Worker";
const PORT: (&str, u16) = ("pytorchjob-port", 23_456);
const SPECS: &str = "pytorchReplicaSpecs";

/// The kind.
pub(crate) struct PyTorchJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "PyTorchJob",
    plural: "pytorchjobs",
    singular: "pytorchjob",
    short_names: &[],
    operator_name: "pytorchjob-controller",
    selector_in_status: true,
};

static SPEC: Object = Object {
    name: "PyTorchJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
        used("nprocPerNode", Type::Text),
        used("elasticPolicy", Type::Object(&elastic::SCHEMA)),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[MASTER, WORKER],
    any_case: false,
    pod: |_| PodRules { main_container: Some("pytorch"), port: Some(PORT), command: &[] },
    restart: RestartPolicy::OnFailure,
};

impl Kind for PyTorchJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let specs = job.spec.field(SPECS);
        let all = roles::read(&specs, &RULES, to);
        roles::check_described(&specs, "describe a Master, Workers, or both", to);
        check_counts(&all, to);
        let elastic = elastic::read(&job.spec, &all, to);
        let nproc = launch::read_nproc(&job.spec, elastic.as_ref(), to);
        let launch = launch::decide(job, &nproc, &all, to);
        let total = roles::total(&all);
        launch::warn_of_missing_processes(job, &nproc, launch, total, to);
        let plan = EnvPlan {
            total,
            launch,
            nproc: &nproc,
            elastic: elastic.as_ref(),
            backoff_limit: job.policies.run.backoff_limit,
        };
        let rendezvous = rendezvous::plan(job, elastic.as_ref(), &all, to);
        let env = env::variables(&plan, rendezvous);
        let success = success(&all, elastic.as_ref());
        let processes = launch.processes();
        let injection = Injection { env, processes, ..Injection::new() };
        let plan = Plan {
            rendezvous: Rendezvous::TorchStore,
            success,
            injection: |_: &_| injection.clone(),
        };
        roles::assemble(job, all, plan, to)
    }

    fn is_master(&self, gang: &GangSpec, role: RoleIndex, index: u32) -> bool {
        let has_master = gang.roles.iter().any(|role| role.name.0 == MASTER);
        gang.role(role).name.0 == MASTER || (!has_master && index == 0)
    }
}

/// A Master is one, and is said to be one: upstream checks before it fills in defaults.
fn check_counts(all: &[Replicas<'_>], to: &mut Findings) {
    for one in all {
        match (one.role, one.given) {
            (MASTER, _) => roles::check_single(one, to),
            (_, Some(count)) if count < 1 => {
                to.forbidden(one.node.field("replicas").path(), "must be at least 1");
            }
            _ => {}
        }
    }
}

/// With a Master, its end is the job's. Without, all Workers must end well, or any of an elastic job.
fn success(all: &[Replicas<'_>], elastic: Option<&Elastic<'_>>) -> Option<SuccessRule> {
    match (roles::index_of(all, MASTER), roles::index_of(all, WORKER)) {
        (Some(master), _) => Some(SuccessRule::All(master)),
        (None, Some(worker)) if elastic.is_some() => Some(SuccessRule::Any(worker)),
        (None, worker) => worker.map(SuccessRule::All),
    }
}

/// What the main containers' commands and environments say about launchers and rendezvous. One answer
/// for the whole gang, because its ranks must agree.
fn inspect(all: &[Replicas<'_>]) -> impl Iterator<Item = launcher::Inspection> {
    all.iter().filter_map(|one| one.pod.containers.get(one.pod.main)).map(|main| {
        let mut found = launcher::inspect(&[&main.command[..], &main.args[..]].concat());
        found.own_rendezvous |= main.env.iter().any(|variable| {
            let value = match &variable.source {
                EnvSource::Value(text) => Some(text.as_str()),
                EnvSource::Field(_) => None,
            };
            launcher::chooses_rendezvous(&variable.name, value)
        });
        found
    })
}
