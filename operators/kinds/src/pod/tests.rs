use muster_model::{EnvSource, HostPathKind, PodSpec, Resources, VolumeSource};
use serde_json::json;

use crate::testing::{admitted, errors, job, with};

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
fn tolerations_and_required_node_affinity_are_read() {
    let pod = worker(&[
        (
            "W.tolerations",
            json!([
                {"key": "gpu", "value": "a100", "effect": "NoSchedule"},
                {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
                {"operator": "Exists"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -5},
            ]),
        ),
        (
            "W.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            json!([
                {
                    "matchExpressions": [
                        {"key": "zone", "operator": "In", "values": ["a", "b"]},
                        {"key": "zone", "operator": "NotIn", "values": ["c"]},
                        {"key": "disk", "operator": "Exists"},
                        {"key": "slow", "operator": "DoesNotExist"},
                        {"key": "cores", "operator": "Gt", "values": ["8"]},
                        {"key": "cores", "operator": "Lt", "values": ["64"]},
                    ],
                    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}],
                },
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]},
            ]),
        ),
    ]);
    insta::assert_compact_debug_snapshot!(pod.tolerations, @r#"[Toleration { key: Some("gpu"), value: Value("a100"), effect: Some(NoSchedule), lasts: None }, Toleration { key: Some("gpu"), value: Any, effect: Some(NoExecute), lasts: Some(Millis(60000)) }, Toleration { key: None, value: Any, effect: None, lasts: None }, Toleration { key: None, value: Any, effect: Some(NoExecute), lasts: Some(Millis(0)) }]"#);
    insta::assert_compact_debug_snapshot!(pod.node_affinity, @r#"Some([NodeTerm { labels: [LabelRule { key: "zone", rule: In(["a", "b"]) }, LabelRule { key: "zone", rule: NotIn(["c"]) }, LabelRule { key: "disk", rule: Exists }, LabelRule { key: "slow", rule: DoesNotExist }, LabelRule { key: "cores", rule: Gt(8) }, LabelRule { key: "cores", rule: Lt(64) }], names: [IsNot("n1")] }, NodeTerm { labels: [], names: [Is("n2")] }])"#);
}

#[test]
fn what_is_wrong_with_tolerations_and_affinity_is_told_all_at_once() {
    let terms =
        "W.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let wrong = with(
        job(),
        &[
            (
                "W.tolerations",
                json!([
                    {"key": "a b", "value": "-", "effect": "NoSchedul"},
                    {"value": "x"},
                    {"key": "a", "operator": "Exists", "value": "x"},
                    {"key": "a", "operator": "Is"},
                    {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1},
                ]),
            ),
            (
                terms,
                json!([{
                    "matchExpressions": [
                        {"key": "a b", "operator": "In", "values": []},
                        {"key": "a", "operator": "Exists", "values": ["x"]},
                        {"key": "a", "operator": "Gt", "values": ["x"]},
                        {"key": "a", "operator": "Like", "values": ["x"]},
                        {"key": "a", "operator": "NotIn", "values": ["ok", "not ok"]},
                    ],
                    "matchFields": [
                        {"key": "metadata.uid", "operator": "In", "values": ["x"]},
                        {"key": "metadata.name", "operator": "Exists"},
                        {"key": "metadata.name", "operator": "In", "values": ["x", "y"]},
                    ],
                }]),
            ),
        ],
    );
    let shown = errors(&wrong).join("\n");
    let worker = "spec.pytorchReplicaSpecs.Worker.template.spec.";
    let shown = shown.replace(worker, "W.").replace(&format!("{terms}[0]"), "TERM");
    insta::assert_snapshot!(shown, @r#"
    TERM.matchExpressions[0].values: required: operator In needs values
    TERM.matchExpressions[0].key: invalid value "a b": a key has up to 63 letters, digits, '-', '_' or '.', starts and ends with a letter or digit, and may follow a DNS name and '/'
    TERM.matchExpressions[1].values: forbidden: operator Exists takes no values
    TERM.matchExpressions[2].values: invalid value ["x"]: operator Gt needs one value, a whole number
    TERM.matchExpressions[3].operator: unsupported value "Like"; use one of: In, NotIn, Exists, DoesNotExist, Gt, Lt
    TERM.matchExpressions[4].values[1]: invalid value "not ok": a label has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit
    TERM.matchFields[0].key: unsupported value "metadata.uid"; use one of: metadata.name
    TERM.matchFields[1].operator: unsupported value "Exists"; use one of: In, NotIn
    TERM.matchFields[2].values: required: name one node; further ones go into further terms
    W.tolerations[0].key: invalid value "a b": a key has up to 63 letters, digits, '-', '_' or '.', starts and ends with a letter or digit, and may follow a DNS name and '/'
    W.tolerations[0].value: invalid value "-": a label has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit
    W.tolerations[0].effect: unsupported value "NoSchedul"; use one of: NoSchedule, PreferNoSchedule, NoExecute: did you mean NoSchedule?
    W.tolerations[1].operator: invalid value "": without a key it must be Exists, which means any taint
    W.tolerations[2].value: invalid value "x": operator Exists takes no value
    W.tolerations[3].operator: unsupported value "Is"; use one of: Equal, Exists
    W.tolerations[4].effect: invalid value "NoSchedule": only the effect NoExecute is tolerated for a time
    "#);
    let empty = with(job(), &[(terms, json!([]))]);
    assert_eq!(errors(&empty).len(), 1, "{:?}", errors(&empty));
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
