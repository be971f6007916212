//! What a job changes in the pod templates of its runtime, in the words of three releases of the trainer:
//! `podSpecOverrides` (2.0), `podTemplateOverrides` (2.1) and `runtimePatches` (2.2 and later). All are merged in the order in
//! which they stand.

use serde_json::{Map, Value, json};

use super::blueprint::{NODE, Step};
use super::merge::merge;
use crate::findings::Findings;
use crate::node::Node;

/// Containers whose variables have fields of their own in the job.
const OWN_ENV: [&str; 3] = [NODE, "dataset-initializer", "model-initializer"];

/// Applies all patches of the job.
pub(super) fn apply(spec: &Node<'_>, steps: &mut [Step], to: &mut Findings) {
    for patch in spec.field("podSpecOverrides").items() {
        let mut flat = patch.value().and_then(Value::as_object).cloned().unwrap_or_default();
        flat.shift_remove("targetJobs");
        let template = json!({"spec": flat});
        to_targets(&patch, &template, steps, to);
    }
    for patch in spec.field("podTemplateOverrides").items() {
        let field = |name: &str| patch.field(name).value().cloned();
        let fields = ["metadata", "spec"].into_iter();
        let template: Map<String, Value> =
            fields.filter_map(|name| Some((name.to_owned(), field(name)?))).collect();
        to_targets(&patch, &Value::Object(template), steps, to);
    }
    for patch in spec.field("runtimePatches").items() {
        check_manager(&patch.field("manager"), to);
        let set = patch.field("trainingRuntimeSpec").field("template").field("spec");
        for job in set.field("replicatedJobs").items() {
            let template = job.field("template").field("spec").field("template");
            let name = job.field("name");
            let Some(step) = target(&name, steps, to) else { continue };
            if let Some(value) = template.value() {
                check_containers(&template.field("spec"), step, to);
                merge(&mut step.job["template"], value);
            }
        }
    }
}

fn to_targets(patch: &Node<'_>, template: &Value, steps: &mut [Step], to: &mut Findings) {
    let targets = patch.field("targetJobs");
    if targets.items().next().is_none() {
        steps.iter_mut().for_each(|step| merge(&mut step.job["template"], template));
    }
    for named in targets.items() {
        let spec = match patch.field("spec") {
            spec if spec.is_set() => spec,
            _ => patch.clone(),
        };
        if let Some(step) = target(&named.field("name"), steps, to) {
            check_containers(&spec, step, to);
            merge(&mut step.job["template"], template);
        }
    }
}

/// The step of this name.
fn target<'s>(name: &Node<'_>, steps: &'s mut [Step], to: &mut Findings) -> Option<&'s mut Step> {
    let Some(text) = name.nonempty() else {
        to.required(name.path(), "name a job of the runtime");
        return None;
    };
    match steps.iter().position(|step| step.name == text) {
        Some(place) => steps.get_mut(place),
        None => {
            let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            to.not_supported(name.path(), text, &known);
            None
        }
    }
}

/// Patches change containers and add none; variables of some containers have fields of their own.
fn check_containers(spec: &Node<'_>, step: &mut Step, to: &mut Findings) {
    for list in ["containers", "initContainers"] {
        for patch in spec.field(list).items() {
            let name = patch.field("name");
            let known: Vec<String> = step
                .containers(list)
                .into_iter()
                .flatten()
                .filter_map(|container| container["name"].as_str().map(str::to_owned))
                .collect();
            match name.nonempty() {
                None => to.required(name.path(), "name a container of the runtime"),
                Some(text) if !known.iter().any(|known| known == text) => {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    to.not_supported(name.path(), text, &known);
                }
                Some(text) if OWN_ENV.contains(&text) && patch.field("env").is_set() => {
                    let advice = match text {
                        NODE => "use spec.trainer.env",
                        _ => "use spec.initializer",
                    };
                    to.forbidden(patch.field("env").path(), advice);
                }
                Some(_) => {}
            }
        }
    }
}

/// Who wrote a patch: a path behind a domain, such as `example.org/team`.
fn check_manager(manager: &Node<'_>, to: &mut Findings) {
    match manager.nonempty() {
        None => to.required(manager.path(), "say who patches, such as example.org/team"),
        Some(text) => {
            let parts = text.split_once('/');
            if !parts.is_some_and(|(domain, rest)| domain.contains('.') && !rest.is_empty()) {
                to.invalid(
                    manager.path(),
                    text,
                    "must be a path behind a domain, such as example.org/team",
                );
            }
        }
    }
}
