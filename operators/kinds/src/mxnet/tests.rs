use serde_json::{Value, json};

use super::*;
use crate::testing::{admitted, check_table, environment, labels, training_job, warnings, with};

fn job(mode: &str, types: &[(&str, u32)]) -> Value {
    let job = training_job(("MXJob", SPECS, "mxnet"), types);
    with(job, &[("spec.jobMode", json!(mode))])
}

fn train() -> Value {
    job(TRAIN, &[("Worker", 2), ("Server", 1), ("Scheduler", 1)])
}

fn tune() -> Value {
    let server = "spec.mxReplicaSpecs.TunerServer.template.metadata.annotations.tuner-server-key";
    let types = [("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)];
    with(job(TUNE, &types), &[(server, json!("2080\"ti"))])
}

fn success_of(manifest: &Value) -> SuccessRule {
    admitted(manifest).gang.success
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/mxjob.txt");
    assert_eq!(check_table(table, |_| train(), ("$.", "spec.mxReplicaSpecs.")), 12);
}

#[test]
fn every_replica_is_told_of_the_cluster_and_its_task() {
    insta::assert_snapshot!(environment(&train(), 0), @r#"
    MX_CONFIG={"cluster":{"scheduler":[{"url":"10.0.0.0","port":4000}],"server":[{"url":"10.0.0.1","port":4001}],"worker":[{"url":"10.0.0.2","port":4002},{"url":"10.0.0.3","port":4003}]},"labels":{"scheduler":"","server":"","worker":""},"task":{"type":"scheduler","index":0}}
    DMLC_PS_ROOT_PORT=4000
    DMLC_PS_ROOT_URI=10.0.0.0
    DMLC_NUM_SERVER=1
    DMLC_NUM_WORKER=2
    DMLC_ROLE=scheduler
    DMLC_USE_KUBERNETES=1
    "#);
    insta::assert_snapshot!(environment(&train(), 1), @r#"
    MX_CONFIG={"cluster":{"scheduler":[{"url":"10.0.0.0","port":4000}],"server":[{"url":"10.0.0.1","port":4001}],"worker":[{"url":"10.0.0.2","port":4002},{"url":"10.0.0.3","port":4003}]},"labels":{"scheduler":"","server":"","worker":""},"task":{"type":"server","index":0}}
    DMLC_PS_ROOT_PORT=4000
    DMLC_PS_ROOT_URI=10.0.0.0
    DMLC_NUM_SERVER=1
    DMLC_NUM_WORKER=2
    DMLC_ROLE=server
    DMLC_USE_KUBERNETES=1
    "#);
    insta::assert_snapshot!(environment(&train(), 3), @r#"
    MX_CONFIG={"cluster":{"scheduler":[{"url":"10.0.0.0","port":4000}],"server":[{"url":"10.0.0.1","port":4001}],"worker":[{"url":"10.0.0.2","port":4002},{"url":"10.0.0.3","port":4003}]},"labels":{"scheduler":"","server":"","worker":""},"task":{"type":"worker","index":1}}
    DMLC_PS_ROOT_PORT=4000
    DMLC_PS_ROOT_URI=10.0.0.0
    DMLC_NUM_SERVER=1
    DMLC_NUM_WORKER=2
    DMLC_ROLE=worker
    DMLC_USE_KUBERNETES=1
    DMLC_WORKER_ID=1
    "#);
}

#[test]
fn jobs_that_tune_have_labels_and_no_scheduler() {
    insta::assert_snapshot!(environment(&tune(), 2), @r#"
    MX_CONFIG={"cluster":{"tuner":[{"url":"10.0.0.3","port":4003}],"tunerserver":[{"url":"10.0.0.1","port":4001},{"url":"10.0.0.2","port":4002}],"tunertracker":[{"url":"10.0.0.0","port":4000}]},"labels":{"tuner":"","tunerserver":"2080\"ti","tunertracker":""},"task":{"type":"tunerserver","index":1}}
    DMLC_PS_ROOT_PORT=0
    DMLC_PS_ROOT_URI=
    DMLC_NUM_SERVER=0
    DMLC_NUM_WORKER=0
    DMLC_ROLE=tunerserver
    DMLC_USE_KUBERNETES=1
    "#);
    let text = environment(&tune(), 2);
    let config = text.lines().find_map(|line| line.strip_prefix("MX_CONFIG="));
    let config: Value = serde_json::from_str(config.expect("it is set")).expect("it is JSON");
    assert_eq!(config["labels"]["tunerserver"], "2080\"ti");
}

#[test]
fn the_scheduler_decides_then_the_workers_and_in_tuning_the_tuner() {
    assert_eq!(success_of(&train()), SuccessRule::All(RoleIndex(0)));
    let without_scheduler = job(TRAIN, &[("Server", 1), ("Worker", 2)]);
    assert_eq!(success_of(&without_scheduler), SuccessRule::All(RoleIndex(1)));
    assert_eq!(success_of(&tune()), SuccessRule::All(RoleIndex(2)));
    let trackers = job(TUNE, &[("TunerTracker", 1), ("TunerServer", 1)]);
    assert_eq!(success_of(&trackers), SuccessRule::All(RoleIndex(0)));
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&train()), @"
    train-scheduler-0: job-name=train,operator-name=mxjob-controller,replica-index=0,replica-type=scheduler
    train-server-0: job-name=train,job-role=master,operator-name=mxjob-controller,replica-index=0,replica-type=server
    train-worker-0: job-name=train,operator-name=mxjob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=mxjob-controller,replica-index=1,replica-type=worker
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let gang = admitted(&train()).gang;
    for role in &gang.roles {
        assert_eq!(role.restart, RestartPolicy::Never);
        let port = &role.pod.main_container().ports[0];
        assert_eq!((port.name.as_str(), port.port), ("mxjob-port", 9091));
    }
    insta::assert_snapshot!(warnings(&train()).join("\n"), @"kind: the training operator has no MXJob since v1.9, and MXNet is no longer developed");
}
