//! What is accepted with a warning.

use serde_json::json;

use crate::testing::{errors, job, warnings, with};

#[test]
fn a_plain_job_has_none() {
    assert_eq!(warnings(&job()), Vec::<String>::new());
    let common = [
        ("C.imagePullPolicy", json!("Always")),
        ("W.serviceAccountName", json!("x")),
        ("W.schedulerName", json!("volcano")),
        ("W.securityContext", json!({})),
        ("W.tolerations", json!([])),
        ("W.hostNetwork", json!(true)),
        ("spec.pytorchReplicaSpecs.Worker.template.metadata.creationTimestamp", json!(null)),
    ];
    assert_eq!(warnings(&with(job(), &common)), Vec::<String>::new());
}

#[test]
fn unknown_fields_are_kept_and_named() {
    let unknown = with(
        job(),
        &[
            ("Spec", json!({})),
            ("metadata.label", json!({})),
            ("spec.runpolicy", json!({})),
            ("spec.pytorchReplicaSpecs.Worker.replica", json!(2)),
            ("C.imagepullpolicy", json!("Always")),
            ("C.resources", json!({"limit": {}})),
            ("W.bogus", json!(1)),
        ],
    );
    insta::assert_snapshot!(warnings(&unknown).join("\n"), @r#"
    unknown field "Spec"; did you mean "spec"?
    unknown field "metadata.label"; did you mean "labels"?
    unknown field "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].imagepullpolicy"; did you mean "imagePullPolicy"?
    unknown field "spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].resources.limit"; did you mean "limits"?
    unknown field "spec.pytorchReplicaSpecs.Worker.template.spec.bogus"
    unknown field "spec.pytorchReplicaSpecs.Worker.replica"; did you mean "replicas"?
    unknown field "spec.runpolicy"; did you mean "runPolicy"?
    "#);
}

#[test]
fn what_is_not_acted_on_is_named_once() {
    let pods = json!({"requiredDuringSchedulingIgnoredDuringExecution": []});
    let ignored = with(
        job(),
        &[
            ("M.affinity.podAffinity", pods.clone()),
            ("W.affinity.podAffinity", pods),
            (
                "W.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution",
                json!([{"weight": 1}]),
            ),
            ("W.nodeName", json!("a")),
            ("W.imagePullSecrets", json!([{"name": "a"}])),
            ("W.securityContext", json!({"runAsUser": 1000})),
            ("C.securityContext", json!({"privileged": true})),
            ("C.livenessProbe", json!({"tcpSocket": {"port": 1}})),
            ("C.lifecycle", json!({"preStop": {"exec": {"command": ["a"]}}})),
            ("C.restartPolicy", json!("Always")),
            ("C.ports", json!([{"containerPort": 1, "hostPort": 1}])),
            (
                "C.env.0",
                json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": true}}}),
            ),
            ("C.envFrom", json!([{"secretRef": {"name": "a", "optional": true}}])),
            ("W.volumes.0", json!({"name": "c", "configMap": {"name": "c", "optional": true}})),
            ("W.volumes.1", json!({"name": "s", "hostPath": {"path": "/s", "type": "Socket"}})),
            ("metadata.finalizers", json!(["a.b/c"])),
            (
                "spec.runPolicy.schedulingPolicy",
                json!({"minAvailable": 1, "minResources": {"cpu": 1}, "scheduleTimeoutSeconds": 9}),
            ),
            (
                "spec.elasticPolicy",
                json!({"minReplicas": 1, "maxReplicas": 3, "metrics": [{"type": "Resource"}]}),
            ),
        ],
    );
    insta::assert_snapshot!(warnings(&ignored).join("\n"), @"
    metadata.finalizers: accepted, but not acted on; a deletion does not wait for them
    spec.pytorchReplicaSpecs.Master.template.spec.affinity.podAffinity (and in 1 more place): accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].securityContext: accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].livenessProbe: accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].lifecycle: accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].ports[0].hostPort: accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution: accepted, but not acted on
    spec.pytorchReplicaSpecs.Worker.template.spec.nodeName: accepted, but not acted on; use nodeSelector
    spec.pytorchReplicaSpecs.Worker.template.spec.imagePullSecrets: accepted, but not acted on; log in to the registry on the nodes
    spec.pytorchReplicaSpecs.Worker.template.spec.securityContext: accepted, but not acted on
    spec.runPolicy.schedulingPolicy.minAvailable: accepted, but not acted on; Muster always places the whole gang or nothing
    spec.runPolicy.schedulingPolicy.minResources: accepted, but not acted on; Muster always places the whole gang or nothing
    spec.runPolicy.schedulingPolicy.scheduleTimeoutSeconds: accepted, but not acted on; use activeDeadlineSeconds
    spec.elasticPolicy.metrics: accepted, but not acted on; the number of replicas stays as it is
    spec.pytorchReplicaSpecs.Worker.template.spec.volumes[0].configMap: accepted, but not acted on; it is optional, so it stays empty
    spec.pytorchReplicaSpecs.Worker.template.spec.volumes[1].hostPath.type: accepted, but not acted on; what is at the path is not checked
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].envFrom[0].secretRef: accepted, but not acted on; it is optional, so it sets nothing
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].env[0].valueFrom.secretKeyRef: accepted, but not acted on; it is optional, so the variable stays unset
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].restartPolicy: accepted, but not acted on; use the replica's restartPolicy
    ");
}

#[test]
fn surprises_are_explained() {
    let odd = with(
        job(),
        &[
            ("W.restartPolicy", json!("Never")),
            ("C.resources.limits", json!({"memory": "512m"})),
            ("C.command", json!(null)),
            ("spec.elasticPolicy", json!({"minReplicas": 1, "maxReplicas": 2, "standalone": true})),
        ],
    );
    insta::assert_snapshot!(warnings(&odd).join("\n"), @r#"
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].resources.limits.memory: "512m" is not a whole number of bytes; M or Mi was probably meant
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].command: without a command, only the container runtime knows what to run: the image's entry point
    spec.pytorchReplicaSpecs.Worker.template.spec.restartPolicy: Worker.restartPolicy is used instead
    spec.pytorchReplicaSpecs.Worker.replicas: the Master and the Workers are 3 nodes to torchrun, but elasticPolicy allows 1 to 2
    spec.elasticPolicy.standalone: every replica trains alone, without the others
    "#);
}

#[test]
fn a_manifest_full_of_mistakes_is_answered_with_a_bounded_list() {
    let many: Vec<_> = (0..5_000).map(|i| json!({"name": format!("a={i}")})).collect();
    let found = errors(&with(job(), &[("C.env", many.into())]));
    assert_eq!(found.len(), 101);
    assert!(found[100].ends_with("4900 more problems are not listed"), "{}", found[100]);
}
