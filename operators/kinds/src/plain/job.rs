//! Job (`batch/v1`): so many completions of one pod template.
//!
//! The contract is that of `k8s.io/api/batch/v1` and of its validation; where Muster differs, `docs/divergences.md`
//! says why. All completions are one gang: they run at the same time, and start again together.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_model::{
    Condition, ConditionType, GangSpec, JobKey, Naming, Rendezvous, RestartPolicy, RoleIndex,
    SuccessRule, Template, Variable,
};
use serde_json::{Map, Value, json};

use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::{Facts, Job, Kind};
use crate::node::Node;
use crate::pod::{self, PodRules};
use crate::replica::Replica;
use crate::rfc3339::rfc3339;
use crate::roles::{self, MAX_REPLICAS, Plan, Replicas};
use crate::run_policy::{self, MULTI_KUEUE, Places, Policies};
use crate::schema::{
    Object,
    Type::{Any, Flag, Int32, Int64, Object as Obj, Text},
    core::POD_TEMPLATE,
    ignored, instead, quiet, used,
};
use crate::status::{JobView, put_conditions, put_times, truth};

/// Who may manage a job.
const MANAGERS: [&str; 2] = ["kubernetes.io/job-controller", MULTI_KUEUE];
/// How often failed pods are replaced when the job does not say.
const BACKOFF_LIMIT: u32 = 6;
const ROLE: &str = "Pod";
const INDEXED: &str = "Indexed";
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The kind.
pub(crate) struct BatchJob;

static FACTS: Facts = Facts {
    api_version: "batch/v1",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    short_names: &[],
    operator_name: "job-controller",
    selector_in_status: false,
};

const TOGETHER: &str = "Muster starts all completions again together";

static SPEC: Object = Object {
    name: "JobSpec",
    fields: &[
        used("template", Obj(&POD_TEMPLATE)),
        used("completions", Int32),
        used("parallelism", Int32),
        used("completionMode", Text),
        used("backoffLimit", Int32),
        used("activeDeadlineSeconds", Int64),
        used("ttlSecondsAfterFinished", Int32),
        used("suspend", Flag),
        used("managedBy", Text),
        instead("backoffLimitPerIndex", Int32, TOGETHER),
        instead("maxFailedIndexes", Int32, TOGETHER),
        instead("podFailurePolicy", Any, "use backoffLimit"),
        ignored("successPolicy", Any),
        quiet("manualSelector", Flag),
        quiet("podReplacementPolicy", Text),
        quiet("selector", Any),
    ],
};

impl Kind for BatchJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        let places = Places { policy: spec, older: None, managers: &MANAGERS };
        let mut policies = run_policy::read(&places, to);
        policies.run.backoff_limit.get_or_insert(BACKOFF_LIMIT);
        policies
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let spec = &job.spec;
        let mode = spec.field("completionMode");
        if let Some(other) = mode.nonempty().filter(|mode| ![INDEXED, "NonIndexed"].contains(mode))
        {
            to.not_supported(mode.path(), other, &[INDEXED, "NonIndexed"]);
        }
        let is_indexed = mode.text() == Some(INDEXED);
        let count = completions(spec, is_indexed, to);
        let template = spec.field("template");
        if !template.is_set() {
            to.required(template.path(), "describe the pod");
            return None;
        }
        check_restart_policy(&template.field("spec").field("restartPolicy"), to);
        let mut one = Replicas {
            role: ROLE,
            given: Some(i64::from(count)),
            // A failed pod is run again, in place or as a new one.
            restart: RestartPolicy::OnFailure,
            pod: pod::read(&template, PodRules::PLAIN, to),
            priority_class: roles::priority_class(&template.field("spec")),
            node: spec.clone(),
        };
        if is_indexed {
            // An index of 0 is replaced by that of each pod.
            one.pod.labels.insert(COMPLETION_INDEX.to_owned(), "0".to_owned());
        }
        let injection = |_: &Replicas<'_>| {
            let mut injection = Injection { naming: Naming::Index, ..Injection::new() };
            if is_indexed {
                injection.set("JOB_COMPLETION_INDEX", Template::hole(Variable::RoleIndex));
            }
            injection
        };
        let success = Some(SuccessRule::All(RoleIndex(0)));
        let plan = Plan { rendezvous: Rendezvous::None, success, injection };
        roles::assemble(job, vec![one], plan, to)
    }

    fn is_master(&self, _: &GangSpec, _: RoleIndex, index: u32) -> bool {
        index == 0
    }

    fn label(&self, job: &JobKey, replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
        for name in ["batch.kubernetes.io/job-name", "job-name"] {
            labels.insert(name.to_owned(), job.name.to_string());
        }
        if let Some(index) = labels.get_mut(COMPLETION_INDEX) {
            *index = replica.index.to_string();
        }
    }

    fn mutable(&self) -> &'static [&'static str] {
        &["spec.suspend", "spec.activeDeadlineSeconds", "spec.ttlSecondsAfterFinished"]
    }

    fn show(&self, job: &JobView<'_>, spec: &mut Map<String, Value>) -> Map<String, Value> {
        status(job, spec)
    }
}

