//! Discovery: which resources there are, as one aggregated document and as many small ones. Clients want both.

use serde_json::{Value, json};

use crate::resource::{ResourceInfo, Verb};

/// The content type of an aggregated answer; clients look at its parameters.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn names(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.name()).collect()
}

/// Group-versions in the order of the resources, with the resources of each.
fn versions<'a>(resources: &[&'a ResourceInfo]) -> Vec<(&'a str, Vec<&'a ResourceInfo>)> {
    let mut found: Vec<(&str, Vec<&ResourceInfo>)> = Vec::new();
    for resource in resources {
        match found.iter_mut().find(|(version, _)| *version == resource.version) {
            Some((_, list)) => list.push(resource),
            None => found.push((resource.version, vec![resource])),
        }
    }
    found
}

fn groups(resources: &[ResourceInfo]) -> Vec<(&str, Vec<&ResourceInfo>)> {
    let mut found: Vec<(&str, Vec<&ResourceInfo>)> = Vec::new();
    for resource in resources {
        match found.iter_mut().find(|(group, _)| *group == resource.group) {
            Some((_, list)) => list.push(resource),
            None => found.push((resource.group, vec![resource])),
        }
    }
    found
}

/// The aggregated document: of the core group, or of all others.
#[must_use]
pub fn aggregated(resources: &[ResourceInfo], core: bool) -> Value {
    let groups = groups(resources).into_iter().filter(|(group, _)| group.is_empty() == core);
    let items = groups.map(|(group, resources)| {
        let versions = versions(&resources).into_iter().map(|(version, resources)| {
            json!({
                "version": version,
                "freshness": "Current",
                "resources": resources.into_iter().map(aggregated_resource).collect::<Vec<_>>(),
            })
        });
        json!({
            "metadata": {"name": group, "creationTimestamp": null},
            "versions": versions.collect::<Vec<_>>(),
        })
    });
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items.collect::<Vec<_>>(),
    })
}

fn aggregated_resource(resource: &ResourceInfo) -> Value {
    let subresources = resource.subresources.iter().map(|part| {
        let own = (resource.group, resource.version, resource.kind);
        let (group, version, kind) = part.kind.unwrap_or(own);
        json!({
            "subresource": part.name,
            "responseKind": {"group": group, "version": version, "kind": kind},
            "verbs": names(part.verbs),
        })
    });
    let mut value = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "shortNames": resource.short_names,
        "categories": resource.categories,
        "verbs": names(resource.verbs),
    });
    let subresources: Vec<Value> = subresources.collect();
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}

/// The answer to `GET /api`.
#[must_use]
pub fn api_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

fn group_value(group: &str, resources: &[&ResourceInfo]) -> Value {
    let versions: Vec<Value> = versions(resources)
        .into_iter()
        .map(|(version, _)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// The answer to `GET /apis`.
#[must_use]
pub fn group_list(resources: &[ResourceInfo]) -> Value {
    let groups = groups(resources).into_iter().filter(|(group, _)| !group.is_empty());
    let groups = groups.map(|(group, resources)| group_value(group, &resources));
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()})
}

/// The answer to `GET /apis/GROUP`; `None` when there is no such group.
#[must_use]
pub fn group(resources: &[ResourceInfo], name: &str) -> Option<Value> {
    let (_, resources) = groups(resources).into_iter().find(|(group, _)| *group == name)?;
    let mut value = group_value(name, &resources);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// The answer to `GET /api/VERSION` or `GET /apis/GROUP/VERSION`; `None` when there is no such version.
#[must_use]
pub fn resource_list(resources: &[ResourceInfo], (group, version): (&str, &str)) -> Option<Value> {
    let of_it = |one: &&ResourceInfo| one.group == group && one.version == version;
    let found: Vec<&ResourceInfo> = resources.iter().filter(of_it).collect();
    let api_version = found.first()?.api_version();
    let mut listed = Vec::new();
    for resource in found {
        listed.push(json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": names(resource.verbs),
            "shortNames": resource.short_names,
            "categories": resource.categories,
        }));
        for part in resource.subresources {
            let mut value = json!({
                "name": format!("{}/{}", resource.plural, part.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": part.kind.map_or(resource.kind, |(_, _, kind)| kind),
                "verbs": names(part.verbs),
            });
            if let Some((group, version, _)) = part.kind {
                value["group"] = group.into();
                value["version"] = version.into();
            }
            listed.push(value);
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": listed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Subresource;

    fn resources() -> Vec<ResourceInfo> {
        let base = ResourceInfo {
            group: "",
            version: "v1",
            plural: "pods",
            singular: "pod",
            kind: "Pod",
            short_names: &["po"],
            categories: &["all"],
            namespaced: true,
            verbs: Verb::READ,
            subresources: &[],
            is_builtin: true,
        };
        let job = ResourceInfo {
            group: "kubeflow.org",
            plural: "pytorchjobs",
            kind: "PyTorchJob",
            subresources: &[Subresource {
                name: "scale",
                kind: Some(("autoscaling", "v1", "Scale")),
                verbs: &[Verb::Get],
            }],
            ..base
        };
        let mpi = ResourceInfo { version: "v2beta1", plural: "mpijobs", ..job };
        vec![base, job, mpi]
    }

    #[test]
    fn the_core_group_and_the_others_are_told_apart() {
        let all = resources();
        assert_eq!(
            aggregated(&all, true)["items"][0]["versions"][0]["resources"][0]["resource"],
            "pods"
        );
        let groups = aggregated(&all, false);
        assert_eq!(groups["items"].as_array().map(Vec::len), Some(1));
        let versions = &groups["items"][0]["versions"];
        assert_eq!(versions[1]["version"], "v2beta1");
        let scale = &versions[0]["resources"][0]["subresources"][0];
        assert_eq!(scale["responseKind"]["kind"], "Scale");
        assert_eq!(group_list(&all)["groups"][0]["preferredVersion"]["version"], "v1");
    }

    #[test]
    fn a_version_lists_its_resources_and_their_parts() {
        let all = resources();
        let list = resource_list(&all, ("kubeflow.org", "v1")).unwrap();
        assert_eq!(list["resources"][1]["name"], "pytorchjobs/scale");
        assert_eq!(list["resources"][1]["group"], "autoscaling");
        assert!(resource_list(&all, ("kubeflow.org", "v9")).is_none());
        assert!(group(&all, "nope").is_none());
    }
}
