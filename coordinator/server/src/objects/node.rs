//! A node's object.

use muster_kinds::rfc3339;
use muster_model::{NodeId, Resources, TaintEffect};
use muster_proto::v1 as wire;
use muster_state::{Node, NodePhase, State};
use serde_json::{Value, json};

/// Names a node.
pub(crate) fn node_ref(id: NodeId, node: &Node) -> wire::Ref {
    wire::Ref {
        kind: "Node".into(),
        namespace: String::new(),
        name: node.name.to_string(),
        uid: format!("node-{id}"),
    }
}

/// The object of a node; `None` when it is not there.
pub(crate) fn node_object(state: &State, id: NodeId) -> Option<Value> {
    let node = state.node(id)?;
    let (ready, since) = match node.phase {
        NodePhase::Ready { since } => (true, since),
        NodePhase::Unreachable { since } => (false, since),
    };
    let reserved = state.reserved(id);
    Some(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "uid": format!("node-{id}"),
            "labels": node.all_labels(),
            "creationTimestamp": rfc3339(node.created),
        },
        "spec": spec(node),
        "status": {
            "addresses": [{"type": "InternalIP", "address": node.address}],
            "capacity": quantities(&node.capacity),
            "allocatable": quantities(&node.capacity),
            "reserved": quantities(&reserved),
            "free": quantities(&node.capacity.saturating_sub(&reserved)),
            "replicas": state.replicas_on(id)
                .filter(|replica| state.replica(*replica).is_some_and(|replica| replica.holds))
                .count(),
            "conditions": [{
                "type": "Ready",
                "status": if ready { "True" } else { "Unknown" },
                "reason": if ready { "AgentConnected" } else { "AgentUnreachable" },
                "lastTransitionTime": rfc3339(since),
            }],
            "nodeInfo": {"kubeletVersion": format!("muster-{}", node.version)},
        },
    }))
}

fn spec(node: &Node) -> Value {
    let mut spec = serde_json::Map::new();
    if node.cordoned.is_some() {
        spec.insert("unschedulable".into(), true.into());
    }
    if !node.taints.is_empty() {
        let taints = node.taints.iter().map(|mark| {
            let taint = &mark.taint;
            let mut shown = json!({"key": taint.key, "effect": taint.effect.as_str()});
            if !taint.value.is_empty() {
                shown["value"] = taint.value.clone().into();
            }
            if taint.effect == TaintEffect::NoExecute {
                shown["timeAdded"] = rfc3339(mark.added).into();
            }
            shown
        });
        spec.insert("taints".into(), taints.collect());
    }
    spec.into()
}

fn quantities(resources: &Resources) -> Value {
    resources
        .iter()
        .map(|(name, amount)| (name.to_string(), Value::from(name.quantity(amount))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
