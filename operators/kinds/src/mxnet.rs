//! MXJob (`kubeflow.org/v1`, until v1.8 of the training operator): defaults, validation, expansion.
//!
//! The contract is that of `pkg/apis/kubeflow.org/v1/mxnet_*` and `pkg/controller.v1/mxnet` at v1.8.1; where
//! Muster differs, `docs/divergences.md` says why. It runs MXNet's parameter servers (`MXTrain`), BytePS, and TVM's
//! auto-tuning (`MXTune`). Replicas find each other through `MX_CONFIG` and the `DMLC_*` variables.

mod config;
#[cfg(test)]
mod tests;

use muster_model::{
    FieldPath, GangSpec, Rendezvous, RestartPolicy, RoleIndex, SuccessRule, Template, Variable,
};

use crate::findings::Findings;
use crate::injection::{Injection, text};
use crate::kind::{Facts, Job, Kind};
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

const SCHEDULER: &str = "Scheduler";
const SERVER: &str = "Server";
const WORKER: &str = "Worker";
const TUNER: &str = "Tuner";
const TRAIN: &str = "MXTrain";
const TUNE: &str = "MXTune";
const SPECS: &str = "mxReplicaSpecs";

/// The kind.
pub(crate) struct MxJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "MXJob",
    plural: "mxjobs",
    singular: "mxjob",
    short_names: &[],
    operator_name: "mxjob-controller",
    selector_in_status: false,
};

static SPEC: Object = Object {
    name: "MXJobSpec",
    fields: &[
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used("jobMode", Type::Text),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
    ],
};

static RULES: RoleRules = RoleRules {
    types: &[SCHEDULER, SERVER, WORKER, "TunerTracker", "TunerServer", TUNER],
    any_case: true,
    pod: |_| PodRules {
        main_container: Some("mxnet"),
        port: Some(("mxjob-port", 9091)),
        command: &[],
    },
    restart: RestartPolicy::Never,
};

impl Kind for MxJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        to.note(
            &FieldPath::root().field("kind"),
            "the training operator has no MXJob since v1.9, and MXNet is no longer developed",
        );
        let specs = job.spec.field(SPECS);
        let all = roles::read(&specs, &RULES, to);
        roles::check_described(&specs, "describe a Scheduler, Servers and Workers", to);
        roles::check_counts(&specs, &all, to);
        let mode = job.spec.field("jobMode");
        match mode.nonempty() {
            Some(TRAIN | TUNE) => {}
            Some(other) => to.not_supported(mode.path(), other, &[TRAIN, TUNE]),
            None => to.required(mode.path(), format!("write {TRAIN} or {TUNE}")),
        }
        let cluster = config::Cluster::of(&all);
        let root = root_of(&all);
        let counts = [SERVER, WORKER].map(|role| count_of(&all, role));
        let injection = |one: &Replicas<'_>| {
            let role = one.role.to_ascii_lowercase();
            let mut injection = Injection::new();
            let (uri, port) = root.clone();
            injection
                .set("MX_CONFIG", cluster.config_of(&role))
                .set("DMLC_PS_ROOT_PORT", port)
                .set("DMLC_PS_ROOT_URI", uri)
                .set("DMLC_NUM_SERVER", text(counts[0]))
                .set("DMLC_NUM_WORKER", text(counts[1]))
                .set("DMLC_ROLE", text(role))
                .set("DMLC_USE_KUBERNETES", text(1));
            if one.role == WORKER {
                injection.set("DMLC_WORKER_ID", Template::hole(Variable::RoleIndex));
            }
            injection
        };
        let success = success(&all, mode.text() == Some(TUNE));
        roles::assemble(job, all, Plan { rendezvous: Rendezvous::None, success, injection }, to)
    }

    /// Upstream labels the Servers, oddly.
    fn is_master(&self, gang: &GangSpec, role: RoleIndex, _: u32) -> bool {
        gang.role(role).name.0 == SERVER
    }
}

fn count_of(all: &[Replicas<'_>], role: &str) -> u32 {
    all.iter().find(|one| one.role == role).map_or(0, Replicas::count)
}

/// Host and port of the first Scheduler, which is rank 0 where there is one.
fn root_of(all: &[Replicas<'_>]) -> (Template, Template) {
    match roles::index_of(all, SCHEDULER) {
        Some(_) => (Template::hole(Variable::LeaderAddress), Template::hole(Variable::FreePort)),
        None => (text(""), text(0)),
    }
}

/// The Scheduler's end is the job's, or that of the Workers where there is no Scheduler; in a job that tunes that of the
/// Tuner. In other jobs, which upstream never ends, all replicas of the first type must end well.
fn success(all: &[Replicas<'_>], tunes: bool) -> Option<SuccessRule> {
    let tuner = || roles::index_of(all, TUNER).filter(|_| tunes);
    let decides = tuner()
        .or_else(|| roles::index_of(all, SCHEDULER))
        .or_else(|| roles::index_of(all, WORKER))
        .or_else(|| all.iter().find_map(|one| roles::index_of(all, one.role)));
    decides.map(SuccessRule::All)
}
