use muster_model::{CleanPodPolicy, RestartPolicy, SuccessRule};
use serde_json::{Value, json};

use super::*;
use crate::testing::{
    admitted, check_table, environment, errors, files, labels, training_job, warnings, with,
};

const LIMITS: &str = "spec.mpiReplicaSpecs.Launcher.template.spec.containers.0.resources.limits";

fn job(types: &[(&str, u32)]) -> Value {
    let job = training_job(("MPIJob", SPECS, "mpi"), types);
    with(job, &[("spec.slotsPerWorker", json!(2))])
}

fn whole() -> Value {
    let idle = "spec.mpiReplicaSpecs.Worker.template.spec.containers.0.command";
    with(job(&[("Worker", 2), ("Launcher", 1)]), &[(idle, Value::Null)])
}

fn with_gpus() -> Value {
    with(whole(), &[(LIMITS, json!({"nvidia.com/gpu": 1}))])
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../../testdata/admission/mpijob_v1.txt");
    assert_eq!(check_table(table, |_| whole(), ("$.", "spec.mpiReplicaSpecs.")), 14);
}

#[test]
fn the_launcher_knows_the_hosts_and_the_remote_shell() {
    insta::assert_snapshot!(environment(&whole(), 0), @"
    *OMPI_MCA_plm_rsh_agent?=<files>/etc/mpi/kubexec.sh
    *OMPI_MCA_plm_rsh_no_tree_spawn?=1
    *OMPI_MCA_orte_leave_session_attached?=1
    *OMPI_ALLOW_RUN_AS_ROOT?=1
    *OMPI_ALLOW_RUN_AS_ROOT_CONFIRM?=1
    *PRTE_MCA_plm_ssh_agent?=<files>/etc/mpi/kubexec.sh
    *PRTE_MCA_prte_default_hostfile?=<files>/etc/mpi/hostfile
    *OMPI_MCA_orte_default_hostfile?=<files>/etc/mpi/hostfile
    *I_MPI_HYDRA_BOOTSTRAP?=rsh
    *I_MPI_HYDRA_BOOTSTRAP_EXEC?=<files>/etc/mpi/kubexec.sh
    *NVIDIA_VISIBLE_DEVICES=
    *NVIDIA_DRIVER_CAPABILITIES=
    ");
    insta::assert_snapshot!(files(&whole(), 0), @r#"
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    --- /etc/mpi/hostfile 444
    train-worker-0 slots=2
    train-worker-1 slots=2
    --- /etc/mpi/discover_hosts.sh 555
    #!/bin/sh
    echo train-worker-0:2
    echo train-worker-1:2
    "#);
}

#[test]
fn workers_have_the_remote_shell_only() {
    assert_eq!(environment(&whole(), 1), "");
    insta::assert_snapshot!(files(&whole(), 2), @r#"
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    "#);
}

#[test]
fn a_launcher_with_gpus_is_a_host_and_sees_them() {
    assert!(!environment(&with_gpus(), 0).contains("NVIDIA"));
    insta::assert_snapshot!(files(&with_gpus(), 0), @r#"
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    --- /etc/mpi/hostfile 444
    train-launcher slots=2
    train-worker-0 slots=2
    train-worker-1 slots=2
    --- /etc/mpi/discover_hosts.sh 555
    #!/bin/sh
    echo train-worker-0:2
    echo train-worker-1:2
    "#);
}

#[test]
fn ranks_start_in_the_container_that_the_job_names() {
    let named = with(whole(), &[("spec.mainContainer", json!("mpi"))]);
    insta::assert_snapshot!(files(&named, 1), @r#"
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh --container 'mpi' "$@"
    "#);
}

#[test]
fn the_launcher_decides() {
    let gang = admitted(&whole()).gang;
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(gang.role(RoleIndex(0)).name.0, LAUNCHER);
    // A Launcher alone starts its ranks itself.
    let alone = job(&[("Launcher", 1)]);
    assert_eq!(admitted(&alone).gang.size(), 1);
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&whole()), @"
    train-launcher: job-name=train,job-role=master,operator-name=mpijob-controller,replica-type=launcher
    train-worker-0: job-name=train,operator-name=mpijob-controller,replica-index=0,replica-type=worker
    train-worker-1: job-name=train,operator-name=mpijob-controller,replica-index=1,replica-type=worker
    ");
}

#[test]
fn defaults_are_those_of_the_operator() {
    let unnumbered = with(whole(), &[("spec.mpiReplicaSpecs.Launcher.replicas", Value::Null)]);
    let gang = admitted(&unnumbered).gang;
    assert_eq!(gang.size(), 3);
    assert!(gang.roles.iter().all(|role| role.restart == RestartPolicy::Never));
    assert_eq!(gang.role(RoleIndex(1)).pod.main_container().command, ["sleep", "365d"]);
    assert_eq!(errors(&whole()), Vec::<String>::new());
    assert_eq!(warnings(&whole()), Vec::<String>::new());
    let no_workers = with(whole(), &[("spec.mpiReplicaSpecs.Worker.replicas", Value::Null)]);
    assert_eq!(admitted(&no_workers).gang.size(), 1);
    let no_slots = with(whole(), &[("spec.slotsPerWorker", Value::Null)]);
    assert!(files(&no_slots, 0).contains("slots=1\n"));
}

#[test]
fn the_run_policy_wins_over_the_older_field() {
    let clean = |changes: &[(&str, Value)]| {
        admitted(&with(whole(), changes)).gang.run_policy.clean_pod_policy
    };
    let older = ("spec.cleanPodPolicy", json!("All"));
    let newer = ("spec.runPolicy.cleanPodPolicy", json!("Running"));
    assert_eq!(clean(&[]), CleanPodPolicy::None);
    assert_eq!(clean(std::slice::from_ref(&older)), CleanPodPolicy::All);
    assert_eq!(clean(&[older, newer]), CleanPodPolicy::Running);
}

#[test]
fn variables_of_the_job_win_where_upstream_lets_them() {
    let own = json!([{"name": "OMPI_MCA_plm_rsh_agent", "value": "ssh"}]);
    let path = "spec.mpiReplicaSpecs.Launcher.template.spec.containers.0.env";
    assert_eq!(warnings(&with(whole(), &[(path, own)])), Vec::<String>::new());
    assert!(environment(&whole(), 0).contains("OMPI_MCA_plm_rsh_agent?="));
}
