//! Pod templates: from `core/v1` to what a Muster runtime acts on.

mod container;
mod env;
mod nodes;
mod resources;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeSet;

use muster_model::{ContainerSpec, Millis, PodSpec, PortSpec, Problem};

use crate::findings::Findings;
use crate::metadata::{check_annotations, check_labels};
use crate::node::Node;

/// What Kubernetes gives a pod to end by itself, in seconds.
const GRACE_SECONDS: i64 = 30;

/// So many containers of each sort may be in one pod.
const MAX_CONTAINERS: usize = 100;

/// What a job kind expects of its pods.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodRules {
    /// The container that decides how a replica ends; the first one where a kind names none.
    pub(crate) main_container: Option<&'static str>,
    /// The name and the number of a port that the main container gets when it has none of this name.
    pub(crate) port: Option<(&'static str, u16)>,
    /// What the main container runs when the manifest does not say.
    pub(crate) command: &'static [&'static str],
}

impl PodRules {
    /// Nothing.
    pub(crate) const PLAIN: Self = Self { main_container: None, port: None, command: &[] };
}

/// Reads the `template` of a replica spec.
pub(crate) fn read(template: &Node<'_>, rules: PodRules, to: &mut Findings) -> PodSpec {
    let metadata = template.field("metadata");
    check_labels(&metadata.field("labels"), to);
    check_annotations(&metadata.field("annotations"), to);
    let spec = template.field("spec");
    let volumes = volumes::read(&spec.field("volumes"), to);
    check_container_names(&spec, to);
    let names: BTreeSet<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    let mut read_all = |field: &str| -> Vec<_> {
        let containers = spec.field(field);
        let read = containers.items().take(MAX_CONTAINERS);
        read.map(|node| container::read(&node, &spec, &names, to)).collect()
    };
    let mut containers = read_all("containers");
    let init_containers = read_all("initContainers");
    for init in spec.field("initContainers").items() {
        refuse_sidecar(&init, to);
    }
    for plain in spec.field("containers").items() {
        let policy = plain.field("restartPolicy");
        if policy.is_set() {
            let advice = "use the replica's restartPolicy";
            to.not_acted_on(policy.path(), ("Container", "restartPolicy"), advice);
        }
    }
    let main = find_main(&spec, rules, to);
    if let Some(main) = containers.get_mut(main) {
        add_defaults(main, rules);
    }
    for (list, read) in [("initContainers", &init_containers), ("containers", &containers)] {
        for (node, container) in spec.field(list).items().zip(read) {
            note_missing_command(&node, container, to);
        }
    }
    check_labels(&spec.field("nodeSelector"), to);
    PodSpec {
        labels: metadata.field("labels").text_map(),
        annotations: metadata.field("annotations").text_map(),
        init_containers,
        containers,
        main,
        volumes,
        termination_grace: grace(&spec.field("terminationGracePeriodSeconds"), to),
        node_selector: spec.field("nodeSelector").text_map(),
        node_affinity: nodes::affinity(&spec.field("affinity"), to),
        tolerations: nodes::tolerations(&spec.field("tolerations"), to),
    }
}

fn add_defaults(main: &mut ContainerSpec, rules: PodRules) {
    if let Some((name, port)) = rules.port
        && main.ports.iter().all(|known| known.name != name)
    {
        main.ports.push(PortSpec { name: name.to_owned(), port });
    }
    if main.command.is_empty() && main.args.is_empty() {
        main.command = rules.command.iter().map(|&word| word.to_owned()).collect();
    }
}

fn note_missing_command(node: &Node<'_>, container: &ContainerSpec, to: &mut Findings) {
    if container.command.is_empty() && container.args.is_empty() {
        to.note(
            node.field("command").path(),
            "without a command, only the container runtime knows what to run: the image's entry point",
        );
    }
}

fn check_container_names(spec: &Node<'_>, to: &mut Findings) {
    let mut names = BTreeSet::new();
    for list in ["initContainers", "containers"].map(|field| spec.field(field)) {
        if list.items().nth(MAX_CONTAINERS).is_some() {
            let problem = Problem::TooLong { limit: MAX_CONTAINERS as u64 };
            to.error(list.path(), problem, "containers in one pod");
        }
    }
    let all = ["initContainers", "containers"].map(|field| spec.field(field).items());
    for container in all.into_iter().flatten() {
        let name = container.field("name");
        if let Some(text) = name.nonempty()
            && !names.insert(text)
        {
            to.duplicate(name.path(), text, "container names are unique in a pod");
        }
    }
}

/// The index of the main container; 0 when there is none, which is an error.
fn find_main(spec: &Node<'_>, rules: PodRules, to: &mut Findings) -> usize {
    let containers = spec.field("containers");
    if containers.items().next().is_none() {
        to.required(containers.path(), "name at least one container");
    }
    let Some(main) = rules.main_container else { return 0 };
    let found =
        containers.items().position(|container| container.field("name").text() == Some(main));
    found.unwrap_or_else(|| {
        to.required(
            containers.path(),
            format!(
                "must have at least one container with the name {main}; its exit code is the replica's"
            ),
        );
        0
    })
}

/// A sidecar never ends, so an agent that runs init containers to their ends would wait for ever.
fn refuse_sidecar(init: &Node<'_>, to: &mut Findings) {
    let policy = init.field("restartPolicy");
    if policy.is_set() {
        to.forbidden(
            policy.path(),
            "init containers that keep running are not supported yet; move it to containers",
        );
    }
}

fn grace(field: &Node<'_>, to: &mut Findings) -> Millis {
    let seconds = field.int().unwrap_or(GRACE_SECONDS);
    let unsigned = u64::try_from(seconds).unwrap_or_else(|_| {
        to.invalid(field.path(), seconds, "must not be negative");
        0
    });
    Millis::from_secs(unsigned)
}
