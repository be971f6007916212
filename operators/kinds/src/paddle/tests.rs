use serde_json::{Value, json};

use super::*;
use crate::testing::{
    admitted, check_table, environment, errors, labels, training_job, warnings, with,
};

fn job(types: &[(&str, u32)]) -> Value {
    training_job(("PaddleJob", SPECS, "paddle"), types)
}

fn collective() -> Value {
    job(&[("Worker", 2)])
}

fn servers() -> Value {
    job(&[("Worker", 2), ("Master", 2)])
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/paddlejob.txt");
    assert_eq!(check_table(table, |_| servers(), ("$.", "spec.paddleReplicaSpecs.")), 10);
}

#[test]
fn collective_workers_meet_at_the_first() {
    insta::assert_snapshot!(environment(&collective(), 0), @"
    PYTHONUNBUFFERED=1
    PADDLE_JOB_ID=train
    PADDLE_NNODES=2
    POD_IP_DUMMY=10.0.0.0
    PADDLE_MASTER=10.0.0.0:4000
    ");
    insta::assert_snapshot!(environment(&collective(), 1), @"
    PYTHONUNBUFFERED=1
    PADDLE_JOB_ID=train
    PADDLE_NNODES=2
    POD_IP_DUMMY=10.0.0.1
    PADDLE_MASTER=10.0.0.0:4000
    ");
}

#[test]
fn servers_and_trainers_meet_at_the_first_master() {
    insta::assert_snapshot!(environment(&servers(), 1), @"
    PYTHONUNBUFFERED=1
    PADDLE_JOB_ID=train
    PADDLE_NNODES=4
    POD_IP_DUMMY=10.0.0.1
    PADDLE_MASTER=10.0.0.0:4000
    PADDLE_SERVER_NUM=1
    ");
    insta::assert_snapshot!(environment(&servers(), 2), @"
    PYTHONUNBUFFERED=1
    PADDLE_JOB_ID=train
    PADDLE_NNODES=4
    POD_IP_DUMMY=10.0.0.2
    PADDLE_MASTER=10.0.0.0:4000
    PADDLE_TRAINER_NUM=1
    ");
}

#[test]
fn the_masters_decide_else_all_workers() {
    let success = |manifest: &Value| admitted(manifest).gang.success;
    assert_eq!(success(&servers()), SuccessRule::All(RoleIndex(0)));
    assert_eq!(admitted(&servers()).gang.role(RoleIndex(0)).name.0, MASTER);
    assert_eq!(success(&collective()), SuccessRule::All(RoleIndex(0)));
    let no_master = job(&[("Master", 0), ("Worker", 2)]);
    assert_eq!(success(&no_master), SuccessRule::All(RoleIndex(0)));
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&servers()), @"
    train-master-0: job-name=train,job-role=master,operator-name=paddlejob-controller,replica-index=0,replica-type=master
    train-master-1: job-name=train,job-role=master,operator-name=paddlejob-controller,replica-index=1,replica-type=master
    train-worker-0: job-name=train,operator-name=paddlejob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=paddlejob-controller,replica-index=1,replica-type=worker
    ");
    // Collective workers have no master.
    insta::assert_snapshot!(labels(&collective()), @"
    train-worker-0: job-name=train,operator-name=paddlejob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=paddlejob-controller,replica-index=1,replica-type=worker
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let gang = admitted(&collective()).gang;
    let role = gang.role(RoleIndex(0));
    assert_eq!(role.restart, RestartPolicy::OnFailure);
    let port = &role.pod.main_container().ports[0];
    assert_eq!((port.name.as_str(), port.port), ("master", 36_543));
    assert_eq!(errors(&collective()), Vec::<String>::new());
}

#[test]
fn an_elastic_policy_is_accepted_with_a_warning() {
    let elastic = json!({"minReplicas": 1, "maxReplicas": 4, "maxRestarts": 3});
    let warned = warnings(&with(collective(), &[("spec.elasticPolicy", elastic)]));
    insta::assert_snapshot!(warned.join("\n"), @"
    spec.elasticPolicy.minReplicas: accepted, but not acted on; the number of replicas does not change while the job runs
    spec.elasticPolicy.maxReplicas: accepted, but not acted on; the number of replicas does not change while the job runs
    spec.elasticPolicy.maxRestarts: accepted, but not acted on; use runPolicy.backoffLimit
    ");
}
