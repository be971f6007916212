//! Paths.

use muster_apimachinery::{ApiStatus, ResourceInfo};
use muster_model::Namespace;

use super::registry::{ResourceId, Source, registry};

/// What a path under `/api/v1` or `/apis/GROUP/VERSION` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: ResourceId,
    /// None: in all namespaces, or something that is in none.
    pub(super) namespace: Option<Namespace>,
    /// Empty: the collection.
    pub(super) name: String,
    /// `status`, `log` and so on, or empty.
    pub(super) part: String,
}

impl Target {
    pub(super) fn info(&self) -> &'static ResourceInfo {
        &registry().infos[self.resource]
    }

    pub(super) fn source(&self) -> Source {
        registry().sources[self.resource]
    }

    pub(super) fn is_collection(&self) -> bool {
        self.name.is_empty()
    }

    /// The namespace in keys.
    pub(super) fn namespace_text(&self) -> &str {
        self.namespace.as_ref().map_or("", |namespace| namespace.as_str())
    }
}

/// Reads the segments of a path behind the group and version.
pub(super) fn target(
    (group, version): (&str, &str),
    segments: &[&str],
) -> Result<Target, ApiStatus> {
    let missing = ApiStatus::no_such_resource;
    // A namespace has objects below it, and is one itself.
    let (namespace, rest) = match segments {
        ["namespaces", namespace, resource, rest @ ..] if *resource != "status" => {
            let named = Namespace::new(*namespace).map_err(|error| {
                ApiStatus::bad_request(format!("the namespace in the path: {error}"))
            })?;
            (Some(named), [&[*resource], rest].concat())
        }
        other => (None, other.to_vec()),
    };
    let (plural, name, part) = match &rest[..] {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, part] => (*plural, *name, *part),
        _ => return Err(missing()),
    };
    let resource = registry().find(group, version, plural).ok_or_else(missing)?;
    let info = &registry().infos[resource];
    let fits = match (info.namespaced, &namespace) {
        (true, None) => name.is_empty(),
        (false, Some(_)) => false,
        _ => true,
    };
    if !fits || (!part.is_empty() && info.subresource(part).is_none()) {
        return Err(missing());
    }
    Ok(Target { resource, namespace, name: name.into(), part: part.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_collections_objects_and_their_parts() {
        let core = |path: &str| target(("", "v1"), &path.split('/').collect::<Vec<_>>());
        let log = core("namespaces/team/pods/p/log").unwrap();
        assert_eq!((log.namespace_text(), &*log.name, &*log.part), ("team", "p", "log"));
        assert!(core("pods").unwrap().is_collection());
        assert_eq!(core("namespaces/team").unwrap().source(), Source::Namespaces);
        assert_eq!(core("nodes/n").unwrap().source(), Source::Nodes);
        for wrong in ["pods/p", "namespaces/a/nodes", "namespaces/a/pods/p/x", "things", ""] {
            assert_eq!(core(wrong).unwrap_err().code(), 404, "{wrong}");
        }
        assert_eq!(core("namespaces/A_B/pods").unwrap_err().code(), 400);
    }
}
