use serde_json::Value;

use super::*;
use crate::testing::{admitted, check_table, environment, errors, labels, training_job};

fn job(workers: u32) -> Value {
    training_job(("JAXJob", SPECS, "jax"), &[("Worker", workers)])
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/jaxjob.txt");
    assert_eq!(check_table(table, |_| job(2), ("$.", "spec.jaxReplicaSpecs.")), 10);
}

#[test]
fn every_process_finds_the_coordinator() {
    insta::assert_snapshot!(environment(&job(3), 0), @"
    PYTHONUNBUFFERED=1
    COORDINATOR_ADDRESS=10.0.0.0
    COORDINATOR_PORT=4000
    NUM_PROCESSES=3
    PROCESS_ID=0
    ");
    insta::assert_snapshot!(environment(&job(3), 2), @"
    PYTHONUNBUFFERED=1
    COORDINATOR_ADDRESS=10.0.0.0
    COORDINATOR_PORT=4000
    NUM_PROCESSES=3
    PROCESS_ID=2
    ");
}

#[test]
fn all_workers_must_end_well() {
    let gang = admitted(&job(3)).gang;
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(gang.rendezvous, Rendezvous::None);
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&job(2)), @"
    train-worker-0: job-name=train,job-role=master,operator-name=jaxjob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=jaxjob-controller,replica-index=1,replica-type=worker
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let gang = admitted(&job(1)).gang;
    let role = gang.role(RoleIndex(0));
    assert_eq!(role.restart, RestartPolicy::Never);
    let port = &role.pod.main_container().ports[0];
    assert_eq!((port.name.as_str(), port.port), ("jaxjob-port", 6666));
    assert_eq!(errors(&job(1)), Vec::<String>::new());
}
