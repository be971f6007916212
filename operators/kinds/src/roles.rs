//! Replica specs: the part of a job that says which replicas there are and what they run. All
//! `kubeflow.org/v1` kinds have the same map of them under a name of their own.

use muster_model::{
    GangSpec, PodSpec, Problem, Rendezvous, RestartPolicy, RoleIndex, RoleName, RoleSpec,
    SchedulingPolicy, SuccessRule,
};

use crate::findings::Findings;
use crate::injection::Injection;
use crate::kind::Job;
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
    /// Whether a type may be written in any case, as upstream's controllers read it where no webhook
    /// insists on the case.
    pub(crate) any_case: bool,
    /// What is expected of the pods of a type.
    pub(crate) pod: fn(role: &str) -> PodRules,
    /// Without a policy of its own, a replica has this one.
    pub(crate) restart: RestartPolicy,
}

/// One entry of the map.
#[derive(Debug)]
pub(crate) struct Replicas<'m> {
    pub(crate) role: &'m str,
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

    /// The number of a port of the main container that `rules` give a name and a default.
    pub(crate) fn declared_port(&self, (name, default): (&str, u16)) -> u16 {
        let main = self.pod.containers.get(self.pod.main);
        let named = main.and_then(|main| main.ports.iter().find(|port| port.name == name));
        named.map_or(default, |port| port.port)
    }
}

/// Reads the map, in the order of ranks.
pub(crate) fn read<'m>(map: &Node<'m>, rules: &RoleRules, to: &mut Findings) -> Vec<Replicas<'m>> {
    let same = |written: &str, role: &str| match rules.any_case {
        true => written.eq_ignore_ascii_case(role),
        false => written == role,
    };
    for name in keys(map) {
        if !rules.types.iter().any(|role| same(name, role)) {
            to.not_supported(map.field(name).path(), name, rules.types);
        }
    }
    let mut all: Vec<Replicas<'m>> = Vec::new();
    for &role in rules.types {
        let mut written = keys(map).filter(|name| same(name, role));
        let Some(name) = written.next() else { continue };
        for again in written {
            let advice = format!("{role} is described above");
            to.duplicate(map.field(again).path(), again, advice);
        }
        let node = map.field(name);
        if !node.is_set() {
            to.required(node.path(), "describe the replicas, or leave the type out");
            continue;
        }
        let template = node.field("template");
        all.push(Replicas {
            role,
            given: node.field("replicas").int(),
            restart: restart(&node.field("restartPolicy"), rules.restart, to),
            pod: pod::read(&template, (rules.pod)(role), to),
            priority_class: priority_class(&template.field("spec")),
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

fn keys<'m>(map: &Node<'m>) -> impl Iterator<Item = &'m str> + use<'m> {
    let entries = map.value().and_then(serde_json::Value::as_object);
    entries.into_iter().flatten().map(|(key, _)| key.as_str())
}

/// Checks that the map has entries; `advice` says which.
pub(crate) fn check_described(map: &Node<'_>, advice: &str, to: &mut Findings) {
    if map.entries().next().is_none() {
        to.required(map.path(), advice);
    }
}

/// The priority class of a pod spec, if it names one.
pub(crate) fn priority_class(pod: &Node<'_>) -> Option<String> {
    pod.field("priorityClassName").nonempty().map(str::to_owned)
}

/// For kinds that let a type have no replicas: their number must not be negative, and some replicas
/// there must be.
pub(crate) fn check_counts(map: &Node<'_>, all: &[Replicas<'_>], to: &mut Findings) {
    for one in all {
        if let Some(count) = one.given.filter(|count| *count < 0) {
            to.invalid(one.node.field("replicas").path(), count, "must not be negative");
        }
    }
    if !all.is_empty() && all.iter().all(|one| one.given == Some(0)) {
        to.required(map.path(), "describe at least one replica");
    }
}

/// Checks that there is exactly one replica of a type, and that the manifest says so where upstream
/// checks before it fills in defaults.
pub(crate) fn check_single(one: &Replicas<'_>, to: &mut Findings) {
    let field = one.node.field("replicas");
    match one.given {
        Some(1) => {}
        // A count of a wrong type has its error already.
        None if field.is_set() => {}
        None => to.forbidden(field.path(), "must be 1; write replicas: 1"),
        Some(_) => to.forbidden(field.path(), "must be 1"),
    }
}

/// Where a type stands among those that have replicas.
pub(crate) fn index_of(all: &[Replicas<'_>], role: &str) -> Option<RoleIndex> {
    all.iter().filter(|one| one.count() > 0).position(|one| one.role == role).map(RoleIndex)
}

/// How many replicas there are.
pub(crate) fn total(all: &[Replicas<'_>]) -> u32 {
    all.iter().map(Replicas::count).sum()
}

/// What a kind decides about a gang beside its replicas.
pub(crate) struct Plan<I> {
    pub(crate) rendezvous: Rendezvous,
    /// `None` when there is nothing to run.
    pub(crate) success: Option<SuccessRule>,
    /// What each role is given.
    pub(crate) injection: I,
}

/// The gang of a job. Types without replicas are no part of it.
pub(crate) fn assemble<'m>(
    job: &Job<'_>,
    all: Vec<Replicas<'m>>,
    plan: Plan<impl FnMut(&Replicas<'m>) -> Injection>,
    to: &mut Findings,
) -> Option<GangSpec> {
    let Plan { rendezvous, success, mut injection } = plan;
    let scheduling = scheduling(job.policies, &all);
    let mut roles = Vec::new();
    for one in all.into_iter().filter(|one| one.count() > 0) {
        let injection = injection(&one);
        injection.warn_of_overridden(&one.node.field("template").field("spec"), one.pod.main, to);
        roles.push(RoleSpec {
            name: RoleName(one.role.to_owned()),
            replicas: one.count(),
            restart: one.restart,
            pod: one.pod,
            env: injection.env,
            main_env: injection.main_env,
            files: injection.files,
            processes: injection.processes,
            naming: injection.naming,
        });
    }
    let run_policy = job.policies.run.clone();
    Some(GangSpec { roles, rendezvous, success: success?, run_policy, scheduling })
}

/// The scheduling policy of a job: its own priority class, else that of the first template with one.
fn scheduling(policies: &Policies, roles: &[Replicas<'_>]) -> SchedulingPolicy {
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
