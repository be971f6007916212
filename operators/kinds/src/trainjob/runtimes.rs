//! Training runtimes, the blueprints that TrainJobs refer to. Whoever keeps them hands them to admission; the
//! shipped ones are always there.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::document::parse_documents;

pub(super) const CLUSTER: &str = "ClusterTrainingRuntime";
pub(super) const NAMESPACED: &str = "TrainingRuntime";

/// Namespace, `None` for those of the whole cluster, and name.
type Key = (Option<String>, String);

/// The runtimes that there are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtimes {
    all: Arc<BTreeMap<Key, Value>>,
}

static SHIPPED: LazyLock<Runtimes> = LazyLock::new(|| {
    let documents = parse_documents(include_bytes!("shipped.yaml"));
    let documents = documents.expect("a test reads the shipped runtimes");
    let manifests = documents.into_iter().map(|document| document.value);
    Runtimes { all: Arc::new(manifests.filter_map(keyed).collect()) }
});

impl Runtimes {
    /// Those that come with Muster, all of them `ClusterTrainingRuntime`s.
    #[must_use]
    pub fn shipped() -> Self {
        SHIPPED.clone()
    }

    /// The shipped ones and these, which win over shipped ones of the same name. What is neither a `TrainingRuntime`
    /// nor a `ClusterTrainingRuntime` with a name is left out.
    #[must_use]
    pub fn with(manifests: impl IntoIterator<Item = Value>) -> Self {
        let mut all = SHIPPED.all.as_ref().clone();
        all.extend(manifests.into_iter().filter_map(keyed));
        Self { all: Arc::new(all) }
    }

    /// Their manifests, those of the cluster first, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.all.values()
    }

    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let namespace = (kind == NAMESPACED).then(|| namespace.to_owned());
        self.all.get(&(namespace, name.to_owned()))
    }

    /// The names that a job of this namespace may refer to.
    pub(super) fn names(&self, kind: &str, namespace: &str) -> Vec<&str> {
        let namespace = (kind == NAMESPACED).then_some(namespace);
        let there = self.all.keys().filter(|(of, _)| of.as_deref() == namespace);
        there.map(|(_, name)| name.as_str()).collect()
    }
}

fn keyed(manifest: Value) -> Option<(Key, Value)> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name")?.to_owned();
    let namespace = match text("/kind")? {
        CLUSTER => None,
        NAMESPACED => Some(text("/metadata/namespace").unwrap_or("default").to_owned()),
        _ => return None,
    };
    Some(((namespace, name), manifest))
}
