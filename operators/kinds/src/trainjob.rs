//! TrainJob (`trainer.kubeflow.org/v1alpha1`): a trainer and the runtime that it runs in.
//!
//! The contract is that of kubeflow/trainer 2.0 to 2.3 (`pkg/runtime`, `pkg/webhooks`) on top of JobSet; where Muster
//! differs, `docs/divergences.md` says why. A runtime is a blueprint of pod templates; the job's patches, initializers and trainer
//! are put into them, and what comes out is read like every other pod template. In messages, `runtime.<job>` stands
//! for the outcome for one job of the runtime. Since the gang is made at admission, later changes of a runtime
//! do not concern the job.
//!
//! Ranks: the job that trains first, then the others in the order of the runtime. A job that others wait for with
//! `dependsOn` and `Complete` is no role of its own: its containers run as init containers of those that wait.

mod blueprint;
mod environment;
mod merge;
mod patches;
mod runtimes;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod trainer;

use std::collections::BTreeMap;

use muster_model::{
    CleanPodPolicy, GangSpec, JobKey, Naming, PodSpec, Rendezvous, RestartPolicy, RoleIndex,
    SuccessRule,
};
use serde_json::{Map, Value};

use self::blueprint::{Blueprint, LAUNCHER, NODE, Policy, Step};
use self::environment::Sizes;
pub use self::runtimes::Runtimes;
use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::{Facts, Job, Kind};
use crate::mpi;
use crate::node::Node;
use crate::pod::{self, PodRules};
use crate::replica::Replica;
use crate::roles::{self, Plan, Replicas};
use crate::run_policy::{self, MULTI_KUEUE, Places, Policies};
use crate::schema::{Object, check, core::POD_TEMPLATE};
use crate::status::JobView;

/// Who may manage a job.
const MANAGERS: [&str; 2] = ["trainer.kubeflow.org/trainjob-controller", MULTI_KUEUE];

/// The kind.
pub(crate) struct TrainJob;

static FACTS: Facts = Facts {
    api_version: "trainer.kubeflow.org/v1alpha1",
    kind: "TrainJob",
    plural: "trainjobs",
    singular: "trainjob",
    short_names: &[],
    operator_name: "trainjob-controller",
    selector_in_status: false,
};

impl Kind for TrainJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &schema::SPEC
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        let mut policies =
            run_policy::read(&Places { policy: spec, older: None, managers: &MANAGERS }, to);
        // A JobSet that has ended keeps no pods running.
        policies.run.clean_pod_policy = CleanPodPolicy::Running;
        let deadline = spec.field("activeDeadlineSeconds");
        if deadline.int() == Some(0) {
            to.invalid(deadline.path(), 0, "must be at least 1");
        }
        policies
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let mut blueprint = runtime(job, to)?;
        check_policy(job, &blueprint, to);
        let trainer = job.spec.field("trainer");
        trainer::check(&trainer, &blueprint.policy, to);
        patches::apply(&job.spec, &mut blueprint.steps, to);
        trainer::initialize(&job.spec, &mut blueprint, to);
        let moved = trainer::apply(&trainer, &mut blueprint);
        let nodes = set_nodes(job, &mut blueprint, to);

        let mut found = Findings::default();
        let all = read(&blueprint, &mut found);
        to.absorb(found, |path| {
            let at = moved.iter().find_map(|(from, place)| path.rebase(from, place));
            at.unwrap_or(path)
        });
        let sizes = Sizes::of(&trainer, &all, (&blueprint, nodes), to);
        let injection = |one: &Replicas<'_>| {
            let injection = match one.role == main_name(&blueprint) {
                true => environment::of(job, &blueprint.policy, &sizes),
                false => Injection::new(),
            };
            Injection { naming: Naming::ReplicatedJob, ..injection }
        };
        let success = decides(&blueprint, &all).map(SuccessRule::All);
        let limit = restarts(&blueprint);
        let plan = Plan { rendezvous: Rendezvous::None, success, injection };
        let mut gang = roles::assemble(job, all, plan, to)?;
        gang.run_policy.backoff_limit = limit;
        Some(gang)
    }

    fn is_master(&self, _: &GangSpec, role: RoleIndex, index: u32) -> bool {
        role == RoleIndex(0) && index == 0
    }

    /// Those of JobSet and of the Job controller.
    fn label(&self, job: &JobKey, replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
        let role = replica.gang.role(replica.role).name.lower();
        let index = replica.index.to_string();
        for (name, value) in [
            ("jobset.sigs.k8s.io/jobset-name", job.name.as_str()),
            ("jobset.sigs.k8s.io/replicatedjob-name", &role),
            ("jobset.sigs.k8s.io/replicatedjob-replicas", "1"),
            ("jobset.sigs.k8s.io/job-index", "0"),
            ("batch.kubernetes.io/job-name", &format!("{}-{role}-0", job.name)),
            ("batch.kubernetes.io/job-completion-index", &index),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
    }

    fn mutable(&self) -> &'static [&'static str] {
        &["spec.suspend"]
    }

    fn show(&self, job: &JobView<'_>, _: &mut Map<String, Value>) -> Map<String, Value> {
        status::show(job)
    }
}

