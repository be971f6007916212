//! Validation. The tables are text files under `testdata/admission`.

mod random;
mod warnings;

use serde_json::{Value, json};

use super::*;
use crate::testing::{admitted, context, errors, job, with, workers, yaml};

/// Checks every case of a table; the first lines of each file say how to read it.
fn check(table: &str) -> usize {
    const POD: &str = "spec.pytorchReplicaSpecs.Worker.template.spec.";
    let mut base = job();
    let mut cases = 0;
    for case in table.split("\n\n") {
        let (mut changes, mut expected) = (Vec::new(), Vec::new());
        for line in case.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("#", _) | ("ok" | "", _) => {}
                ("base", "workers") => base = workers(),
                ("base", _) => base = job(),
                ("set", change) => {
                    let (path, value) = change.split_once(' ').expect("a path and a value");
                    let value: Value = serde_json::from_str(value).expect("JSON");
                    changes.push((path, value));
                }
                ("!", error) => expected.push(error.replace("W.", POD)),
                (other, _) => panic!("{other} is no word of a table"),
            }
        }
        if !changes.is_empty() {
            assert_eq!(errors(&with(base.clone(), &changes)), expected, "{case}");
            cases += 1;
        }
    }
    cases
}

macro_rules! table_tests {
    ($($name:ident: $file:literal, $cases:literal;)*) => {$(
        #[test]
        fn $name() {
            let table = include_str!(concat!("../../testdata/admission/", $file));
            assert_eq!(check(table), $cases);
        }
    )*};
}

table_tests! {
    metadata_is_checked: "metadata.txt", 12;
    the_run_policy_is_checked: "run_policy.txt", 11;
    replica_specs_are_checked: "replicas.txt", 20;
    elastic_policy_and_process_counts_are_checked: "elastic.txt", 18;
    containers_are_checked: "containers.txt", 19;
    variables_are_checked: "variables.txt", 21;
    resources_are_checked: "resources.txt", 15;
    volumes_are_checked: "volumes.txt", 25;
}

#[test]
fn unknown_kinds_say_what_is_known() {
    let kind = |api_version: &str, kind: &str| {
        errors(&json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}))
            .remove(0)
    };
    let unnamed = kind("v1", "");
    let known = unnamed.strip_prefix("the manifest has no kind ").expect("that is what is wrong");
    assert!(known.starts_with("(supported: PyTorchJob of kubeflow.org/v1, "), "{known}");
    assert!(known.contains("MPIJob of kubeflow.org/v2beta1, MPIJob of kubeflow.org/v1"), "{known}");
    for (found, expected) in [
        (
            kind("kubeflow.org/v1", "PytorchJob"),
            format!(
                "kind PytorchJob of kubeflow.org/v1 is not supported; did you mean PyTorchJob? {known}"
            ),
        ),
        (kind("batch/v1", "CronJob"), format!("kind CronJob of batch/v1 is not supported {known}")),
        (
            kind("v1", "PyTorchJob"),
            "PyTorchJob is of apiVersion kubeflow.org/v1, not v1".to_owned(),
        ),
        (
            kind("", "PyTorchJob"),
            "PyTorchJob has no apiVersion; write apiVersion: kubeflow.org/v1".to_owned(),
        ),
        (kind("", "ReplicaSet"), format!("kind ReplicaSet is not supported {known}")),
    ] {
        assert_eq!(found, expected);
    }
    let reason = Reason::from(admit(&json!({"kind": "PyTorchJob"}), &context()).unwrap_err());
    assert_eq!(reason.code().0, "M1001");
    assert_eq!(errors(&json!([1])), ["(document): must be an object, found a list"]);
}

#[test]
fn names_and_namespaces_are_completed() {
    let found = admitted(&job());
    assert_eq!(found.key.to_string(), "PyTorchJob team-a/ddp");
    let prefix = [("metadata.name", Value::Null), ("metadata.generateName", json!("sweep-"))];
    let generated = admitted(&with(job(), &prefix));
    assert_eq!(generated.key.name.as_str(), "sweep-x7k2p");
    assert_eq!(generated.manifest["metadata"]["name"], json!("sweep-x7k2p"));
    // Too long a prefix is cut, as an API server does; the name of the longest replica counts then.
    let long = [("metadata.name", Value::Null), ("metadata.generateName", json!("a".repeat(80)))];
    assert!(errors(&with(job(), &long))[0].contains("shorten the name by 9"));
    let empty = [("metadata.namespace", json!("")), ("metadata.name", json!(""))];
    assert_eq!(errors(&with(job(), &empty)).len(), 1);
}

