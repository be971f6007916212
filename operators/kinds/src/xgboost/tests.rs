use serde_json::{Value, json};

use super::*;
use crate::testing::{admitted, check_table, environment, errors, labels, training_job, with};

fn job(types: &[(&str, u32)]) -> Value {
    training_job(("XGBoostJob", SPECS, "xgboost"), types)
}

fn whole() -> Value {
    job(&[("Worker", 2), ("Master", 1)])
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/xgboostjob.txt");
    assert_eq!(check_table(table, |_| whole(), ("$.", "spec.xgbReplicaSpecs.")), 11);
}

#[test]
fn every_replica_finds_the_tracker_and_the_workers() {
    insta::assert_snapshot!(environment(&whole(), 0), @"
    PYTHONUNBUFFERED=1
    MASTER_ADDR=10.0.0.0
    MASTER_PORT=4000
    WORLD_SIZE=3
    RANK=0
    WORKER_PORT=9999
    WORKER_ADDRS=10.0.0.1,10.0.0.2
    MUSTER_ENDPOINTS=10.0.0.0:4000,10.0.0.1:4001,10.0.0.2:4002
    MUSTER_ENDPOINT=10.0.0.0:4000
    ");
    let declared = with(
        whole(),
        &[(
            "spec.xgbReplicaSpecs.Worker.template.spec.containers.0.ports",
            json!([{"name": "xgboostjob-port", "containerPort": 9991}]),
        )],
    );
    insta::assert_snapshot!(environment(&declared, 2), @"
    PYTHONUNBUFFERED=1
    MASTER_ADDR=10.0.0.0
    MASTER_PORT=4000
    WORLD_SIZE=3
    RANK=2
    WORKER_PORT=9991
    WORKER_ADDRS=10.0.0.1,10.0.0.2
    MUSTER_ENDPOINTS=10.0.0.0:4000,10.0.0.1:4001,10.0.0.2:4002
    MUSTER_ENDPOINT=10.0.0.2:4002
    ");
}

#[test]
fn a_master_alone_has_no_workers_to_know() {
    insta::assert_snapshot!(environment(&job(&[("Master", 1)]), 0), @"
    PYTHONUNBUFFERED=1
    MASTER_ADDR=10.0.0.0
    MASTER_PORT=4000
    WORLD_SIZE=1
    RANK=0
    ");
    let none = job(&[("Master", 1), ("Worker", 0)]);
    assert_eq!(environment(&none, 0), environment(&job(&[("Master", 1)]), 0));
}

#[test]
fn the_master_decides() {
    let gang = admitted(&whole()).gang;
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(gang.role(RoleIndex(0)).name.0, MASTER);
    assert_eq!(gang.rendezvous, Rendezvous::None);
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&whole()), @"
    train-master-0: job-name=train,job-role=master,operator-name=xgboostjob-controller,replica-index=0,replica-type=master
    train-worker-0: job-name=train,operator-name=xgboostjob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=xgboostjob-controller,replica-index=1,replica-type=worker
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let gang = admitted(&whole()).gang;
    for role in &gang.roles {
        assert_eq!(role.restart, RestartPolicy::Never);
        let port = &role.pod.main_container().ports[0];
        assert_eq!((port.name.as_str(), port.port), PORT);
    }
    assert_eq!(errors(&whole()), Vec::<String>::new());
}
