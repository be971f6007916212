//! PaddleJob (`kubeflow.org/v1`): defaults, validation, expansion.
//!
//! The contract is that of the v1 training operator (`pkg/webhooks/paddlepaddle`,
//! `pkg/controller.v1/paddlepaddle`); where Muster differs, `docs/divergences.md` says why. With a Master, which
//! is a parameter server, the Workers are its trainers; without one they train collectively. Paddle's launcher
//! numbers the replicas itself, so that nobody is told a rank.

#[cfg(test)]
mod tests;

use muster_model::{
    GangSpec, Rendezvous, RestartPolicy, RoleIndex, SuccessRule, Template, Variable,
};

use crate::findings::Findings;
use crate::injection::{Injection, leader_endpoint, text};
use crate::kind::{Facts, Job, Kind};
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};
use crate::schema::{
    Object, Type, instead,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const MASTER: &str = "Master";
const WORKER: &str = "Worker";
const SPECS: &str = "paddleReplicaSpecs";

/// The kind.
pub(crate) struct PaddleJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "PaddleJob",
    plural: "paddlejobs",
    singular: "paddlejob",
    short_names: &[],
    operator_name: "paddlejob-controller",
    selector_in_status: true,
};

static SPEC: Object = Object {
    name: "PaddleJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
        used("elasticPolicy", Type::Object(&ELASTIC_POLICY)),
    ],
};

const FIXED: &str = "the number of replicas does not change while the job runs";

/// Upstream reads none of it.
static ELASTIC_POLICY: Object = Object {
    name: "PaddleElasticPolicy",
    fields: &[
        instead("minReplicas", Type::Int32, FIXED),
        instead("maxReplicas", Type::Int32, FIXED),
        instead("maxRestarts", Type::Int32, "use runPolicy.backoffLimit"),
        instead("metrics", Type::List(&Type::Any), FIXED),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[MASTER, WORKER],
    any_case: false,
    pod: |_| PodRules {
        main_container: Some("paddle"),
        port: Some(("master", 36_543)),
        command: &[],
    },
    restart: RestartPolicy::OnFailure,
};

impl Kind for PaddleJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let specs = job.spec.field(SPECS);
        let all = roles::read(&specs, &RULES, to);
        roles::check_described(&specs, "describe Workers, with or without a Master", to);
        roles::check_counts(&specs, &all, to);
        let (master, worker) = (roles::index_of(&all, MASTER), roles::index_of(&all, WORKER));
        let total = roles::total(&all);
        let injection = |one: &Replicas<'_>| {
            let mut injection = Injection::new();
            injection
                .set("PYTHONUNBUFFERED", text(1))
                .set("PADDLE_JOB_ID", text(job.name))
                .set("PADDLE_NNODES", text(total))
                .set("POD_IP_DUMMY", Template::hole(Variable::NodeAddress))
                .set("PADDLE_MASTER", leader_endpoint());
            match (master, one.role) {
                (Some(_), MASTER) => injection.set("PADDLE_SERVER_NUM", text(1)),
                (Some(_), _) => injection.set("PADDLE_TRAINER_NUM", text(1)),
                (None, _) => &mut injection,
            };
            injection
        };
        let success = master.or(worker).map(SuccessRule::All);
        roles::assemble(job, all, Plan { rendezvous: Rendezvous::None, success, injection }, to)
    }

    fn is_master(&self, gang: &GangSpec, role: RoleIndex, _: u32) -> bool {
        gang.role(role).name.0 == MASTER
    }
}
