//! Replica specs: the part of a job that says which replicas there are and what they run. All
//! `kubeflow.org/v1` kinds have the same map of them under a name of their own.

use muster_model::{PodSpec, Problem, RestartPolicy, SchedulingPolicy};

use crate::findings::Findings;
use crate::node::Node;
use crate::pod::{self, PodRules};
use crate::run_policy::Policies;

/// The most replicas that one job may have.
pub(crate) const MAX_REPLICAS: u32 = 100_000;

const RESTART_POLICIES: [RestartPolicy; 4] = [
    RestartPolicy::Never,
    RestartPolicy::OnFailure,
    RestartPolicy::Always,
    RestartPolicy::ExitCode,
];

/// What a kind expects of its replica specs.
#[derive(Debug)]
pub(crate) struct RoleRules {
    /// The replica types, in the order of ranks.
    pub(crate) types: &'static [&'static str],
    pub(crate) pod: PodRules,
    /// Without a policy of its own, a replica has this one.
    pub(crate) restart: RestartPolicy,
}

/// One entry of the map.
#[derive(Debug)]
pub(crate) struct Replicas<'m> {
    pub(crate) role: &'static str,
    /// Where it stands.
    pub(crate) node: Node<'m>,
    /// As written.
    pub(crate) given: Option<i64>,
    pub(crate) restart: RestartPolicy,
    pub(crate) pod: PodSpec,
    /// The priority class of its template.
    pub(crate) priority_class: Option<String>,
}

impl Replicas<'_> {
    /// How many there are, by default one; in a job without errors at least one.
    pub(crate) fn count(&self) -> u32 {
        let count = self.given.unwrap_or(1).clamp(0, i64::from(MAX_REPLICAS));
        u32::try_from(count).expect("was clamped into the range")
    }
}

/// Reads the map, in the order of ranks.
pub(crate) fn read<'m>(map: &Node<'m>, rules: &RoleRules, to: &mut Findings) -> Vec<Replicas<'m>> {
    for (name, node) in map.entries() {
        if !rules.types.contains(&name) {
            to.not_supported(node.path(), name, rules.types);
        }
    }
    let mut all = Vec::new();
    for &role in rules.types {
        let node = map.field(role);
        if !node.is_set() {
            if map.value().is_some_and(|value| value.get(role).is_some()) {
                to.required(node.path(), "describe the replicas, or leave the type out");
            }
            continue;
        }
        let template = node.field("template");
        let priority_class = template.field("spec").field("priorityClassName");
        all.push(Replicas {
            role,
            given: node.field("replicas").int(),
            restart: restart(&node.field("restartPolicy"), rules.restart, to),
            pod: pod::read(&template, rules.pod, to),
            priority_class: priority_class.nonempty().map(str::to_owned),
            node: node.clone(),
        });
        let policy = template.field("spec").field("restartPolicy");
        if policy.nonempty().is_some() {
            to.note(policy.path(), format!("{role}.restartPolicy is used instead"));
        }
    }
    let total: u64 = all.iter().map(|one| u64::from(one.count())).sum();
    if total > u64::from(MAX_REPLICAS) {
        let limit = u64::from(MAX_REPLICAS);
        let problem = Problem::TooLong { limit };
        to.error(map.path(), problem, "replicas in one job");
    }
    all
}

/// The scheduling policy of a job: its own priority class, else that of the first template with one.
pub(crate) fn scheduling(policies: &Policies, roles: &[Replicas<'_>]) -> SchedulingPolicy {
    let mut scheduling = policies.scheduling.clone();
    if scheduling.priority_class.is_none() {
        scheduling.priority_class = roles.iter().find_map(|one| one.priority_class.clone());
    }
    scheduling
}

fn restart(field: &Node<'_>, default: RestartPolicy, to: &mut Findings) -> RestartPolicy {
    let Some(text) = field.nonempty() else {
        return default;
    };
    let found = RESTART_POLICIES.into_iter().find(|policy| policy.as_str() == text);
    found.unwrap_or_else(|| {
        let names = RESTART_POLICIES.map(RestartPolicy::as_str);
        to.not_supported(field.path(), text, &names);
        default
    })
}
