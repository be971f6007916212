//! XGBoostJob (`kubeflow.org/v1`), which also runs LightGBM: defaults, validation, expansion.
//!
//! The contract is that of the v1 training operator (`pkg/webhooks/xgboost`,
//! `pkg/controller.v1/xgboost`); where Muster differs, `docs/divergences.md` says why. Ranks: the Master first,
//! then the Workers. The program of the Master opens XGBoost's tracker at `MASTER_ADDR:MASTER_PORT`.

#[cfg(test)]
mod tests;

use muster_model::{
    GangSpec, Part, PeerPart, Rendezvous, RestartPolicy, RoleIndex, SuccessRule, Template, Variable,
};

use crate::findings::Findings;
use crate::injection::{Injection, itself, peers, text};
use crate::kind::{Facts, Job, Kind};
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const MASTER: &str = "Master";
const WORKER: &str = "Worker";
const PORT: (&str, u16) = ("xgboostjob-port", 9999);
const SPECS: &str = "xgbReplicaSpecs";

/// The kind.
pub(crate) struct XgBoostJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "XGBoostJob",
    plural: "xgboostjobs",
    singular: "xgboostjob",
    short_names: &[],
    operator_name: "xgboostjob-controller",
    selector_in_status: false,
};

static SPEC: Object = Object {
    name: "XGBoostJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[MASTER, WORKER],
    any_case: false,
    pod: |_| PodRules { main_container: Some("xgboost"), port: Some(PORT), command: &[] },
    restart: RestartPolicy::Never,
};

impl Kind for XgBoostJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let specs = job.spec.field(SPECS);
        let all = roles::read(&specs, &RULES, to);
        roles::check_counts(&specs, &all, to);
        match all.iter().find(|one| one.role == MASTER) {
            Some(master) => roles::check_single(master, to),
            // A null has its error already.
            None if specs.value().is_some_and(|map| map.get(MASTER).is_some()) => {}
            None => to.required(specs.field(MASTER).path(), "must be present"),
        }
        let injection = environment(&all);
        let success = roles::index_of(&all, MASTER).map(SuccessRule::All);
        let plan =
            Plan { rendezvous: Rendezvous::None, success, injection: |_: &_| injection.clone() };
        roles::assemble(job, all, plan, to)
    }

    fn is_master(&self, gang: &GangSpec, role: RoleIndex, _: u32) -> bool {
        gang.role(role).name.0 == MASTER
    }
}

/// The variables, the same for all replicas.
fn environment(all: &[Replicas<'_>]) -> Injection {
    let mut injection = Injection::new();
    let total = roles::total(all);
    injection
        .set("PYTHONUNBUFFERED", text(1))
        .set("MASTER_ADDR", Template::hole(Variable::LeaderAddress))
        .set("MASTER_PORT", Template::hole(Variable::FreePort))
        .set("WORLD_SIZE", text(total))
        .set("RANK", Template::hole(Variable::Rank));
    let (Some(master), Some(worker)) = (roles::index_of(all, MASTER), roles::index_of(all, WORKER))
    else {
        return injection;
    };
    let of_worker = all.iter().find(|one| one.role == WORKER);
    let worker_port = of_worker.map_or(PORT.1, |worker| worker.declared_port(PORT));
    let endpoint = [PeerPart::Host, PeerPart::Text(":".to_owned()), PeerPart::Port];
    let comma = Part::Text(",".to_owned());
    let endpoints = vec![peers(master, &endpoint, ","), comma, peers(worker, &endpoint, ",")];
    injection
        .set("WORKER_PORT", text(worker_port))
        .set("WORKER_ADDRS", Template(vec![peers(worker, &[PeerPart::Address], ",")]))
        // Workers on one node cannot all bind one port; these LightGBM takes as its `machines`.
        .set("MUSTER_ENDPOINTS", Template(endpoints))
        .set("MUSTER_ENDPOINT", Template(vec![itself(&endpoint)]));
    injection
}
