use serde_json::{Value, json};

use super::*;
use crate::testing::{
    admitted, check_table, environment, errors, labels, training_job, warnings, with,
};

fn job(types: &[(&str, u32)]) -> Value {
    training_job(("TFJob", SPECS, "tensorflow"), types)
}

fn whole() -> Value {
    job(&[("PS", 2), ("Worker", 2), ("Chief", 1), ("Evaluator", 1)])
}

fn base(name: &str) -> Value {
    match name {
        "whole" => whole(),
        "workers" => job(&[("Worker", 2)]),
        other => panic!("{other} is no base"),
    }
}

fn success_of(manifest: &Value) -> SuccessRule {
    admitted(manifest).gang.success
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/tfjob.txt");
    assert_eq!(check_table(table, base, ("$.", "spec.tfReplicaSpecs.")), 13);
}

#[test]
fn every_replica_is_told_of_the_cluster_and_its_task() {
    insta::assert_snapshot!(environment(&whole(), 0), @r#"*TF_CONFIG={"cluster":{"chief":["10.0.0.0:4000"],"evaluator":["10.0.0.5:4005"],"ps":["10.0.0.3:4003","10.0.0.4:4004"],"worker":["10.0.0.1:4001","10.0.0.2:4002"]},"task":{"type":"chief","index":0},"environment":"cloud"}"#);
    insta::assert_snapshot!(environment(&whole(), 2), @r#"*TF_CONFIG={"cluster":{"chief":["10.0.0.0:4000"],"evaluator":["10.0.0.5:4005"],"ps":["10.0.0.3:4003","10.0.0.4:4004"],"worker":["10.0.0.1:4001","10.0.0.2:4002"]},"task":{"type":"worker","index":1},"environment":"cloud"}"#);
    insta::assert_snapshot!(environment(&whole(), 5), @r#"*TF_CONFIG={"cluster":{"chief":["10.0.0.0:4000"],"evaluator":["10.0.0.5:4005"],"ps":["10.0.0.3:4003","10.0.0.4:4004"],"worker":["10.0.0.1:4001","10.0.0.2:4002"]},"task":{"type":"evaluator","index":0},"environment":"cloud"}"#);
}

#[test]
fn a_single_replica_trains_by_itself() {
    assert_eq!(environment(&job(&[("Worker", 1)]), 0), "");
    assert_eq!(environment(&job(&[("Worker", 1), ("PS", 0)]), 0), "");
    assert!(!environment(&job(&[("Worker", 1), ("PS", 1)]), 0).is_empty());
}

#[test]
fn dynamic_workers_see_what_they_need() {
    let dynamic = with(whole(), &[("spec.enableDynamicWorker", json!(true))]);
    insta::assert_snapshot!(environment(&dynamic, 0), @r#"*TF_CONFIG={"cluster":{"worker":{},"ps":[]},"task":{"type":"chief","index":0}}"#);
    insta::assert_snapshot!(environment(&dynamic, 2), @r#"*TF_CONFIG={"cluster":{"worker":{"1":"10.0.0.2:4002"},"ps":["10.0.0.3:4003","10.0.0.4:4004"]},"task":{"type":"worker","index":1}}"#);
    insta::assert_snapshot!(environment(&dynamic, 4), @r#"*TF_CONFIG={"cluster":{"worker":{},"ps":["10.0.0.4:4004"]},"task":{"type":"ps","index":1}}"#);
}

#[test]
fn every_listed_replica_holds_a_port_and_no_store_is_needed() {
    let gang = admitted(&whole()).gang;
    assert!((0..gang.roles.len()).all(|role| gang.reserves_ports(RoleIndex(role))));
    assert_eq!(gang.rendezvous, Rendezvous::None);
    let alone = admitted(&job(&[("Worker", 1)])).gang;
    assert!(!alone.reserves_ports(RoleIndex(0)) && !alone.mentions_peers());
}

#[test]
fn the_chief_decides_then_the_first_worker_or_all() {
    let policy = |value: &str| [("spec.successPolicy", json!(value))];
    assert_eq!(success_of(&whole()), SuccessRule::All(RoleIndex(0)));
    assert_eq!(success_of(&with(whole(), &policy("AllWorkers"))), SuccessRule::All(RoleIndex(0)));
    let master = job(&[("Worker", 2), ("Master", 1)]);
    assert_eq!(success_of(&master), SuccessRule::All(RoleIndex(0)));
    let workers = job(&[("PS", 1), ("Worker", 3)]);
    assert_eq!(success_of(&workers), SuccessRule::First(RoleIndex(0)));
    assert_eq!(success_of(&with(workers.clone(), &policy(""))), SuccessRule::First(RoleIndex(0)));
    assert_eq!(success_of(&with(workers, &policy("AllWorkers"))), SuccessRule::All(RoleIndex(0)));
    // A type without replicas decides nothing.
    let absent = job(&[("Chief", 0), ("Worker", 1)]);
    assert_eq!(success_of(&absent), SuccessRule::First(RoleIndex(0)));
}

#[test]
fn a_job_without_chief_and_workers_ends_with_what_it_has() {
    let servers = job(&[("PS", 2), ("Evaluator", 1)]);
    assert_eq!(success_of(&servers), SuccessRule::All(RoleIndex(0)));
    assert_eq!(
        warnings(&servers),
        [
            "spec.tfReplicaSpecs.PS: without a Chief and without Workers, the job has succeeded when all PS replicas have"
        ]
    );
}

#[test]
fn types_are_read_in_any_case_and_ranked_in_a_fixed_order() {
    let gang = admitted(&job(&[("ps", 1), ("WORKER", 2), ("chief", 1)])).gang;
    let names: Vec<&str> = gang.roles.iter().map(|role| role.name.0.as_str()).collect();
    assert_eq!(names, ["Chief", "Worker", "PS"]);
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&whole()), @"
    train-chief-0: job-name=train,job-role=master,operator-name=tfjob-controller,replica-index=0,replica-type=chief
    train-worker-0: job-name=train,operator-name=tfjob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=tfjob-controller,replica-index=1,replica-type=worker
    train-ps-0: job-name=train,operator-name=tfjob-controller,replica-index=0,replica-type=ps
    train-ps-1: job-name=train,operator-name=tfjob-controller,replica-index=1,replica-type=ps
    train-evaluator-0: job-name=train,operator-name=tfjob-controller,replica-index=0,replica-type=evaluator
    ");
    let workers = job(&[("PS", 1), ("Worker", 2)]);
    insta::assert_snapshot!(labels(&workers), @"
    train-worker-0: job-name=train,job-role=master,operator-name=tfjob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=tfjob-controller,replica-index=1,replica-type=worker
    train-ps-0: job-name=train,operator-name=tfjob-controller,replica-index=0,replica-type=ps
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let gang = admitted(&job(&[("Worker", 2)])).gang;
    let role = gang.role(RoleIndex(0));
    assert_eq!(role.restart, RestartPolicy::Never);
    let ports = &role.pod.main_container().ports;
    assert_eq!((ports[0].name.as_str(), ports[0].port), ("tfjob-port", 2222));
}

#[test]
fn a_dynamic_worker_that_fails_restarts_the_gang() {
    let dynamic = with(whole(), &[("spec.enableDynamicWorker", json!(true))]);
    let restarts: Vec<RestartPolicy> =
        admitted(&dynamic).gang.roles.iter().map(|role| role.restart).collect();
    let never = RestartPolicy::Never;
    assert_eq!(restarts, [never, RestartPolicy::OnFailure, never, never]);
}

#[test]
fn policies_of_older_manifests_are_read_unless_there_is_a_newer_one() {
    let older = [
        ("spec.cleanPodPolicy", json!("All")),
        ("spec.ttlSecondsAfterFinished", json!(60)),
        ("spec.backoffLimit", json!(3)),
        ("spec.runPolicy", json!({"backoffLimit": 4})),
    ];
    let policy = admitted(&with(whole(), &older)).gang.run_policy;
    assert_eq!(policy.clean_pod_policy, muster_model::CleanPodPolicy::All);
    assert_eq!(policy.ttl_after_finished, Some(muster_model::Millis::from_secs(60)));
    assert_eq!(policy.backoff_limit, Some(4));
}

#[test]
fn a_job_that_sets_the_cluster_itself_is_warned() {
    let container = "spec.tfReplicaSpecs.Worker.template.spec.containers.0.env";
    let own = json!([{"name": "TF_CONFIG", "value": "{}"}]);
    let warned = warnings(&with(whole(), &[(container, own)]));
    assert_eq!(
        warned,
        [
            "spec.tfReplicaSpecs.Worker.template.spec.containers[0].env[0]: the job sets TF_CONFIG itself, and its value is used"
        ]
    );
    assert_eq!(errors(&whole()), Vec::<String>::new());
}
