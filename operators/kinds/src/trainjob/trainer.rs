//! What a job says about its trainer and its initializers, put into the pod templates.

use muster_model::FieldPath;
use serde_json::{Value, json};

use super::blueprint::{Blueprint, NODE, Policy, Step};
use super::merge::merge;
use crate::findings::Findings;
use crate::node::Node;

const MAX_WORDS: usize = 128;
const MAX_WORD_BYTES: usize = 1 << 20;
const MAX_IMAGE_BYTES: usize = 500;
const MAX_URI_BYTES: usize = 2048;

/// A place in a pod template, and the field of the job that stands there.
pub(super) type Moved = (FieldPath, FieldPath);

/// Variables that a policy sets itself.
fn reserved(policy: &Policy) -> &'static [&'static str] {
    match policy {
        Policy::Torch { .. } => &[
            "PET_NNODES",
            "PET_NPROC_PER_NODE",
            "PET_NODE_RANK",
            "PET_MASTER_ADDR",
            "PET_MASTER_PORT",
        ],
        Policy::Mpi { .. } => &[
            "OMPI_MCA_orte_default_hostfile",
            "OMPI_MCA_orte_keep_fqdn_hostnames",
            "OMPI_MCA_orte_set_default_slots",
            "OMPI_MCA_plm_rsh_args",
        ],
        Policy::XgBoost => {
            &["DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER"]
        }
        Policy::Plain | Policy::Jax | Policy::Flux => &[],
    }
}

/// Checks `spec.trainer` on its own.
pub(super) fn check(trainer: &Node<'_>, policy: &Policy, to: &mut Findings) {
    for list in ["command", "args"].map(|name| trainer.field(name)) {
        let too_long = |word: Node<'_>| word.text().is_some_and(|text| text.len() > MAX_WORD_BYTES);
        if list.items().count() > MAX_WORDS || list.items().any(too_long) {
            let advice = "at most 128 words of at most 1 MiB";
            to.forbidden(list.path(), advice);
        }
    }
    let image = trainer.field("image");
    if let Some(text) = image.text().filter(|text| text.len() > MAX_IMAGE_BYTES) {
        to.invalid(image.path(), text, "must have at most 500 characters");
    }
    let env = trainer.field("env");
    if env.items().count() > MAX_WORDS {
        to.forbidden(env.path(), "at most 128 variables");
    }
    for name in env.items().map(|variable| variable.field("name")) {
        if let Some(text) = name.text().filter(|text| reserved(policy).contains(text)) {
            to.forbidden(name.path(), format!("{text} is set by the runtime's policy"));
        }
    }
}

/// Puts image, command, arguments, variables and resources into the container that trains. Nodes that a launcher
/// starts ranks on get all but the command. Answers where the job's fields stand afterwards.
pub(super) fn apply(trainer: &Node<'_>, blueprint: &mut Blueprint) -> Vec<Moved> {
    let mut moved = Vec::new();
    let Some(main) = blueprint.trainer() else { return moved };
    let is_mpi = matches!(blueprint.policy, Policy::Mpi { .. });
    for (place, step) in blueprint.steps.iter_mut().enumerate() {
        let is_node = is_mpi && step.name == NODE;
        if place == main || is_node {
            moved.extend(put_into(trainer, step, place == main));
        }
    }
    moved
}

/// The place of the pod template of a step in messages.
pub(super) fn path_of(step: &str) -> FieldPath {
    FieldPath::root().field("runtime").field(step)
}

fn put_into(trainer: &Node<'_>, step: &mut Step, with_command: bool) -> Vec<Moved> {
    let path = path_of(&step.name).field("template").field("spec").field("containers");
    let Some(containers) = step.containers("containers") else { return Vec::new() };
    let found = containers.iter_mut().enumerate().find(|(_, one)| one["name"] == NODE);
    let Some((place, container)) = found else { return Vec::new() };
    let path = path.index(place);
    let mut moved = Vec::new();
    let words: &[&str] = if with_command { &["image", "command", "args"] } else { &["image"] };
    for name in words {
        if let Some(value) = trainer.field(name).value() {
            container[*name] = value.clone();
            moved.push((path.field(name), trainer.field(name).path().clone()));
        }
    }
    let resources = trainer.field("resourcesPerNode");
    if let Some(value) = resources.value() {
        merge(&mut container["resources"], value);
        moved.push((path.field("resources"), resources.path().clone()));
    }
    let env = trainer.field("env");
    let base = add_variables(container, &env);
    for (index, variable) in env.items().enumerate() {
        moved.push((path.field("env").index(base + index), variable.path().clone()));
    }
    moved
}

/// Adds variables, and takes those of the same names away. Answers how many stand before the first added one.
fn add_variables(container: &mut Value, env: &Node<'_>) -> usize {
    let added: Vec<Value> = env.items().filter_map(|item| item.value().cloned()).collect();
    if added.is_empty() {
        return 0;
    }
    if !container["env"].is_array() {
        container["env"] = json!([]);
    }
    let Some(all) = container["env"].as_array_mut() else { return 0 };
    all.retain(|old| added.iter().all(|new| new["name"] != old["name"]));
    let base = all.len();
    all.extend(added);
    base
}

/// Puts `spec.initializer` into the containers of the runtime that are meant.
pub(super) fn initialize(spec: &Node<'_>, blueprint: &mut Blueprint, to: &mut Findings) {
    for (name, container) in [("dataset", "dataset-initializer"), ("model", "model-initializer")] {
        let field = spec.field("initializer").field(name);
        if !field.is_set() {
            continue;
        }
        let uri = field.field("storageUri");
        if let Some(text) = uri.nonempty() {
            let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() || text.len() > MAX_URI_BYTES {
                to.invalid(uri.path(), text, "must be SCHEME://..., at most 2048 characters");
            }
        }
        let step = blueprint.steps.iter_mut().find(|step| step.name == container);
        let Some(found) = step.and_then(|step| step.container(container)) else {
            let path = spec.field("runtimeRef").path().clone();
            let advice = format!(
                "the runtime has no job {container} with a container of this name, which spec.initializer.{name} is for"
            );
            to.forbidden(&path, advice);
            continue;
        };
        add_variables(found, &field.field("env"));
        if let Some(text) = uri.nonempty() {
            let variable = json!([{"name": "STORAGE_URI", "value": text}]);
            add_variables(found, &Node::new(Some(&variable), uri.path().clone()));
        }
        let secret = field.field("secretRef");
        if secret.is_set() {
            to.forbidden(secret.path(), "not supported yet; use env");
        }
    }
}
