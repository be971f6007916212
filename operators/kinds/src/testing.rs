//! Manifests for tests, and what admission says about them.

use muster_model::Namespace;
use serde_json::{Map, Value};

use crate::{AdmitContext, Admitted, Rejection, admit, parse_documents};

pub(crate) fn context() -> AdmitContext {
    AdmitContext {
        namespace: Namespace::new("team-a").expect("is a DNS label"),
        name_suffix: "x7k2p".to_owned(),
    }
}

/// The first document of a YAML text.
pub(crate) fn yaml(text: &str) -> Value {
    match parse_documents(text.as_bytes()) {
        Ok(documents) => documents[0].value.clone(),
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// A job with a Master and two Workers.
pub(crate) fn job() -> Value {
    yaml(
        r"
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: ddp}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: &template
        spec:
          containers:
          - {name: pytorch, image: 'pytorch/pytorch:2.9', command: [python, train.py]}
    Worker: {replicas: 2, template: *template}
",
    )
}

/// A job with two Workers and no Master.
pub(crate) fn workers() -> Value {
    with(job(), &[("spec.pytorchReplicaSpecs.Master", Value::Null)])
}

/// The manifest with some values set. Parts of a path are separated by dots; a number is the index
/// of an item (one past the last adds one); `Null` takes a field away; `W` and `M` are the pod
/// specs of the Worker and the Master, `C` is the Worker's first container.
pub(crate) fn with(mut manifest: Value, changes: &[(&str, Value)]) -> Value {
    for (path, value) in changes {
        let path = match path.split_once('.') {
            Some(("W", rest)) => format!("spec.pytorchReplicaSpecs.Worker.template.spec.{rest}"),
            Some(("M", rest)) => format!("spec.pytorchReplicaSpecs.Master.template.spec.{rest}"),
            Some(("C", rest)) => {
                format!("spec.pytorchReplicaSpecs.Worker.template.spec.containers.0.{rest}")
            }
            _ => (*path).to_owned(),
        };
        set(&mut manifest, &path, value.clone());
    }
    manifest
}

fn set(manifest: &mut Value, path: &str, value: Value) {
    // A `!` stands for a dot within a key.
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    if manifest.is_null() {
        let is_list = first == "0";
        *manifest = if is_list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    let slot = match manifest {
        Value::Array(items) => {
            let index: usize = first.parse().expect("an index");
            if index == items.len() {
                items.push(Value::Null);
            }
            &mut items[index]
        }
        Value::Object(fields) => {
            let key = first.replace('!', ".");
            if rest.is_none() && value.is_null() {
                fields.shift_remove(&key);
                return;
            }
            fields.entry(key).or_insert(Value::Null)
        }
        other => panic!("{path} in {other}"),
    };
    match rest {
        None => *slot = value,
        Some(rest) => set(slot, rest, value),
    }
}

pub(crate) fn admitted(manifest: &Value) -> Admitted {
    match admit(manifest, &context()) {
        Ok(admitted) => admitted,
        Err(rejection) => panic!("{rejection}"),
    }
}

/// What is wrong with a manifest; empty when it is accepted.
pub(crate) fn errors(manifest: &Value) -> Vec<String> {
    match admit(manifest, &context()) {
        Ok(_) => Vec::new(),
        Err(Rejection::Kind(unknown)) => vec![unknown.to_string()],
        Err(Rejection::Invalid { errors, .. } | Rejection::Immutable { errors, .. }) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(!errors.is_empty(), "rejected without a reason: {manifest}");
            errors
        }
    }
}

pub(crate) fn warnings(manifest: &Value) -> Vec<String> {
    admitted(manifest).warnings.iter().map(ToString::to_string).collect()
}
