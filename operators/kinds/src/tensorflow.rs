//! TFJob (`kubeflow.org/v1`): defaults, validation, expansion.
//!
//! The contract is that of the v1 training operator (`pkg/webhooks/tensorflow`,
//! `pkg/controller.v1/tensorflow`); where Muster differs, `docs/divergences.md` says why. Ranks: the
//! Chief (or Master) first, then the Workers, the parameter servers, the Evaluators. TensorFlow's servers find
//! each other through `TF_CONFIG`, in which every replica has a port of its own.

mod config;
#[cfg(test)]
mod tests;

use muster_model::{GangSpec, Problem, Rendezvous, RestartPolicy, RoleIndex, SuccessRule};

use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::{Facts, Job, Kind};
use crate::node::Node;
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};
use crate::run_policy::{self, Policies};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const CHIEF: &str = "Chief";
const MASTER: &str = "Master";
const WORKER: &str = "Worker";
const PS: &str = "PS";
const EVALUATOR: &str = "Evaluator";
/// The only success policy that has a name.
const ALL_WORKERS: &str = "AllWorkers";
const SPECS: &str = "tfReplicaSpecs";

/// The kind.
pub(crate) struct TfJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "TFJob",
    plural: "tfjobs",
    singular: "tfjob",
    short_names: &[],
    operator_name: "tfjob-controller",
    selector_in_status: false,
};

static SPEC: Object = Object {
    name: "TFJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
        used("successPolicy", Type::Text),
        used("enableDynamicWorker", Type::Flag),
        // Before there was a run policy, its fields stood here.
        used("activeDeadlineSeconds", Type::Int64),
        used("backoffLimit", Type::Int32),
        used("cleanPodPolicy", Type::Text),
        used("ttlSecondsAfterFinished", Type::Int32),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[CHIEF, MASTER, WORKER, PS, EVALUATOR],
    any_case: true,
    pod: |_| PodRules {
        main_container: Some("tensorflow"),
        port: Some(("tfjob-port", 2222)),
        command: &[],
    },
    restart: RestartPolicy::Never,
};

impl Kind for TfJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        run_policy::read_with_older(spec, to)
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let specs = job.spec.field(SPECS);
        let mut all = roles::read(&specs, &RULES, to);
        roles::check_described(&specs, "describe Workers, with or without a Chief and PS", to);
        roles::check_counts(&specs, &all, to);
        check_chiefs(&all, to);
        let dynamic = job.spec.field("enableDynamicWorker").flag();
        if dynamic {
            keep_going_without_workers(&mut all);
        }
        let config = config::Cluster::of(&all, dynamic);
        let injection = |one: &Replicas<'_>| {
            let mut injection = Injection::new();
            if let Some(value) = config.config_of(one.role) {
                injection.set_in_main("TF_CONFIG", value);
            }
            injection
        };
        let success = success(&job.spec.field("successPolicy"), &all, to);
        roles::assemble(job, all, Plan { rendezvous: Rendezvous::None, success, injection }, to)
    }

    fn is_master(&self, gang: &GangSpec, role: RoleIndex, index: u32) -> bool {
        let is_chief = |name: &str| name == CHIEF || name == MASTER;
        let has_chief = gang.roles.iter().any(|role| is_chief(&role.name.0));
        let name = gang.role(role).name.0.as_str();
        is_chief(name) || (!has_chief && name == WORKER && index == 0)
    }
}

fn check_chiefs(all: &[Replicas<'_>], to: &mut Findings) {
    let mut chiefs = all.iter().filter(|one| [CHIEF, MASTER].contains(&one.role));
    if let (Some(_), Some(second)) = (chiefs.next(), chiefs.next()) {
        let advice = "must not have more than 1 Chief or Master role";
        to.error(second.node.path(), Problem::Forbidden, advice);
    }
}

/// Upstream goes on without a Worker that has failed for good. A gang has all its ranks or none, so
/// the failure restarts it instead of ending the job.
fn keep_going_without_workers(all: &mut [Replicas<'_>]) {
    for one in all.iter_mut().filter(|one| one.role == WORKER) {
        if one.restart == RestartPolicy::Never {
            one.restart = RestartPolicy::OnFailure;
        }
    }
}

/// The Chief's end is the job's. Without one it is that of Worker 0, or of all Workers where the success policy
/// says so. Without Workers, all that there are must end.
fn success(policy: &Node<'_>, all: &[Replicas<'_>], to: &mut Findings) -> Option<SuccessRule> {
    let named = policy.text().unwrap_or_default();
    if !["", ALL_WORKERS].contains(&named) {
        to.not_supported(policy.path(), named, &[ALL_WORKERS]);
    }
    let chief = roles::index_of(all, CHIEF).or_else(|| roles::index_of(all, MASTER));
    if let Some(chief) = chief {
        return Some(SuccessRule::All(chief));
    }
    match roles::index_of(all, WORKER) {
        Some(worker) if named == ALL_WORKERS => Some(SuccessRule::All(worker)),
        Some(worker) => Some(SuccessRule::First(worker)),
        None => {
            let some = all.iter().find(|one| one.count() > 0)?;
            to.note(
                some.node.path(),
                format!("without a Chief and without Workers, the job has succeeded when all {} replicas have", some.role),
            );
            roles::index_of(all, some.role).map(SuccessRule::All)
        }
    }
}
