use muster_model::SuccessRule;
use serde_json::{Value, json};

use super::super::IDLE;
use super::*;
use crate::testing::{
    admitted, check_table, environment, errors, files, labels, training_job, warnings, with,
};

const LAUNCHER_MAIN: &str = "spec.mpiReplicaSpecs.Launcher.template.spec.containers.0";
const WORKER_MAIN: &str = "spec.mpiReplicaSpecs.Worker.template.spec.containers.0";

fn whole() -> Value {
    let job = training_job(("MPIJob", SPECS, "any"), &[("Worker", 2), ("Launcher", 1)]);
    with(
        job,
        &[
            ("apiVersion", json!("kubeflow.org/v2beta1")),
            ("spec.slotsPerWorker", json!(2)),
            (&format!("{WORKER_MAIN}.command"), Value::Null),
        ],
    )
}

fn of(implementation: &str) -> Value {
    with(whole(), &[("spec.mpiImplementation", json!(implementation))])
}

fn launcher_works() -> Value {
    with(whole(), &[("spec.runLauncherAsWorker", json!(true))])
}

fn main_of(manifest: &Value, role: usize) -> (Vec<String>, Vec<String>) {
    let gang = admitted(manifest).gang;
    let main = gang.role(RoleIndex(role)).pod.main_container();
    (main.command.clone(), main.args.clone())
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../../testdata/admission/mpijob_v2beta1.txt");
    assert_eq!(check_table(table, |_| whole(), ("$.", "spec.mpiReplicaSpecs.")), 17);
}

