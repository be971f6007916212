use muster_model::{EnvSource, HostPathKind, PodSpec, Resources, VolumeSource};
use serde_json::json;

use crate::testing::{admitted, job, with};

fn worker(changes: &[(&str, serde_json::Value)]) -> PodSpec {
    admitted(&with(job(), changes)).gang.roles[1].pod.clone()
}

#[test]
fn defaults_are_those_of_kubernetes() {
    let pod = worker(&[]);
    assert_eq!(pod.termination_grace.to_string(), "30s");
    assert_eq!(pod.main_container().working_dir, None);
    assert!(pod.main_container().requests.is_empty());
    let pod = worker(&[("W.terminationGracePeriodSeconds", json!(0)), ("C.workingDir", json!(""))]);
    assert_eq!(pod.termination_grace.to_string(), "0ms");
    assert_eq!(pod.main_container().working_dir, None);
}

#[test]
fn a_limit_without_a_request_is_requested() {
    let pod = worker(&[(
        "C.resources",
        json!({"limits": {"cpu": 2, "memory": "1Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "500m"}}),
    )]);
    let main = pod.main_container();
    let limits =
        Resources::new().with("cpu", 2000).with("memory", 1 << 30).with("nvidia.com/gpu", 1);
    assert_eq!(main.limits, limits);
    assert_eq!(main.requests, limits.with("cpu", 500));
}

#[test]
fn containers_keep_their_order_and_the_main_one_is_found_by_name() {
    let pod = worker(&[
        (
            "W.containers",
            json!([
                {"name": "side", "image": "s", "command": ["a"]},
                {"name": "pytorch", "image": "p", "command": ["sh"], "args": ["-c", "true"], "workingDir": "src"},
            ]),
        ),
        (
            "W.initContainers",
            json!([{"name": "first", "image": "f", "command": ["a"]}, {"name": "second", "image": "f", "command": ["a"]}]),
        ),
        ("W.nodeSelector", json!({"zone": "a"})),
        (
            "spec.pytorchReplicaSpecs.Worker.template.metadata",
            json!({"labels": {"l": "1"}, "annotations": {"a": "2"}}),
        ),
    ]);
    assert_eq!((pod.main, pod.main_container().name.as_str()), (1, "pytorch"));
    assert_eq!(pod.main_container().args, ["-c", "true"]);
    assert_eq!(pod.main_container().working_dir.as_deref(), Some("src"));
    // Only the main container gets the kind's port.
    assert_eq!(pod.containers.iter().map(|c| c.ports.len()).collect::<Vec<_>>(), [0, 1]);
    let inits: Vec<&str> = pod.init_containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(inits, ["first", "second"]);
    assert_eq!((pod.labels["l"].as_str(), pod.annotations["a"].as_str()), ("1", "2"));
    assert_eq!(pod.node_selector["zone"], "a");
}

#[test]
fn variables_come_from_values_fields_and_resources() {
    let resource = |resource: &str, divisor: serde_json::Value| json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
    let pod = worker(&[
        ("C.resources", json!({"limits": {"cpu": "2500m", "memory": "3Gi"}})),
        (
            "C.env",
            json!([
                {"name": "A", "value": "x$(B)"},
                {"name": "EMPTY"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}},
                {"name": "CORES", "valueFrom": resource("limits.cpu", json!(null))},
                {"name": "ZERO", "valueFrom": resource("requests.cpu", json!("0"))},
                {"name": "MILLIS", "valueFrom": resource("limits.cpu", json!("1m"))},
                {"name": "MEBI", "valueFrom": resource("requests.memory", json!("1Mi"))},
            ]),
        ),
    ]);
    let shown: Vec<String> = pod
        .main_container()
        .env
        .iter()
        .map(|variable| match &variable.source {
            EnvSource::Value(text) => format!("{}={text}", variable.name),
            EnvSource::Field(path) => format!("{}<-{path}", variable.name),
        })
        .collect();
    assert_eq!(
        shown,
        ["A=x$(B)", "EMPTY=", "IP<-status.podIP", "CORES=3", "ZERO=3", "MILLIS=2500", "MEBI=3072"]
    );
}

#[test]
fn volumes_become_directories() {
    let pod = worker(&[
        (
            "W.volumes",
            json!([
                {"name": "plain"},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
                {"name": "data", "hostPath": {"path": "/data", "type": "DirectoryOrCreate"}},
                {"name": "any", "hostPath": {"path": "/any", "type": ""}},
                {"name": "none", "secret": {"secretName": "s", "optional": true}},
            ]),
        ),
        (
            "C.volumeMounts",
            json!([{"name": "data", "mountPath": "/d", "subPath": "a/b", "readOnly": true}]),
        ),
    ]);
    let sources: Vec<VolumeSource> =
        pod.volumes.iter().map(|volume| volume.source.clone()).collect();
    let empty = |memory, size_limit| VolumeSource::EmptyDir { memory, size_limit };
    let host = |path: &str, kind| VolumeSource::HostPath { path: path.into(), kind };
    assert_eq!(
        sources,
        [
            empty(false, None),
            empty(true, Some(2 << 30)),
            host("/data", HostPathKind::DirectoryOrCreate),
            host("/any", HostPathKind::Any),
            empty(false, None),
        ]
    );
    let mount = &pod.main_container().mounts[0];
    assert_eq!(
        (mount.volume.as_str(), mount.path.as_str(), mount.sub_path.as_str(), mount.read_only),
        ("data", "/d", "a/b", true)
    );
}