/// The runtime that the job refers to.
fn runtime(job: &Job<'_>, to: &mut Findings) -> Option<Blueprint> {
    let reference = job.spec.field("runtimeRef");
    let group = reference.field("apiGroup");
    let kind = reference.field("kind");
    let known = [runtimes::CLUSTER, runtimes::NAMESPACED];
    let of_kind = kind.nonempty().unwrap_or(runtimes::CLUSTER);
    let right_group = group.nonempty().is_none_or(|group| group == "trainer.kubeflow.org");
    if !right_group {
        to.not_supported(group.path(), group.text().unwrap_or_default(), &["trainer.kubeflow.org"]);
    }
    if !known.contains(&of_kind) {
        to.not_supported(kind.path(), of_kind, &known);
    }
    let name = reference.field("name");
    let Some(text) = name.nonempty() else {
        to.required(name.path(), "name a runtime, such as torch-distributed");
        return None;
    };
    if !right_group || !known.contains(&of_kind) {
        return None;
    }
    let Some(found) = job.runtimes.find(of_kind, job.namespace, text) else {
        let there = job.runtimes.names(of_kind, job.namespace);
        let advice = match there.as_slice() {
            [] => {
                format!("there is no {of_kind}; it must be created before the TrainJob is created")
            }
            there => format!(
                "{of_kind} {text} must be created before the TrainJob is created; there are: {}",
                there.join(", ")
            ),
        };
        to.invalid(name.path(), text, advice);
        return None;
    };
    let blueprint = Blueprint::read(found);
    if blueprint.is_deprecated {
        to.note(name.path(), format!("the runtime {text} is deprecated"));
    }
    Some(blueprint)
}

fn check_policy(job: &Job<'_>, blueprint: &Blueprint, to: &mut Findings) {
    let reference = job.spec.field("runtimeRef");
    let mut refuse = |advice: &str| to.forbidden(reference.path(), advice);
    if blueprint.trainer().is_none() {
        refuse(
            "the runtime has no job that trains: none is labelled as the step trainer, and none is called node",
        );
    }
    if let [first, second, ..] = blueprint.policies.as_slice() {
        refuse(&format!("the runtime has two policies, {first} and {second}"));
    }
    match blueprint.policy {
        Policy::Flux => refuse("runtimes with the policy flux are not supported"),
        Policy::Mpi { launcher_is_node: true, .. }
            if !(blueprint.has(LAUNCHER) && blueprint.has(NODE)) =>
        {
            refuse("a runtime with runLauncherAsNode must have the jobs launcher and node");
        }
        _ => {}
    }
}

/// Gives every step its number of pods. Answers how many nodes train.
fn set_nodes(job: &Job<'_>, blueprint: &mut Blueprint, to: &mut Findings) -> i64 {
    let field = job.spec.field("trainer").field("numNodes");
    let given = field.int().unwrap_or(blueprint.nodes);
    if given < 1 || given > i64::from(roles::MAX_REPLICAS) {
        let advice = format!("must be between 1 and {}", roles::MAX_REPLICAS);
        to.invalid(field.path(), given, advice);
    }
    let nodes = given.clamp(1, i64::from(roles::MAX_REPLICAS));
    let main = blueprint.trainer();
    let mpi = match blueprint.policy {
        Policy::Mpi { launcher_is_node, .. } => Some(launcher_is_node),
        _ => None,
    };
    for (place, step) in blueprint.steps.iter_mut().enumerate() {
        match mpi {
            // The launcher counts as a node, and there is always one beside it.
            Some(true) if step.name == NODE => step.pods = (nodes - 1).max(1),
            Some(false) if step.name == NODE => step.pods = nodes,
            Some(_) if step.name == LAUNCHER => step.pods = 1,
            _ if Some(place) == main => step.pods = nodes,
            _ => {}
        }
    }
    nodes
}

