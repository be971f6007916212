//! Pod (`v1`) that is no part of a job: a job of one replica, which has its name.
//!
//! Restart policies are those of `k8s.io/api/core/v1`, but what ends well is done, see `docs/divergences.md`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_model::{
    ConditionType, GangSpec, JobKey, Millis, Naming, Rendezvous, RestartPolicy, RoleIndex,
    RunPolicy, SchedulingPolicy, SuccessRule,
};
use serde_json::{Map, Value, json};

use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::{Facts, Job, Kind};
use crate::node::Node;
use crate::pod::{self, PodRules};
use crate::replica::Replica;
use crate::roles::{self, Plan, Replicas};
use crate::run_policy::Policies;
use crate::schema::{Object, core::BARE_POD};
use crate::status::{JobView, put_times};

/// The kind.
pub(crate) struct BarePod;

static FACTS: Facts = Facts {
    api_version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    operator_name: "",
    selector_in_status: false,
};

impl Kind for BarePod {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &BARE_POD
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        let field = spec.field("activeDeadlineSeconds");
        let seconds = field.int();
        if let Some(given) = seconds.filter(|seconds| *seconds < 1) {
            to.invalid(field.path(), given, "must be at least 1");
        }
        let active_deadline =
            seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Millis::from_secs);
        Policies {
            run: RunPolicy { active_deadline, ..RunPolicy::default() },
            scheduling: SchedulingPolicy::default(),
            managed_by_other: false,
        }
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        // What a template says about metadata stands in that of the pod itself, which is checked already.
        let template = json!({"spec": job.spec.value()?});
        let template = Node::root(&template);
        let policy = job.spec.field("restartPolicy");
        let restart = match policy.nonempty() {
            None | Some("Always") => RestartPolicy::Always,
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            Some(other) => {
                to.not_supported(policy.path(), other, &["Always", "OnFailure", "Never"]);
                RestartPolicy::Never
            }
        };
        let mut pod = pod::read(&template, PodRules::PLAIN, to);
        pod.labels = job.metadata.field("labels").text_map();
        pod.annotations = job.metadata.field("annotations").text_map();
        let one = Replicas {
            role: "Pod",
            node: template,
            given: Some(1),
            restart,
            pod,
            priority_class: roles::priority_class(&job.spec),
        };
        let plan = Plan {
            rendezvous: Rendezvous::None,
            success: Some(SuccessRule::All(RoleIndex(0))),
            injection: |_: &_| Injection { naming: Naming::Job, ..Injection::new() },
        };
        roles::assemble(job, vec![one], plan, to)
    }

    fn is_master(&self, _: &GangSpec, _: RoleIndex, _: u32) -> bool {
        true
    }

    fn label(&self, _: &JobKey, _: Replica<'_>, _: &mut BTreeMap<String, String>) {}

    fn mutable(&self) -> &'static [&'static str] {
        &["spec.activeDeadlineSeconds"]
    }

    fn show(&self, job: &JobView<'_>, _: &mut Map<String, Value>) -> Map<String, Value> {
        status(job)
    }
}

/// `PodStatus`.
fn status(job: &JobView<'_>) -> Map<String, Value> {
    let holds = |kind| job.conditions.holds(kind);
    let phase = match () {
        () if holds(ConditionType::Succeeded) => "Succeeded",
        () if holds(ConditionType::Failed) => "Failed",
        () if holds(ConditionType::Running) || holds(ConditionType::Restarting) => "Running",
        () => "Pending",
    };
    let mut status = Map::new();
    status.insert("phase".into(), phase.into());
    let failed = job.conditions.iter().find(|one| one.kind == ConditionType::Failed && one.status);
    if let Some(failed) = failed {
        status.insert("message".into(), failed.message.as_str().into());
    }
    put_times(&mut status, [("startTime", job.started)]);
    status
}
