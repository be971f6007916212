//! `metadata` of a job: its name, its namespace, its labels; and the form in which it is stored.

use std::collections::BTreeMap;

use muster_model::{JobName, Namespace, Problem};
use serde_json::{Map, Value};

use crate::admit::AdmitContext;
use crate::findings::Findings;
use crate::node::Node;
use crate::schema::{self, core::METADATA};
use crate::syntax::{LABEL_KEY, LABEL_VALUE, is_label_key, is_label_value};

/// How much of a `generateName` is kept, so that the whole name is a DNS label (63) with the
/// suffix (5), as in `k8s.io/apiserver/pkg/storage/names`.
const GENERATED_PREFIX: usize = 58;

/// All annotations of an object together may have this many bytes (`k8s.io/apimachinery`).
const ANNOTATIONS_BYTES: usize = 256 << 10;

/// What only a server writes. It is not stored with the manifest.
const SERVER_FIELDS: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
    "clusterName",
];

/// A job's metadata.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// `None` when it is missing or cannot be used; then the findings say so.
    pub(crate) name: Option<JobName>,
    /// Likewise.
    pub(crate) namespace: Option<Namespace>,
    /// The name as given, for messages.
    pub(crate) shown_name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// As it is stored: with name and namespace, without what only a server writes.
    pub(crate) stored: Map<String, Value>,
}

/// Reads `metadata`.
pub(crate) fn read(node: &Node<'_>, context: &AdmitContext, to: &mut Findings) -> Metadata {
    if let Some(value) = node.value() {
        schema::check(value, &METADATA, node.path(), to);
    }
    let given = name_of(node, context, to);
    let name = given.as_deref().and_then(|given| {
        JobName::new(given)
            .map_err(|error| {
                let advice = sentence_of(&error.to_string());
                to.invalid(&node.field("name").path().clone(), given, advice);
            })
            .ok()
    });
    let namespace = match node.field("namespace").nonempty() {
        None => Some(context.namespace.clone()),
        Some(given) => Namespace::new(given)
            .map_err(|error| {
                let advice = sentence_of(&error.to_string());
                to.invalid(node.field("namespace").path(), given, advice);
            })
            .ok(),
    };
    check_labels(&node.field("labels"), to);
    check_annotations(&node.field("annotations"), to);
    Metadata {
        stored: stored(node, name.as_ref(), namespace.as_ref()),
        name,
        namespace,
        shown_name: given.unwrap_or_default(),
        labels: node.field("labels").text_map(),
        annotations: node.field("annotations").text_map(),
    }
}

/// The part of a name error that follows the quoted name.
fn sentence_of(error: &str) -> String {
    match error.split_once("\" ") {
        Some((_, rest)) => rest.to_owned(),
        None => error.to_owned(),
    }
}

fn name_of(node: &Node<'_>, context: &AdmitContext, to: &mut Findings) -> Option<String> {
    if let Some(name) = node.field("name").nonempty() {
        return Some(name.to_owned());
    }
    if let Some(prefix) = node.field("generateName").nonempty() {
        let kept: String = prefix.chars().take(GENERATED_PREFIX).collect();
        return Some(kept + &context.name_suffix);
    }
    // A name of a wrong type has its error already.
    if node.field("name").text().is_some() || !node.field("name").is_set() {
        to.required(
            node.field("name").path(),
            "give the job a name, or a prefix in metadata.generateName",
        );
    }
    None
}

fn stored(
    node: &Node<'_>,
    name: Option<&JobName>,
    namespace: Option<&Namespace>,
) -> Map<String, Value> {
    // Name and namespace first, so that a stored manifest reads like a written one.
    let mut stored = Map::new();
    if let Some(name) = name {
        stored.insert("name".into(), name.as_str().into());
    }
    if let Some(namespace) = namespace {
        stored.insert("namespace".into(), namespace.as_str().into());
    }
    for (key, entry) in node.entries() {
        if let (false, Some(value)) = (SERVER_FIELDS.contains(&key), entry.value()) {
            stored.entry(key).or_insert_with(|| value.clone());
        }
    }
    stored
}

/// Checks keys and values of labels, or of a node selector.
pub(crate) fn check_labels(labels: &Node<'_>, to: &mut Findings) {
    for (key, value) in labels.entries() {
        if !is_label_key(key) {
            to.invalid(value.path(), key, LABEL_KEY);
        }
        if let Some(text) = value.text().filter(|text| !is_label_value(text)) {
            to.invalid(value.path(), text, LABEL_VALUE);
        }
    }
}

/// Checks keys of annotations, and the size of all of them.
pub(crate) fn check_annotations(annotations: &Node<'_>, to: &mut Findings) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        size += key.len() + value.text().map_or(0, str::len);
        if !is_label_key(&key.to_ascii_lowercase()) {
            to.invalid(value.path(), key, LABEL_KEY);
        }
    }
    if size > ANNOTATIONS_BYTES {
        let limit = ANNOTATIONS_BYTES as u64;
        let advice = "bytes in all annotations together";
        to.error(annotations.path(), Problem::TooLong { limit }, advice);
    }
}
