//! JAXJob (`kubeflow.org/v1`): defaults, validation, expansion.
//!
//! The contract is that of the v1 training operator (`pkg/webhooks/jax`, `pkg/controller.v1/jax`); where
//! Muster differs, `docs/divergences.md` says why. Worker 0 is the coordinator of `jax.distributed`.

#[cfg(test)]
mod tests;

use muster_model::{
    GangSpec, Rendezvous, RestartPolicy, RoleIndex, SuccessRule, Template, Variable,
};

use crate::findings::Findings;
use crate::injection::{Injection, text};
use crate::kind::{Facts, Job, Kind};
use crate::pod::PodRules;
use crate::roles::{self, Plan, RoleRules};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const WORKER: &str = "Worker";
const SPECS: &str = "jaxReplicaSpecs";

/// The kind.
pub(crate) struct JaxJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "JAXJob",
    plural: "jaxjobs",
    singular: "jaxjob",
    short_names: &[],
    operator_name: "jaxjob-controller",
    selector_in_status: true,
};

static SPEC: Object = Object {
    name: "JAXJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[WORKER],
    any_case: false,
    pod: |_| PodRules {
        main_container: Some("jax"),
        port: Some(("jaxjob-port", 6666)),
        command: &[],
    },
    restart: RestartPolicy::Never,
};

impl Kind for JaxJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let specs = job.spec.field(SPECS);
        let all = roles::read(&specs, &RULES, to);
        roles::check_described(&specs, "describe the Workers", to);
        roles::check_counts(&specs, &all, to);
        let mut injection = Injection::new();
        injection
            .set("PYTHONUNBUFFERED", text(1))
            // Programs join the two with a colon, so that IPv6 needs its brackets.
            .set("COORDINATOR_ADDRESS", Template::hole(Variable::LeaderHost))
            .set("COORDINATOR_PORT", Template::hole(Variable::FreePort))
            .set("NUM_PROCESSES", text(roles::total(&all)))
            .set("PROCESS_ID", Template::hole(Variable::Rank));
        let plan = Plan {
            rendezvous: Rendezvous::None,
            success: roles::index_of(&all, WORKER).map(SuccessRule::All),
            injection: |_: &_| injection.clone(),
        };
        roles::assemble(job, all, plan, to)
    }

    fn is_master(&self, _: &GangSpec, _: RoleIndex, index: u32) -> bool {
        index == 0
    }
}
