use serde_json::json;

use super::*;
use crate::testing::{admitted, context, job, with};

fn update(changes: &[(&str, Value)]) -> Result<Update, Vec<String>> {
    let stored = admitted(&job()).manifest;
    let new = with(stored.clone(), changes);
    admit_update(&stored, &new, &context()).map_err(|rejection| match rejection {
        Rejection::Immutable { errors, .. } => errors.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    })
}

#[test]
fn what_says_the_same_is_no_change() {
    for changes in [
        &[][..],
        &[("status", json!({"conditions": []}))],
        &[
            ("metadata.uid", json!("u")),
            ("metadata.resourceVersion", json!("7")),
            ("metadata.managedFields", json!([])),
        ],
        &[("metadata.namespace", Value::Null)],
    ] {
        assert_eq!(update(changes), Ok(Update::Unchanged), "{changes:?}");
    }
}

#[test]
fn policies_and_metadata_may_change() {
    for (path, value, in_spec) in [
        ("spec.runPolicy.suspend", json!(true), true),
        ("spec.runPolicy.ttlSecondsAfterFinished", json!(5), true),
        ("spec.runPolicy.backoffLimit", json!(5), true),
        ("spec.runPolicy.activeDeadlineSeconds", json!(5), true),
        ("spec.runPolicy.cleanPodPolicy", json!("All"), true),
        ("spec.runPolicy.schedulingPolicy.minAvailable", json!(2), true),
        ("spec.runPolicy", json!({}), true),
        ("metadata.labels.a", json!("b"), false),
        ("metadata.annotations.a", json!("b"), false),
        ("metadata.annotations.muster!dev/submit-dir", json!("/x"), false),
        ("metadata.finalizers", json!(["a.b/c"]), false),
    ] {
        match update(&[(path, value)]) {
            Ok(Update::Changed { spec_changed, .. }) => assert_eq!(spec_changed, in_spec, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    let Ok(Update::Changed { admitted, .. }) = update(&[("spec.runPolicy.suspend", json!(true))])
    else {
        panic!("suspend may change");
    };
    assert!(admitted.gang.run_policy.suspend);
}

#[test]
fn everything_else_is_immutable() {
    for (path, value, place) in [
        ("metadata.name", json!("other"), "metadata.name"),
        ("metadata.namespace", json!("other"), "metadata.namespace"),
        (
            "metadata.annotations.muster!dev/launcher",
            json!("agent"),
            "metadata.annotations[muster.dev/launcher]",
        ),
        ("spec.nprocPerNode", json!("2"), "spec.nprocPerNode"),
        ("spec.elasticPolicy", json!({}), "spec.elasticPolicy"),
        (
            "spec.runPolicy.managedBy",
            json!("kubeflow.org/training-operator"),
            "spec.runPolicy.managedBy",
        ),
        (
            "spec.runPolicy.schedulingPolicy.queue",
            json!("q"),
            "spec.runPolicy.schedulingPolicy.queue",
        ),
        (
            "spec.runPolicy.schedulingPolicy.priorityClass",
            json!("p"),
            "spec.runPolicy.schedulingPolicy.priorityClass",
        ),
        (
            "spec.pytorchReplicaSpecs.Worker.replicas",
            json!(3),
            "spec.pytorchReplicaSpecs.Worker.replicas",
        ),
        ("spec.pytorchReplicaSpecs.Worker", Value::Null, "spec.pytorchReplicaSpecs.Worker"),
        (
            "C.command.1",
            json!("other.py"),
            "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].command[1]",
        ),
        (
            "C.command.2",
            json!("--more"),
            "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].command",
        ),
        (
            "C.env",
            json!([{"name": "A"}]),
            "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].env",
        ),
    ] {
        let expected = format!("{place}: forbidden: is immutable");
        assert_eq!(update(&[(path, value)]), Err(vec![expected]), "{path}");
    }
}

#[test]
fn all_immutable_fields_are_named_at_once_with_the_stored_name() {
    let stored = admitted(&job()).manifest;
    let new = with(
        stored.clone(),
        &[
            ("metadata.name", json!("other")),
            ("spec.nprocPerNode", json!("2")),
            ("spec.runPolicy.suspend", json!(true)),
        ],
    );
    let error = admit_update(&stored, &new, &context()).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"
    PyTorchJob team-a/ddp cannot be changed in these fields after its creation; delete it and create it anew:
      metadata.name: forbidden: is immutable
      spec.nprocPerNode: forbidden: is immutable
    ");
}

#[test]
fn a_change_to_something_invalid_says_what_is_wrong() {
    let error = update(&[("spec.runPolicy.backoffLimit", json!(-1))]).unwrap_err();
    insta::assert_snapshot!(error[0], @"
    PyTorchJob ddp is invalid:
      spec.runPolicy.backoffLimit: invalid value -1: must not be negative
    ");
}
