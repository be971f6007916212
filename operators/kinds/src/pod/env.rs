//! Environment variables of a container.

use muster_model::{EnvSource, EnvVar, ResourceName};

use super::resources;
use crate::findings::Findings;
use crate::node::Node;
use crate::schema::quantity;
use crate::syntax::{is_env_name, is_label_key};

/// The fields of a replica that a variable can take its value from (`k8s.io/api/core/v1`
/// EnvVarSource), besides single labels and annotations.
const FIELDS: [&str; 11] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels['<KEY>']",
    "metadata.annotations['<KEY>']",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Reads `env` of a container of the pod `spec`.
pub(super) fn read(container: &Node<'_>, spec: &Node<'_>, to: &mut Findings) -> Vec<EnvVar> {
    let list = container.field("env");
    let mut variables = Vec::new();
    for node in list.items() {
        let name = node.field("name");
        match name.nonempty() {
            None if name.is_set() && name.text().is_none() => {}
            None => to.required(name.path(), "give the variable a name"),
            Some(text) if !is_env_name(text) => {
                to.invalid(name.path(), text, "use printable ASCII characters without '='");
            }
            Some(_) => {}
        }
        if let Some(source) = source(&node, container, spec, to) {
            let name = name.text().unwrap_or_default().to_owned();
            variables.push(EnvVar { name, source });
        }
    }
    variables
}

/// The source of a variable; `None` when it stays unset, or after an error.
fn source(
    node: &Node<'_>,
    container: &Node<'_>,
    spec: &Node<'_>,
    to: &mut Findings,
) -> Option<EnvSource> {
    let (value, from) = (node.field("value"), node.field("valueFrom"));
    if !from.is_set() {
        // An absent value is an empty one.
        return Some(EnvSource::Value(value.text().unwrap_or_default().to_owned()));
    }
    if value.nonempty().is_some() {
        to.forbidden(from.path(), "a variable with a value has no other source");
        return None;
    }
    let mut sources = from.entries();
    let Some((kind, source)) = sources.next() else {
        to.required(from.path(), "name one source, such as fieldRef");
        return None;
    };
    for (_, second) in sources {
        to.forbidden(second.path(), format!("a variable has one source, and this one has {kind}"));
    }
    match kind {
        "fieldRef" => field(&source.field("fieldPath"), to),
        "resourceFieldRef" => resource(&source, container, spec, to).map(EnvSource::Value),
        "configMapKeyRef" | "secretKeyRef" => {
            let subject = match kind {
                "secretKeyRef" => ("EnvVarSource", "secretKeyRef"),
                _ => ("EnvVarSource", "configMapKeyRef"),
            };
            if source.field("optional").flag() {
                let advice = "it is optional, so the variable stays unset";
                to.not_acted_on(source.path(), subject, advice);
            } else {
                to.forbidden(
                    source.path(),
                    "not supported yet; use value, let the job read a file, or set optional: true",
                );
            }
            None
        }
        // Unknown, or refused by the schema.
        _ => None,
    }
}

fn field(path: &Node<'_>, to: &mut Findings) -> Option<EnvSource> {
    let Some(text) = path.nonempty() else {
        to.required(path.path(), "name a field, such as metadata.name");
        return None;
    };
    let keyed = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix)?.strip_suffix("']"));
    let known = match keyed {
        Some(key) => is_label_key(&key.to_ascii_lowercase()),
        None => FIELDS.contains(&text),
    };
    if !known {
        to.not_supported(path.path(), text, &FIELDS);
    }
    known.then(|| EnvSource::Field(text.to_owned()))
}

/// The value of a `resourceFieldRef`: known before the job runs, because it is in the manifest.
fn resource(
    source: &Node<'_>,
    container: &Node<'_>,
    spec: &Node<'_>,
    to: &mut Findings,
) -> Option<String> {
    let field = source.field("resource");
    let Some(text) = field.nonempty() else {
        to.required(field.path(), "name a resource, such as limits.cpu");
        return None;
    };
    let container = match source.field("containerName").nonempty() {
        None => Some(container.clone()),
        Some(name) => ["containers", "initContainers"]
            .map(|list| spec.field(list).items())
            .into_iter()
            .flatten()
            .find(|other| other.field("name").text() == Some(name)),
    };
    let Some(container) = container else {
        let path = source.field("containerName");
        to.invalid(
            path.path(),
            path.text().unwrap_or_default(),
            "the pod has no container of that name",
        );
        return None;
    };
    // Its own errors are found where the container is read.
    let amounts = resources::read(&container.field("resources"), &mut Findings::default());
    let (set, name) = match text.split_once('.') {
        Some(("limits", name)) => (&amounts.limits, name),
        Some(("requests", name)) => (&amounts.requests, name),
        _ => {
            to.invalid(field.path(), text, "write limits.<name> or requests.<name>");
            return None;
        }
    };
    let name = ResourceName(name.to_owned());
    let amount = set.get(&name);
    if amount == 0 {
        let advice = "the container does not set it; add it to its resources";
        to.invalid(field.path(), text, advice);
        return None;
    }
    let divisor = source.field("divisor");
    let one = "1".parse().expect("1 is a quantity");
    let per = divisor.value().map_or(Some(one), |value| quantity(value).ok())?;
    match name.amount(per) {
        // API servers print an absent divisor as 0.
        Some(0) => name.amount(one),
        Some(per) => Some(per),
        None => {
            let value = divisor.value().cloned().unwrap_or_default();
            to.invalid(divisor.path(), value, "must be an amount of the resource");
            None
        }
    }
    .map(|per| amount.div_ceil(per).to_string())
}

/// Refuses `envFrom`, whose sources Muster does not hold.
pub(super) fn refuse_env_from(list: &Node<'_>, to: &mut Findings) {
    for node in list.items() {
        let mut any = false;
        for kind in ["configMapRef", "secretRef"] {
            let source = node.field(kind);
            any |= source.is_set();
            if source.field("optional").flag() {
                let subject = ("EnvFromSource", kind);
                to.not_acted_on(source.path(), subject, "it is optional, so it sets nothing");
            } else if source.is_set() {
                to.forbidden(
                    source.path(),
                    "not supported yet; list the variables under env, or set optional: true",
                );
            }
        }
        if !any {
            to.required(node.path(), "name a source");
        }
    }
}
