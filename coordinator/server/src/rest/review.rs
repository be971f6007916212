//! What somebody may do, and who somebody is: `kubectl auth can-i` and `kubectl auth whoami`.

use muster_apimachinery::{ApiStatus, ResourceInfo, Verb};
use muster_model::{AccessRole, Namespace};
use serde_json::{Value, json};

use super::access::{Wish, groups, may, user};
use super::answer::{self, Answer};
use super::body;
use super::registry::registry;
use super::serve::Asked;

pub(super) fn create(asked: &Asked) -> Result<Answer, ApiStatus> {
    let mut review = body::object(&asked.headers, &asked.bytes)?;
    let info = asked.target.info();
    if !review.is_object() {
        return Err(ApiStatus::bad_request(format!("the body must be a {}", info.kind)));
    }
    review["kind"] = info.kind.into();
    review["apiVersion"] = info.api_version().into();
    review["status"] = match info.kind {
        "SelfSubjectAccessReview" => access(asked, &review["spec"]),
        "SelfSubjectRulesReview" => rules(asked, &review["spec"]),
        _ => json!({"userInfo": {
            "username": user(&asked.caller),
            "groups": groups(&asked.caller),
        }}),
    };
    Ok(answer::json(201, &review))
}

fn namespace_of(value: &Value) -> Option<Namespace> {
    Namespace::new(value["namespace"].as_str()?).ok()
}

fn access(asked: &Asked, spec: &Value) -> Value {
    let attributes = &spec["resourceAttributes"];
    let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let (group, resource, verb) = (text("group"), text("resource"), text("verb"));
    if spec["nonResourceAttributes"].is_object() {
        let reads = spec["nonResourceAttributes"]["verb"] == "get";
        return json!({"allowed": reads});
    }
    let matches = |one: &&ResourceInfo| {
        (resource == "*" || one.plural == resource) && (group == "*" || one.group == group)
    };
    let found: Vec<&ResourceInfo> = registry().infos.iter().filter(matches).collect();
    let namespace = namespace_of(attributes);
    let verbs: Vec<&str> = match &*verb {
        "*" => vec!["get", "create", "delete"],
        one => vec![one],
    };
    let allowed = !found.is_empty()
        && found.iter().all(|info| {
            verbs.iter().all(|verb| {
                let known =
                    *verb == "deletecollection" || info.verbs.iter().any(|one| one.name() == *verb);
                known && may(&asked.caller, info, Wish { verb, namespace: namespace.as_ref() })
            })
        });
    let reason = match (found.is_empty(), allowed) {
        (true, _) => "Muster has no such resource",
        (false, true) => "",
        (false, false) => "no role that was granted to this user allows it",
    };
    json!({"allowed": allowed, "reason": reason})
}

fn rules(asked: &Asked, spec: &Value) -> Value {
    let namespace = namespace_of(spec);
    let holds = |role| asked.caller.require(role, namespace.as_ref(), "look").is_ok();
    let verbs = match (holds(AccessRole::Editor), holds(AccessRole::Viewer)) {
        (true, _) => Verb::ALL,
        (false, true) => Verb::READ,
        (false, false) => &[],
    };
    let mut rules = Vec::new();
    if !verbs.is_empty() {
        for info in registry().infos.iter().filter(|info| info.namespaced) {
            let known = verbs.iter().filter(|verb| info.verbs.contains(verb));
            rules.push(json!({
                "verbs": known.map(|verb| verb.name()).collect::<Vec<_>>(),
                "apiGroups": [info.group],
                "resources": [info.plural],
            }));
        }
    }
    json!({
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/version", "/api", "/apis"]}],
        "incomplete": false,
    })
}