#[test]
fn open_mpi_is_told_of_hosts_and_remote_shell() {
    insta::assert_snapshot!(environment(&whole(), 0), @"
    *K_MPI_JOB_ROLE=launcher
    *OMPI_MCA_orte_keep_fqdn_hostnames=true
    *OMPI_MCA_orte_default_hostfile=<files>/etc/mpi/hostfile
    *OMPI_MCA_plm_rsh_args=-o ConnectionAttempts=10
    *OMPI_MCA_orte_set_default_slots=2
    *OMPI_MCA_plm_rsh_agent?=<files>/etc/mpi/kubexec.sh
    *OMPI_MCA_plm_rsh_no_tree_spawn?=1
    *OMPI_MCA_orte_leave_session_attached?=1
    *OMPI_ALLOW_RUN_AS_ROOT?=1
    *OMPI_ALLOW_RUN_AS_ROOT_CONFIRM?=1
    *PRTE_MCA_plm_ssh_agent?=<files>/etc/mpi/kubexec.sh
    *PRTE_MCA_prte_default_hostfile?=<files>/etc/mpi/hostfile
    *NVIDIA_VISIBLE_DEVICES=
    *NVIDIA_DRIVER_CAPABILITIES=
    ");
    insta::assert_snapshot!(files(&whole(), 0), @r#"
    --- /etc/mpi/hostfile 444
    train-worker-0.train.team-a.svc slots=2
    train-worker-1.train.team-a.svc slots=2
    --- /etc/mpi/discover_hosts.sh 555
    #!/bin/sh
    echo train-worker-0.train.team-a.svc
    echo train-worker-1.train.team-a.svc
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    "#);
    assert_eq!(environment(&of("OpenMPI"), 0), environment(&whole(), 0));
}

#[test]
fn intel_mpi_is_told_of_hosts_and_remote_shell() {
    insta::assert_snapshot!(environment(&of("Intel"), 0), @"
    *K_MPI_JOB_ROLE=launcher
    *I_MPI_HYDRA_HOST_FILE=<files>/etc/mpi/hostfile
    *I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS=-o ConnectionAttempts=10
    *I_MPI_PERHOST=2
    *I_MPI_HYDRA_BOOTSTRAP?=ssh
    *I_MPI_HYDRA_BOOTSTRAP_EXEC?=<files>/etc/mpi/kubexec.sh
    *NVIDIA_VISIBLE_DEVICES=
    *NVIDIA_DRIVER_CAPABILITIES=
    ");
    insta::assert_snapshot!(files(&of("Intel"), 0), @r#"
    --- /etc/mpi/hostfile 444
    train-worker-0.train.team-a.svc:2
    train-worker-1.train.team-a.svc:2
    --- /etc/mpi/discover_hosts.sh 555
    #!/bin/sh
    echo train-worker-0.train.team-a.svc
    echo train-worker-1.train.team-a.svc
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    "#);
}

#[test]
fn mpich_is_told_of_hosts_and_remote_shell() {
    insta::assert_snapshot!(environment(&of("MPICH"), 0), @"
    *K_MPI_JOB_ROLE=launcher
    *HYDRA_HOST_FILE=<files>/etc/mpi/hostfile
    *HYDRA_LAUNCH_EXTRA_ARGS=-o ConnectionAttempts=10
    *HYDRA_LAUNCHER?=ssh
    *HYDRA_LAUNCHER_EXEC?=<files>/etc/mpi/kubexec.sh
    *NVIDIA_VISIBLE_DEVICES=
    *NVIDIA_DRIVER_CAPABILITIES=
    ");
    assert_eq!(files(&of("MPICH"), 0), files(&of("Intel"), 0));
}

#[test]
fn workers_know_their_role_only() {
    assert_eq!(environment(&whole(), 1), "*K_MPI_JOB_ROLE=worker");
    assert_eq!(files(&whole(), 1), "");
}

#[test]
fn a_launcher_that_works_is_the_first_host_and_sees_gpus() {
    assert!(!environment(&launcher_works(), 0).contains("NVIDIA"));
    insta::assert_snapshot!(files(&launcher_works(), 0), @r#"
    --- /etc/mpi/hostfile 444
    train-launcher.train.team-a.svc slots=2
    train-worker-0.train.team-a.svc slots=2
    train-worker-1.train.team-a.svc slots=2
    --- /etc/mpi/discover_hosts.sh 555
    #!/bin/sh
    echo train-launcher.train.team-a.svc
    echo train-worker-0.train.team-a.svc
    echo train-worker-1.train.team-a.svc
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    "#);
}

#[test]
fn the_launcher_decides() {
    let gang = admitted(&whole()).gang;
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(gang.role(RoleIndex(0)).name.0, LAUNCHER);
}

#[test]
fn replicas_have_the_names_and_labels_of_the_operator() {
    insta::assert_snapshot!(labels(&whole()), @"
    train-launcher: job-name=train,job-role=launcher,operator-name=mpi-operator
    train-worker-0: job-name=train,job-role=worker,operator-name=mpi-operator,replica-index=0
    train-worker-1: job-name=train,job-role=worker,operator-name=mpi-operator,replica-index=1
    ");
    insta::assert_snapshot!(labels(&launcher_works()), @"
    train-launcher: job-name=train,job-role=launcher,operator-name=mpi-operator,replica-index=0
    train-worker-0: job-name=train,job-role=worker,operator-name=mpi-operator,replica-index=1
    train-worker-1: job-name=train,job-role=worker,operator-name=mpi-operator,replica-index=2
    ");
}

#[test]
fn workers_restart_as_the_launcher_does() {
    let restarts = |changes: &[(&str, Value)]| -> Vec<RestartPolicy> {
        let gang = admitted(&with(whole(), changes)).gang;
        gang.roles.iter().map(|role| role.restart).collect()
    };
    let never = ("spec.mpiReplicaSpecs.Launcher.restartPolicy", json!("Never"));
    let worker = ("spec.mpiReplicaSpecs.Worker.restartPolicy", json!("Never"));
    assert_eq!(restarts(&[]), [RestartPolicy::OnFailure; 2]);
    assert_eq!(restarts(&[worker]), [RestartPolicy::OnFailure; 2]);
    assert_eq!(restarts(&[never]), [RestartPolicy::Never; 2]);
}

#[test]
fn workers_wait_and_start_no_sshd() {
    let idle = || IDLE.map(str::to_owned).to_vec();
    assert_eq!(main_of(&whole(), 1), (idle(), Vec::new()));
    assert_eq!(warnings(&whole()), Vec::<String>::new());
    let command = format!("{WORKER_MAIN}.command");
    let args = format!("{WORKER_MAIN}.args");
    let as_command =
        with(whole(), &[(&command, json!(["/usr/sbin/sshd"])), (&args, json!(["-De"]))]);
    let as_args = with(whole(), &[(&args, json!(["/usr/sbin/sshd", "-De"]))]);
    for sshd in [as_command, as_args] {
        assert_eq!(main_of(&sshd, 1), (idle(), Vec::new()));
        insta::allow_duplicates! {
            insta::assert_snapshot!(warnings(&sshd).join("\n"), @"spec.mpiReplicaSpecs.Worker.template.spec.containers[0]: sshd is not started: ranks come through Muster");
        }
    }
    let other = with(whole(), &[(&command, json!(["serve"]))]);
    assert_eq!(main_of(&other, 1).0, ["serve"]);
}

#[test]
fn arguments_without_a_command_are_the_command() {
    let command = format!("{LAUNCHER_MAIN}.command");
    let args = format!("{LAUNCHER_MAIN}.args");
    let job = with(whole(), &[(&command, Value::Null), (&args, json!(["mpirun", "-n", "2"]))]);
    let words = ["mpirun", "-n", "2"].map(str::to_owned).to_vec();
    assert_eq!(main_of(&job, 0), (words, Vec::new()));
}

#[test]
fn a_job_has_the_version_that_it_was_written_in() {
    let shown = |manifest: &Value| admitted(manifest).manifest["apiVersion"].clone();
    assert_eq!(shown(&whole()), "kubeflow.org/v2beta1");
    let v1 = with(whole(), &[("apiVersion", json!("kubeflow.org/v1"))]);
    assert_eq!(shown(&v1), "kubeflow.org/v1");
    assert_eq!(admitted(&v1).key, admitted(&whole()).key);
    assert_eq!(errors(&whole()), Vec::<String>::new());
    let listed: Vec<&str> = crate::supported().map(|facts| facts.kind).collect();
    assert_eq!(listed.iter().filter(|kind| **kind == "MPIJob").count(), 1);
}