/// How many pods there are: the completions, or as many as run at a time where any of them may be the one that
/// completes.
fn completions(spec: &Node<'_>, is_indexed: bool, to: &mut Findings) -> u32 {
    let mut number = |name: &str| {
        let field = spec.field(name);
        let given = field.int()?;
        if !(1..=i64::from(MAX_REPLICAS)).contains(&given) {
            to.invalid(field.path(), given, format!("must be between 1 and {MAX_REPLICAS}"));
        }
        let clamped = given.clamp(1, i64::from(MAX_REPLICAS));
        Some(u32::try_from(clamped).expect("was clamped into the range"))
    };
    let (completions, parallelism) = (number("completions"), number("parallelism"));
    let field = spec.field("completions");
    if is_indexed && completions.is_none() && !field.is_set() {
        to.required(field.path(), "an Indexed job says how many indices it has");
    }
    if let Some(count) = completions.filter(|count| *count > parallelism.unwrap_or(1)) {
        let at_a_time = parallelism.unwrap_or(1);
        to.note(
            spec.field("parallelism").path(),
            format!("all {count} pods run at the same time, not {at_a_time}"),
        );
    }
    completions.or(parallelism).unwrap_or(1)
}

fn check_restart_policy(policy: &Node<'_>, to: &mut Findings) {
    match policy.nonempty() {
        Some("Never" | "OnFailure") => {}
        Some(other) => to.not_supported(policy.path(), other, &["OnFailure", "Never"]),
        None => to.required(policy.path(), "write OnFailure or Never"),
    }
}

/// `JobStatus`.
fn status(job: &JobView<'_>, spec: &mut Map<String, Value>) -> Map<String, Value> {
    for name in ["completions", "parallelism"] {
        spec.entry(name).or_insert_with(|| json!(1));
    }
    let mut status = Map::new();
    put_conditions(&mut status, job, condition);
    let sum = |count: fn(&crate::RoleCounts) -> u32| job.roles.iter().map(count).sum::<u32>();
    for (name, count) in [
        ("active", sum(|role| role.active)),
        ("ready", sum(|role| role.active)),
        ("succeeded", sum(|role| role.succeeded)),
        ("failed", sum(|role| role.failed)),
    ] {
        if count > 0 {
            status.insert(name.into(), count.into());
        }
    }
    // Upstream has a completion time for successes only.
    let completed = job.completed.filter(|_| job.conditions.holds(ConditionType::Succeeded));
    put_times(&mut status, [("startTime", job.started), ("completionTime", completed)]);
    status
}

/// There is none for a job that was accepted, runs or restarts.
fn condition(condition: &Condition) -> Option<Value> {
    let (kind, reason) = match condition.kind {
        ConditionType::Succeeded => ("Complete", "CompletionsReached"),
        ConditionType::Failed => ("Failed", "BackoffLimitExceeded"),
        ConditionType::Suspended if condition.status => ("Suspended", "JobSuspended"),
        ConditionType::Suspended => ("Suspended", "JobResumed"),
        ConditionType::Created | ConditionType::Running | ConditionType::Restarting => return None,
    };
    Some(json!({
        "type": kind,
        "status": truth(condition),
        "reason": reason,
        "message": condition.message,
        "lastProbeTime": rfc3339(condition.updated),
        "lastTransitionTime": rfc3339(condition.transitioned),
    }))
}