fn main_name(blueprint: &Blueprint) -> &str {
    blueprint.trainer().map_or("", |place| &blueprint.steps[place].name)
}

/// The roles: the step that trains first, and no steps that others wait for.
fn read<'b>(blueprint: &'b Blueprint, to: &mut Findings) -> Vec<Replicas<'b>> {
    let main = main_name(blueprint);
    let is_waited_for =
        |step: &&Step| blueprint.steps.iter().any(|one| one.after.contains(&step.name));
    let mut steps: Vec<&Step> =
        blueprint.steps.iter().filter(|step| step.name == main || !is_waited_for(step)).collect();
    steps.sort_by_key(|step| step.name != main);
    let is_mpi = matches!(blueprint.policy, Policy::Mpi { .. });
    let mut all = Vec::new();
    for step in steps {
        let rules = PodRules {
            main_container: (step.name == main).then_some(NODE),
            port: None,
            command: if is_mpi && step.name == NODE { &mpi::IDLE } else { &[] },
        };
        let mut one = replicas(step, rules, to);
        if is_mpi && step.name == NODE {
            mpi::wait_for_ranks(&mut one, to);
        }
        let mut before = Vec::new();
        collect(blueprint, step, &mut before, 0);
        for earlier in before.into_iter().rev() {
            prepend(replicas(earlier, PodRules::PLAIN, to).pod, &mut one.pod);
        }
        all.push(one);
    }
    all
}

/// The steps that a step waits for, the first to run first. `depth` bounds circles.
fn collect<'b>(blueprint: &'b Blueprint, step: &Step, to: &mut Vec<&'b Step>, depth: usize) {
    if depth > blueprint.steps.len() {
        return;
    }
    for name in &step.after {
        let Some(earlier) = blueprint.steps.iter().find(|one| one.name == *name) else { continue };
        collect(blueprint, earlier, to, depth + 1);
        if to.iter().all(|known| known.name != earlier.name) {
            to.push(earlier);
        }
    }
}

/// Runs the containers of `earlier` before those of `pod`.
fn prepend(earlier: PodSpec, pod: &mut PodSpec) {
    let mut init = earlier.init_containers;
    init.extend(earlier.containers);
    init.append(&mut pod.init_containers);
    pod.init_containers = init;
    for volume in earlier.volumes {
        if pod.volumes.iter().all(|known| known.name != volume.name) {
            pod.volumes.push(volume);
        }
    }
}

fn replicas<'b>(step: &'b Step, rules: PodRules, to: &mut Findings) -> Replicas<'b> {
    let node = Node::new(Some(&step.job), trainer::path_of(&step.name));
    let template = node.field("template");
    match template.value() {
        Some(value) => check(value, &POD_TEMPLATE, template.path(), to),
        None => to.required(template.path(), "the runtime has no pod template for this job"),
    }
    let spec = template.field("spec");
    let restart = match spec.field("restartPolicy").nonempty() {
        Some("Never") => RestartPolicy::Never,
        _ => RestartPolicy::OnFailure,
    };
    Replicas {
        role: &step.name,
        given: Some(step.pods),
        restart,
        pod: pod::read(&template, rules, to),
        priority_class: roles::priority_class(&spec),
        node,
    }
}

/// The role whose end is the job's: the one that the runtime names, the launcher, or the one that trains.
fn decides(blueprint: &Blueprint, all: &[Replicas<'_>]) -> Option<RoleIndex> {
    let named = blueprint.decides.as_deref().and_then(|name| roles::index_of(all, name));
    let launcher = || match blueprint.policy {
        Policy::Mpi { .. } => roles::index_of(all, LAUNCHER),
        _ => None,
    };
    named.or_else(launcher).or_else(|| roles::index_of(all, main_name(blueprint)))
}

/// How often the gang may start again: as often as the runtime's failure policy or the job that trains says.
fn restarts(blueprint: &Blueprint) -> Option<u32> {
    let of_job = blueprint.trainer().and_then(|place| blueprint.steps[place].backoff_limit);
    let limit = blueprint.max_restarts.or(of_job)?;
    u32::try_from(limit.max(0)).ok()
}
