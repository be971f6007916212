//! Who may do what, in the words of Kubernetes.

use muster_apimachinery::{ApiStatus, ResourceInfo, StatusReason};
use muster_model::{AccessRole, Namespace};

use crate::access::Caller;

/// Something that somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'w> {
    /// `get`, `create` and so on.
    pub(super) verb: &'w str,
    /// None: in all namespaces, or with something that is in none.
    pub(super) namespace: Option<&'w Namespace>,
}

/// The role that a verb needs.
fn role(verb: &str) -> AccessRole {
    match verb {
        "get" | "list" | "watch" => AccessRole::Viewer,
        _ => AccessRole::Editor,
    }
}

/// Whether somebody may.
pub(super) fn may(caller: &Caller, resource: &ResourceInfo, wish: Wish<'_>) -> bool {
    let role = match (role(wish.verb), resource.namespaced) {
        // What belongs to no namespace is changed by those who administer the cluster.
        (AccessRole::Editor, false) => AccessRole::Admin,
        (role, _) => role,
    };
    caller.require(role, wish.namespace, wish.verb).is_ok()
}

/// Asks for permission.
///
/// # Errors
/// The refusal, which names verb, resource and namespace.
pub(super) fn require(
    caller: &Caller,
    (resource, name): (&ResourceInfo, &str),
    wish: Wish<'_>,
) -> Result<(), ApiStatus> {
    if may(caller, resource, wish) {
        return Ok(());
    }
    let place = match wish.namespace {
        Some(namespace) => format!("in the namespace {:?}", namespace.as_str()),
        None => "at the cluster scope".into(),
    };
    let named = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let message = format!(
        "{}{named} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {place}",
        resource.qualified(),
        user(caller),
        wish.verb,
        resource.plural,
        resource.group,
    );
    Err(ApiStatus::new(StatusReason::Forbidden, message).about(resource, name))
}

/// What a caller is called.
pub(super) fn user(caller: &Caller) -> String {
    match caller {
        Caller::User { name, .. } => name.clone(),
        Caller::Owner => "muster:owner".into(),
        other => other.to_string(),
    }
}

/// The groups that a caller is in.
pub(super) fn groups(caller: &Caller) -> Vec<&'static str> {
    match caller {
        Caller::Owner => vec!["system:masters", "system:authenticated"],
        _ => vec!["system:authenticated"],
    }
}