#[test]
fn the_run_policy_is_read() {
    let full = json!({
        "backoffLimit": 4, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 0, "cleanPodPolicy": "All",
        "suspend": true, "schedulingPolicy": {"queue": "q", "priorityClass": "high"},
    });
    let gang = admitted(&with(job(), &[("spec.runPolicy", full)])).gang;
    insta::assert_snapshot!(format!("{:?}\n{:?}", gang.run_policy, gang.scheduling), @r#"
    RunPolicy { backoff_limit: Some(4), active_deadline: Some(Millis(60000)), ttl_after_finished: Some(Millis(0)), clean_pod_policy: All, suspend: true }
    SchedulingPolicy { queue: Some("q"), priority_class: Some("high") }
    "#);
    let class = [("W.priorityClassName", json!("low"))];
    let gang = admitted(&with(job(), &class)).gang;
    assert_eq!(gang.scheduling.priority_class.as_deref(), Some("low"));
}

#[test]
fn annotations_have_a_size_and_roles_a_description() {
    let large = with(job(), &[("metadata.annotations", json!({"a": "x".repeat(300_000)}))]);
    assert_eq!(
        errors(&large),
        [
            "metadata.annotations: too long, at most 262144 are allowed: bytes in all annotations together"
        ]
    );
    let mut null_worker = workers();
    null_worker["spec"]["pytorchReplicaSpecs"]["Worker"] = Value::Null;
    assert_eq!(
        errors(&null_worker),
        [
            "spec.pytorchReplicaSpecs.Worker: required: describe the replicas, or leave the type out",
            "spec.pytorchReplicaSpecs: required: describe a Master, Workers, or both",
        ]
    );
}

#[test]
fn all_problems_are_listed_at_once() {
    let bad = with(
        job(),
        &[
            ("metadata.name", json!("A")),
            ("spec.nprocPerNode", json!("x")),
            ("C.image", Value::Null),
            ("C.env", json!([{"name": ""}])),
            ("spec.runPolicy.backoffLimit", json!(-1)),
        ],
    );
    insta::assert_snapshot!(admit(&bad, &context()).unwrap_err(), @r#"
    PyTorchJob A is invalid:
      metadata.name: invalid value "A": must be at most 63 lower-case letters, digits or '-', start with a letter and end with a letter or digit
      spec.runPolicy.backoffLimit: invalid value -1: must not be negative
      spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].image: required: name an image; the process runtime maps it to an environment
      spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].env[0].name: required: give the variable a name
      spec.nprocPerNode: unsupported value "x"; use one of: auto, cpu, gpu, xpu, <a number>
    "#);
}

#[test]
fn the_stored_manifest_is_the_authors_without_what_a_server_writes() {
    let text = yaml(
        r"
status: {conditions: []}
kind: PyTorchJob
apiVersion: kubeflow.org/v1
future: {a: 1}
metadata:
  labels: {team: a}
  annotations: {muster.dev/submit-dir: /home/me/run}
  name: ddp
  creationTimestamp: null
  uid: u
  resourceVersion: '9'
  managedFields: [{}]
spec:
  runPolicy: {future: true}
  pytorchReplicaSpecs:
    Worker: {template: {spec: {containers: [{name: pytorch, image: i, command: [a]}]}}}
",
    );
    let found = admitted(&text);
    assert_eq!(
        found.manifest.to_string(),
        r#"{"apiVersion":"kubeflow.org/v1","kind":"PyTorchJob","metadata":{"name":"ddp","namespace":"team-a","labels":{"team":"a"},"annotations":{"muster.dev/submit-dir":"/home/me/run"}},"future":{"a":1},"spec":{"runPolicy":{"future":true},"pytorchReplicaSpecs":{"Worker":{"template":{"spec":{"containers":[{"name":"pytorch","image":"i","command":["a"]}]}}}}}}"#
    );
    assert_eq!(found.submit_dir.as_deref(), Some("/home/me/run"));
    assert_eq!(found.labels["team"], "a");
    assert!(!found.managed_by_other);
    // Admitting what is stored changes nothing.
    assert_eq!(admitted(&found.manifest).manifest, found.manifest);
}
