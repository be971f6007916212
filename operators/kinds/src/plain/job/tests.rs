use muster_model::{Condition, Conditions, Millis, Timestamp, Uid};

use super::*;
use crate::testing::{admitted, check_table, environment, errors, warnings, with, yaml};
use crate::{replica_labels, selector};

fn job() -> Value {
    yaml(
        r"
apiVersion: batch/v1
kind: Job
metadata: {name: sweep}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: 'python:3', command: [python, trial.py]}
",
    )
}

fn indexed() -> Value {
    let changes = [
        ("spec.completionMode", json!("Indexed")),
        ("spec.completions", json!(3)),
        ("spec.parallelism", json!(3)),
    ];
    with(job(), &changes)
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../../testdata/admission/job.txt");
    assert_eq!(check_table(table, |_| job(), ("$.", "spec.template.spec.")), 14);
}

#[test]
fn a_job_is_one_pod_unless_it_says_otherwise() {
    let size = |changes: &[(&str, Value)]| admitted(&with(job(), changes)).gang.size();
    assert_eq!(size(&[]), 1);
    assert_eq!(size(&[("spec.completions", json!(3))]), 3);
    assert_eq!(size(&[("spec.parallelism", json!(4))]), 4);
    assert_eq!(size(&[("spec.completions", json!(3)), ("spec.parallelism", json!(4))]), 3);
    assert_eq!(errors(&job()), Vec::<String>::new());
    assert_eq!(warnings(&indexed()), Vec::<String>::new());
    assert_eq!(
        warnings(&with(indexed(), &[("spec.parallelism", json!(2))])),
        ["spec.parallelism: all 3 pods run at the same time, not 2"]
    );
}

#[test]
fn indexed_pods_know_their_index() {
    assert_eq!(environment(&indexed(), 2), "JOB_COMPLETION_INDEX=2");
    assert_eq!(environment(&job(), 0), "");
}

#[test]
fn pods_have_the_names_and_labels_of_the_job_controller() {
    let lines = |manifest: &Value| {
        let crate::Admitted { key, gang, .. } = admitted(manifest);
        let line = |(rank, role, index)| {
            let labels = selector(&replica_labels(&key, &gang, rank));
            format!("{}: {labels}", gang.role(role).replica_name(&key.name, index))
        };
        gang.ranks().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(lines(&job()), @"sweep-0: batch.kubernetes.io/job-name=sweep,job-name=sweep");
    insta::assert_snapshot!(lines(&indexed()), @"
    sweep-0: batch.kubernetes.io/job-completion-index=0,batch.kubernetes.io/job-name=sweep,job-name=sweep
    sweep-1: batch.kubernetes.io/job-completion-index=1,batch.kubernetes.io/job-name=sweep,job-name=sweep
    sweep-2: batch.kubernetes.io/job-completion-index=2,batch.kubernetes.io/job-name=sweep,job-name=sweep
    ");
}

#[test]
fn policies_stand_in_the_spec() {
    let policy = |changes: &[(&str, Value)]| admitted(&with(job(), changes)).gang.run_policy;
    assert_eq!(policy(&[]).backoff_limit, Some(6));
    let changes = [
        ("spec.backoffLimit", json!(0)),
        ("spec.activeDeadlineSeconds", json!(5)),
        ("spec.ttlSecondsAfterFinished", json!(0)),
        ("spec.suspend", json!(true)),
    ];
    let changed = policy(&changes);
    assert_eq!(changed.backoff_limit, Some(0));
    assert_eq!(changed.active_deadline, Some(Millis::from_secs(5)));
    assert_eq!(changed.ttl_after_finished, Some(Millis(0)));
    assert!(changed.suspend);
}

fn shown(kind: ConditionType, counts: (u32, u32, u32)) -> Value {
    let admitted = admitted(&job());
    let mut conditions = Conditions::default();
    for kind in [ConditionType::Created, kind] {
        conditions.set(Condition {
            kind,
            status: true,
            reason: "r".into(),
            message: "why".into(),
            updated: Timestamp(0),
            transitioned: Timestamp(0),
        });
    }
    let (active, succeeded, failed) = counts;
    let role = admitted.gang.role(RoleIndex(0)).name.clone();
    crate::show(&JobView {
        key: &admitted.key,
        manifest: &admitted.manifest,
        uid: &Uid("u".into()),
        created: Timestamp(0),
        deleting: None,
        resource_version: 1,
        spec_generation: 1,
        conditions: &conditions,
        started: Some(Timestamp(0)),
        completed: Some(Timestamp(1000)),
        roles: vec![crate::RoleCounts { role, active, succeeded, failed }],
    })
}

#[test]
fn the_status_is_that_of_the_job_controller() {
    let complete = shown(ConditionType::Succeeded, (0, 1, 0));
    insta::assert_snapshot!(serde_json::to_string_pretty(&complete["status"]).expect("is JSON"), @r#"
    {
      "conditions": [
        {
          "type": "Complete",
          "status": "True",
          "reason": "CompletionsReached",
          "message": "why",
          "lastProbeTime": "1970-01-01T00:00:00Z",
          "lastTransitionTime": "1970-01-01T00:00:00Z"
        }
      ],
      "succeeded": 1,
      "startTime": "1970-01-01T00:00:00Z",
      "completionTime": "1970-01-01T00:00:01Z"
    }
    "#);
    assert_eq!(complete["spec"]["completions"], 1);
    let failed = shown(ConditionType::Failed, (0, 0, 1))["status"].clone();
    assert_eq!(failed["conditions"][0]["type"], "Failed");
    assert_eq!((&failed["failed"], failed.get("completionTime")), (&json!(1), None));
    let running = shown(ConditionType::Running, (1, 0, 0))["status"].clone();
    assert_eq!((&running["active"], running.get("conditions")), (&json!(1), None));
}
