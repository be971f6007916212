use muster_model::{Condition, Conditions, Timestamp, Uid};

use super::*;
use crate::testing::{admitted, check_table, environment, errors, warnings, with, yaml};
use crate::{replica_labels, selector};

fn pod() -> Value {
    yaml(
        r"
apiVersion: v1
kind: Pod
metadata:
  name: hello
  labels: {app: greeter}
  annotations: {muster.dev/packages: numpy}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: 'python:3', command: [python, hello.py]}
",
    )
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../../testdata/admission/pod.txt");
    assert_eq!(check_table(table, |_| pod(), ("$.", "spec.")), 8);
}

#[test]
fn a_pod_is_a_gang_of_one_with_its_own_name_and_labels() {
    let crate::Admitted { key, gang, .. } = admitted(&pod());
    assert_eq!(gang.size(), 1);
    let name = gang.replica_name(&key.name, muster_model::Rank(0));
    assert_eq!(name.as_deref(), Some("hello"));
    let labels = replica_labels(&key, &gang, muster_model::Rank(0));
    assert_eq!(selector(&labels), "app=greeter");
    assert_eq!(gang.role(RoleIndex(0)).pod.annotations["muster.dev/packages"], "numpy");
    assert_eq!(environment(&pod(), 0), "");
    assert_eq!((errors(&pod()), warnings(&pod())), (Vec::new(), Vec::new()));
}

#[test]
fn restart_policy_and_deadline_are_those_of_the_pod() {
    let changed = |changes: &[(&str, Value)]| admitted(&with(pod(), changes)).gang;
    let restart = |policy: Value| changed(&[("spec.restartPolicy", policy)]).roles[0].restart;
    assert_eq!(restart(Value::Null), RestartPolicy::Always);
    assert_eq!(restart(json!("OnFailure")), RestartPolicy::OnFailure);
    assert_eq!(restart(json!("Never")), RestartPolicy::Never);
    let deadline = [("spec.activeDeadlineSeconds", json!(7))];
    assert_eq!(changed(&deadline).run_policy.active_deadline, Some(Millis::from_secs(7)));
    assert_eq!(warnings(&with(pod(), &deadline)), Vec::<String>::new());
}

#[test]
fn the_status_has_a_phase() {
    let admitted = admitted(&pod());
    let shown = |kind: ConditionType| {
        let mut conditions = Conditions::default();
        conditions.set(Condition {
            kind,
            status: true,
            reason: "r".into(),
            message: "why".into(),
            updated: Timestamp(0),
            transitioned: Timestamp(0),
        });
        let view = JobView {
            key: &admitted.key,
            manifest: &admitted.manifest,
            uid: &Uid("u".into()),
            created: Timestamp(0),
            deleting: None,
            resource_version: 1,
            spec_generation: 1,
            conditions: &conditions,
            started: Some(Timestamp(0)),
            completed: None,
            roles: Vec::new(),
        };
        crate::show(&view)["status"].to_string()
    };
    let start = r#""startTime":"1970-01-01T00:00:00Z""#;
    let plain = |phase: &str| format!(r#"{{"phase":"{phase}",{start}}}"#);
    assert_eq!(shown(ConditionType::Created), plain("Pending"));
    assert_eq!(shown(ConditionType::Running), plain("Running"));
    assert_eq!(shown(ConditionType::Succeeded), plain("Succeeded"));
    assert_eq!(
        shown(ConditionType::Failed),
        format!(r#"{{"phase":"Failed","message":"why",{start}}}"#)
    );
}
