use muster_model::{Condition, Rank, RoleIndex};

use super::*;
use crate::replica::replica_labels;
use crate::testing::{admitted, job, with, workers};

fn condition(kind: ConditionType, holds: bool, at: u64) -> Condition {
    let kind_name = muster_model::JobKind("PyTorchJob".into());
    Condition {
        kind,
        status: holds,
        reason: kind.reason(&kind_name, holds),
        message: "m".into(),
        updated: Timestamp(at),
        transitioned: Timestamp(at),
    }
}

fn counts(role: &str, [active, succeeded, failed]: [u32; 3]) -> RoleCounts {
    let role = RoleName(role.into());
    RoleCounts { role, active, succeeded, failed }
}

#[test]
fn a_job_is_shown_as_upstream_shows_it() {
    let labels = json!({"team": "a"});
    let admitted = admitted(&with(
        job(),
        &[("metadata.labels", labels), ("status", json!({"conditions": []}))],
    ));
    let mut conditions = Conditions::default();
    conditions.set(condition(ConditionType::Created, true, 1_795_426_506_000));
    conditions.set(condition(ConditionType::Running, true, 1_795_426_516_000));
    conditions.set(condition(ConditionType::Succeeded, true, 1_795_426_526_000));
    let shown = show(&JobView {
        key: &admitted.key,
        manifest: &admitted.manifest,
        uid: &Uid("11111111-2222-4333-8444-555555555555".into()),
        created: Timestamp(1_795_426_506_123),
        deleting: Some(Timestamp(1_795_426_606_000)),
        resource_version: 42,
        spec_generation: 1,
        conditions: &conditions,
        started: Some(Timestamp(1_795_426_507_000)),
        completed: Some(Timestamp(1_795_426_526_000)),
        roles: vec![counts("Master", [0, 1, 0]), counts("Worker", [1, 0, 1])],
    });
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown["metadata"]).unwrap(), @r#"
    {
      "name": "ddp",
      "namespace": "team-a",
      "labels": {
        "team": "a"
      },
      "uid": "11111111-2222-4333-8444-555555555555",
      "resourceVersion": "42",
      "generation": 1,
      "creationTimestamp": "2026-11-23T09:35:06Z",
      "deletionTimestamp": "2026-11-23T09:36:46Z"
    }
    "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown["status"]).unwrap(), @r#"
    {
      "conditions": [
        {
          "type": "Created",
          "status": "True",
          "reason": "PyTorchJobCreated",
          "message": "m",
          "lastUpdateTime": "2026-11-23T09:35:06Z",
          "lastTransitionTime": "2026-11-23T09:35:06Z"
        },
        {
          "type": "Running",
          "status": "False",
          "reason": "PyTorchJobRunning",
          "message": "m",
          "lastUpdateTime": "2026-11-23T09:35:26Z",
          "lastTransitionTime": "2026-11-23T09:35:26Z"
        },
        {
          "type": "Succeeded",
          "status": "True",
          "reason": "PyTorchJobSucceeded",
          "message": "m",
          "lastUpdateTime": "2026-11-23T09:35:26Z",
          "lastTransitionTime": "2026-11-23T09:35:26Z"
        }
      ],
      "replicaStatuses": {
        "Master": {
          "succeeded": 1,
          "selector": "training.kubeflow.org/job-name=ddp,training.kubeflow.org/operator-name=pytorchjob-controller,training.kubeflow.org/replica-type=master"
        },
        "Worker": {
          "succeeded": 1,
          "failed": 1,
          "selector": "training.kubeflow.org/job-name=ddp,training.kubeflow.org/operator-name=pytorchjob-controller,training.kubeflow.org/replica-type=worker"
        }
      },
      "startTime": "2026-11-23T09:35:07Z",
      "completionTime": "2026-11-23T09:35:26Z"
    }
    "#);
    assert_eq!(shown["spec"]["runPolicy"], json!({}));
    let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["apiVersion", "kind", "metadata", "spec", "status"]);
}

#[test]
fn a_job_of_another_controller_has_an_empty_status() {
    let policy = json!({"managedBy": "kueue.x-k8s.io/multikueue"});
    let admitted = admitted(&with(job(), &[("spec.runPolicy", policy.clone())]));
    assert!(admitted.managed_by_other);
    let shown = show(&JobView {
        key: &admitted.key,
        manifest: &admitted.manifest,
        uid: &Uid("u".into()),
        created: Timestamp(0),
        deleting: None,
        resource_version: 1,
        spec_generation: 1,
        conditions: &Conditions::default(),
        started: None,
        completed: None,
        roles: Vec::new(),
    });
    assert_eq!(shown["status"], json!({}));
    assert_eq!(shown["spec"]["runPolicy"], policy);
    assert_eq!(shown["metadata"].get("deletionTimestamp"), None);
}

#[test]
fn replicas_carry_the_labels_of_the_operator() {
    let template = "spec.pytorchReplicaSpecs.Worker.template.metadata.labels";
    let own = json!({"app": "x", "training.kubeflow.org/job-name": "other"});
    let with_master = admitted(&with(job(), &[(template, own)]));
    let lines = |rank| {
        let labels = replica_labels(&with_master.key, &with_master.gang, Rank(rank));
        selector(&labels).replace(',', "\n")
    };
    insta::assert_snapshot!(lines(0), @"
    training.kubeflow.org/job-name=ddp
    training.kubeflow.org/job-role=master
    training.kubeflow.org/operator-name=pytorchjob-controller
    training.kubeflow.org/replica-index=0
    training.kubeflow.org/replica-type=master
    ");
    insta::assert_snapshot!(lines(2), @"
    app=x
    training.kubeflow.org/job-name=ddp
    training.kubeflow.org/operator-name=pytorchjob-controller
    training.kubeflow.org/replica-index=1
    training.kubeflow.org/replica-type=worker
    ");
    assert_eq!(lines(3), "");
    let without = admitted(&workers());
    let master = |rank| {
        let labels = replica_labels(&without.key, &without.gang, Rank(rank));
        labels.get("training.kubeflow.org/job-role").cloned()
    };
    assert_eq!((master(0).as_deref(), master(1)), (Some("master"), None));
    let name = without.gang.role(RoleIndex(0)).replica_name(&without.key.name, 1);
    assert_eq!(name, "ddp-worker-1");
}
