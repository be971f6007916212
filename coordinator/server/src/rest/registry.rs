//! Which resources there are, and what of Muster each shows.

use std::sync::LazyLock;

use muster_apimachinery::{ResourceInfo, Subresource, Verb};
use muster_kinds::{Facts, versions};

/// What a resource shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Jobs of a kind, as far as they were submitted in the resource's version.
    Jobs(&'static Facts),
    /// Replicas, and jobs that are a pod.
    Pods,
    Nodes,
    Events,
    Namespaces,
    /// Objects that are kept as they were sent.
    Stored,
    /// Questions that are answered and not kept.
    Review,
}

/// A resource's place in the register.
pub(super) type ResourceId = usize;

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) infos: Vec<ResourceInfo>,
    pub(super) sources: Vec<Source>,
}

const STATUS: Subresource = Subresource { name: "status", kind: None, verbs: &[Verb::Get] };
const JOB_PARTS: &[Subresource] = &[STATUS];
const POD_PARTS: &[Subresource] =
    &[Subresource { name: "log", kind: None, verbs: &[Verb::Get] }, STATUS];

static REGISTRY: LazyLock<Registry> = LazyLock::new(build);

/// The register.
pub(super) fn registry() -> &'static Registry {
    &REGISTRY
}

impl Registry {
    /// The resource of a path.
    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<ResourceId> {
        let is_it = |one: &ResourceInfo| {
            one.group == group && one.version == version && one.plural == plural
        };
        self.infos.iter().position(is_it)
    }

    /// The resource of objects that are kept under a name.
    pub(super) fn stored(&self, qualified: &str) -> Option<ResourceId> {
        let is_it = |id: &ResourceId| {
            self.infos[*id].qualified() == qualified && self.sources[*id] == Source::Stored
        };
        (0..self.infos.len()).find(is_it)
    }

    /// The resource that shows jobs of a kind which were submitted in a version; that of the newest version else.
    pub(super) fn of_job(&self, kind: &str, api_version: &str) -> Option<ResourceId> {
        let mut same_kind =
            self.sources.iter().enumerate().filter_map(|(id, source)| match source {
                Source::Jobs(facts) if facts.kind == kind => Some((id, facts.api_version)),
                Source::Pods if kind == "Pod" => Some((id, "v1")),
                _ => None,
            });
        let first = same_kind.next()?;
        let exact =
            std::iter::once(first).chain(same_kind).find(|(_, version)| *version == api_version);
        Some(exact.unwrap_or(first).0)
    }

    /// The resource with a source of its own.
    pub(super) fn of(&self, source: Source) -> ResourceId {
        let found = self.sources.iter().position(|one| *one == source);
        found.expect("pods, nodes, events and namespaces are registered")
    }
}

fn build() -> Registry {
    let mut registry = Registry { infos: Vec::new(), sources: Vec::new() };
    let mut add = |info, source| {
        registry.infos.push(info);
        registry.sources.push(source);
    };
    let core = ResourceInfo {
        group: "",
        version: "v1",
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        verbs: Verb::ALL,
        subresources: POD_PARTS,
        is_builtin: true,
    };
    add(core.clone(), Source::Pods);
    let node = ResourceInfo {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        verbs: &[Verb::Get, Verb::List, Verb::Patch, Verb::Watch],
        subresources: &[],
        ..core
    };
    add(node.clone(), Source::Nodes);
    let event = ResourceInfo {
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        namespaced: true,
        verbs: Verb::READ,
        ..node
    };
    add(event.clone(), Source::Events);
    let namespace = ResourceInfo {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short_names: &["ns"],
        namespaced: false,
        ..event
    };
    add(namespace.clone(), Source::Namespaces);
    for facts in versions().filter(|facts| facts.kind != "Pod") {
        let (group, version) = facts.api_version.split_once('/').unwrap_or(("", facts.api_version));
        let job = ResourceInfo {
            group,
            version,
            plural: facts.plural,
            singular: facts.singular,
            kind: facts.kind,
            short_names: facts.short_names,
            categories: &["all"],
            namespaced: true,
            verbs: Verb::ALL,
            subresources: JOB_PARTS,
            is_builtin: group == "batch",
        };
        add(job, Source::Jobs(facts));
    }
    let runtime = ResourceInfo {
        group: "trainer.kubeflow.org",
        version: "v1alpha1",
        plural: "clustertrainingruntimes",
        singular: "clustertrainingruntime",
        kind: "ClusterTrainingRuntime",
        short_names: &[],
        verbs: Verb::ALL,
        is_builtin: false,
        ..namespace
    };
    add(runtime.clone(), Source::Stored);
    let own_runtime = ResourceInfo {
        plural: "trainingruntimes",
        singular: "trainingruntime",
        kind: "TrainingRuntime",
        namespaced: true,
        ..runtime
    };
    add(own_runtime, Source::Stored);
    let config_map = ResourceInfo {
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        verbs: Verb::ALL,
        ..event
    };
    add(config_map, Source::Stored);
    let review = ResourceInfo {
        group: "authorization.k8s.io",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        kind: "SelfSubjectAccessReview",
        short_names: &[],
        verbs: &[Verb::Create],
        ..namespace
    };
    add(review.clone(), Source::Review);
    let rules = ResourceInfo {
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        kind: "SelfSubjectRulesReview",
        ..review
    };
    add(rules, Source::Review);
    let own = ResourceInfo {
        group: "authentication.k8s.io",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        kind: "SelfSubjectReview",
        ..review
    };
    add(own, Source::Review);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_job_has_a_path_and_a_job_is_shown_in_the_version_that_it_was_submitted_in() {
        let registry = registry();
        let job = registry.find("kubeflow.org", "v1", "pytorchjobs").unwrap();
        assert_eq!(registry.of_job("PyTorchJob", "kubeflow.org/v1"), Some(job));
        let newer = registry.find("kubeflow.org", "v2beta1", "mpijobs").unwrap();
        let older = registry.find("kubeflow.org", "v1", "mpijobs").unwrap();
        assert_eq!(registry.of_job("MPIJob", "kubeflow.org/v1"), Some(older));
        assert_eq!(registry.of_job("MPIJob", "kubeflow.org/v2beta1"), Some(newer));
        assert_eq!(registry.of_job("Pod", "v1"), Some(registry.of(Source::Pods)));
        assert!(registry.find("apps", "v1", "deployments").is_none());
    }
}
