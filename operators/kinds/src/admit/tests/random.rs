//! Whatever the manifest: an answer, with a reason when it is a refusal.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use crate::testing::{context, errors, job, with};
use crate::{Rejection, admit, admit_update, parse_documents};

/// Every path of a manifest, as JSON pointers.
fn places(value: &Value) -> Vec<String> {
    fn collect(value: &Value, at: String, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, child) in fields {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    collect(child, format!("{at}/{key}"), into);
                }
            }
            Value::Array(items) => {
                for (index, child) in items.iter().enumerate() {
                    collect(child, format!("{at}/{index}"), into);
                }
            }
            _ => {}
        }
        into.push(at);
    }
    let mut all = Vec::new();
    collect(value, String::new(), &mut all);
    all
}

fn replace(job: &mut Value, place: &str, value: Value) {
    *job.pointer_mut(place).expect("is a place of the job") = value;
}

/// A job that uses nearly every field that is read.
fn full() -> Value {
    let elastic = json!({
        "minReplicas": 1, "maxReplicas": 3, "rdzvConf": [{"key": "a", "value": "b"}], "rdzvHost": "h",
        "rdzvPort": 1, "rdzvId": "i", "standalone": false, "maxRestarts": 3,
    });
    let policy = json!({
        "cleanPodPolicy": "All", "backoffLimit": 1, "ttlSecondsAfterFinished": 1,
        "activeDeadlineSeconds": 1, "suspend": true, "managedBy": "kubeflow.org/training-operator",
        "schedulingPolicy": {"queue": "q"},
    });
    let file = json!({"name": "b", "hostPath": {"path": "/b", "type": "File"}});
    let cores = json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}});
    with(
        job(),
        &[
            ("metadata.annotations", json!({"muster.dev/launcher": "agent", "a/b": "/x"})),
            ("metadata.labels", json!({"a": "b"})),
            ("spec.nprocPerNode", json!("2")),
            ("spec.elasticPolicy", elastic),
            ("spec.runPolicy", policy),
            ("W.volumes.0", json!({"name": "a", "emptyDir": {"sizeLimit": "1Gi"}})),
            ("W.volumes.1", file),
            ("C.volumeMounts.0", json!({"name": "a", "mountPath": "/a", "subPath": "x"})),
            ("C.env.0", json!({"name": "A", "value": "b"})),
            ("C.env.1", json!({"name": "B", "valueFrom": cores})),
            ("C.ports.0", json!({"name": "p", "containerPort": 80, "protocol": "TCP"})),
            ("C.resources.limits", json!({"cpu": "1", "nvidia.com/gpu": 1})),
            ("C.resources.requests", json!({"cpu": "500m"})),
            ("W.initContainers.0", json!({"name": "i", "image": "i", "command": ["a"]})),
            ("W.nodeSelector", json!({"a": "b"})),
            ("W.terminationGracePeriodSeconds", json!(5)),
        ],
    )
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["\\PC{0,20}", "[a-z0-9./-]{0,8}", Just("agent".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let known = &["name", "value", "Master", "spec", "containers", "limits", "template"][..];
    let key = prop_oneof!["\\PC{0,8}", proptest::sample::select(known).prop_map(str::to_owned)];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let entries = proptest::collection::vec((key.clone(), inner.clone()), 0..4);
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            entries.prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

#[test]
fn the_full_job_is_accepted() {
    // The template of the Worker is the Master's, too, so the launcher finds the same in both.
    assert_eq!(errors(&full()), Vec::<String>::new());
}

/// One value at a time replaced by each of a few odd ones, over the whole job.
#[test]
fn every_place_survives_every_type() {
    let job = full();
    let places = places(&job);
    assert!(places.len() > 100);
    let odd = json!([
        null, true, -1, 0, 9_007_199_254_740_993_i64, u64::MAX, 1.5, "", "x", "ä b",
        [], [null], [[]], {}, {"": {}}, {"name": 1},
    ]);
    for place in &places {
        for value in odd.as_array().expect("is a list") {
            let mut changed = job.clone();
            replace(&mut changed, place, value.clone());
            // A refusal without a reason fails in here.
            errors(&changed);
            let _ = admit_update(&job, &changed, &context());
        }
    }
}

/// As large as a manifest may be, and shaped to make a careless reader compare everything with
/// everything.
#[test]
fn large_manifests_are_answered_in_time() {
    let documents = "{}".repeat(700_000);
    assert_eq!(parse_documents(documents.as_bytes()).expect("is JSON").len(), 700_000);
    let list = |name: &str| -> Vec<Value> {
        (0..20_000)
            .map(|i| json!({"name": format!("{name}{i}"), "mountPath": format!("/{i}")}))
            .collect()
    };
    let mounts = [("W.volumes", list("a").into()), ("C.volumeMounts", list("b").into())];
    assert_eq!(errors(&with(job(), &mounts)).len(), 101);
    let many: Map<String, Value> = (0..50_000).map(|i| (format!("key{i}"), json!("-"))).collect();
    let keys = [
        ("spec.nodes", many.clone().into()),
        ("metadata.labels", many.clone().into()),
        ("W.x", many.into()),
    ];
    assert_eq!(errors(&with(job(), &keys)).len(), 101);
    assert_eq!(errors(&with(job(), &[("W.containers", list("c").into())])).len(), 101);
    let script = json!(["sh", "-c", "eval \"'<<a ".repeat(50_000)]);
    assert_eq!(errors(&with(job(), &[("C.command", script)])).len(), 0);
}

proptest! {
    #[test]
    fn random_values_in_random_places_get_an_answer(
        changes in proptest::collection::vec((any::<Index>(), any_value()), 1..6)
    ) {
        let mut job = full();
        for (index, value) in changes {
            let places = places(&job);
            replace(&mut job, index.get(&places).as_str(), value);
        }
        errors(&job);
    }

    #[test]
    fn random_documents_get_an_answer(value in any_value()) {
        errors(&value);
    }

    #[test]
    fn what_is_accepted_is_accepted_again(index in any::<Index>(), value in any_value()) {
        let mut job = full();
        let places = places(&job);
        replace(&mut job, index.get(&places).as_str(), value);
        if let Ok(first) = admit(&job, &context()) {
            let second = admit(&first.manifest, &context());
            prop_assert_eq!(second.as_ref().map(|second| &second.gang), Ok(&first.gang));
            prop_assert_eq!(second.map(|second| second.manifest), Ok(first.manifest));
        }
    }

    #[test]
    fn damaged_manifests_get_an_answer(cut in any::<Index>(), junk in "\\PC{0,6}") {
        let text = full().to_string();
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let at = *cut.get(&boundaries);
        let damaged = format!("{}{junk}{}", &text[..at], &text[at..]);
        for document in parse_documents(damaged.as_bytes()).into_iter().flatten() {
            if let Err(Rejection::Invalid { errors, .. }) = admit(&document.value, &context()) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}
