//! What a container asks for and what it may use at most.

use muster_model::{Quantity, ResourceName, Resources};

use crate::findings::Findings;
use crate::node::Node;
use crate::schema::quantity;
use crate::suggest::nearest;
use crate::syntax::{LABEL_KEY, is_label_key};

/// The resources of one container.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    pub(super) requests: Resources,
    pub(super) limits: Resources,
}

/// One entry of `limits` or `requests`.
struct Entry<'m> {
    node: Node<'m>,
    name: ResourceName,
    quantity: Quantity,
    amount: u64,
}

/// Reads `resources`. A limit without a request counts as a request, as in Kubernetes.
pub(super) fn read(node: &Node<'_>, to: &mut Findings) -> Amounts {
    let limits = entries(&node.field("limits"), to);
    let requests = entries(&node.field("requests"), to);
    for request in &requests {
        let limit = limits.iter().find(|limit| limit.name == request.name);
        check_pair(request, limit, node, to);
    }
    let amounts = |entries: &[Entry<'_>]| -> Resources {
        entries.iter().map(|entry| (entry.name.clone(), entry.amount)).collect()
    };
    let implied = limits
        .iter()
        .filter(|limit| requests.iter().all(|request| request.name != limit.name))
        .map(|limit| (limit.name.clone(), limit.amount));
    let mut all_requests = amounts(&requests);
    for (name, amount) in implied {
        all_requests.set(name, amount);
    }
    Amounts { requests: all_requests, limits: amounts(&limits) }
}

fn entries<'m>(map: &Node<'m>, to: &mut Findings) -> Vec<Entry<'m>> {
    map.entries().filter_map(|(name, node)| entry(name, node, to)).collect()
}

/// One entry; `None` after an error.
fn entry<'m>(name: &str, node: Node<'m>, to: &mut Findings) -> Option<Entry<'m>> {
    let value = node.value()?;
    // What is no quantity has its error from the schema.
    let quantity = quantity(value).ok()?;
    let name = known_name(name, &node, to)?;
    if quantity.is_negative() {
        to.invalid(node.path(), value.clone(), "must not be negative");
        return None;
    }
    let Some(amount) = name.amount(quantity) else {
        let advice = if quantity.is_whole() {
            "is too large"
        } else {
            "devices are counted in whole numbers"
        };
        to.invalid(node.path(), value.clone(), advice);
        return None;
    };
    if name == ResourceName::memory() && !quantity.is_whole() {
        to.note(
            node.path(),
            format!("{value} is not a whole number of bytes; M or Mi was probably meant"),
        );
    }
    Some(Entry { node, name, quantity, amount })
}

fn known_name(name: &str, node: &Node<'_>, to: &mut Findings) -> Option<ResourceName> {
    const COMMON: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"];
    let standard =
        COMMON.contains(&name) || name.strip_prefix("hugepages-").is_some_and(is_label_key);
    if standard || (name.contains('/') && is_label_key(name)) {
        return Some(ResourceName(name.to_owned()));
    }
    let meant = if name.to_ascii_lowercase().contains("gpu") {
        Some("nvidia.com/gpu")
    } else {
        nearest(name, COMMON)
    };
    let advice = match meant {
        Some(meant) => format!("no known resource; did you mean {meant}?"),
        None if is_label_key(name) => {
            "no known resource; a device's name has a vendor's domain in front, such as nvidia.com/gpu"
                .to_owned()
        }
        None => LABEL_KEY.to_owned(),
    };
    to.invalid(node.path(), name, advice);
    None
}

/// Whether request and limit must be equal.
fn is_exact(name: &ResourceName) -> bool {
    name.is_extended() || name.0.starts_with("hugepages-")
}

fn check_pair(
    request: &Entry<'_>,
    limit: Option<&Entry<'_>>,
    resources: &Node<'_>,
    to: &mut Findings,
) {
    let name = &request.name;
    let shown = || request.node.value().cloned().unwrap_or_default();
    match limit {
        None if is_exact(name) => {
            let missing = resources.field("limits").field(&name.0);
            to.required(
                missing.path(),
                format!("{name} is requested, so it needs a limit of the same amount"),
            );
        }
        Some(limit) if is_exact(name) && request.amount != limit.amount => {
            let advice = format!("must be equal to the limit, {}", limit.quantity);
            to.invalid(request.node.path(), shown(), advice);
        }
        Some(limit) if request.quantity > limit.quantity => {
            let advice = format!("must be at most the limit, {}", name.show(limit.amount));
            to.invalid(request.node.path(), shown(), advice);
        }
        _ => {}
    }
}
