use muster_model::{Condition, ConditionType, Conditions, EnvSource, Millis, Timestamp, Uid};
use serde_json::{Value, json};

use super::*;
use crate::testing::{
    admitted, check_table, context, environment, errors, files, warnings, with, yaml,
};
use crate::{AdmitContext, Rejection, admit, parse_documents, replica_labels, selector};

fn job(runtime: &str) -> Value {
    json!({
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {
            "runtimeRef": {"name": runtime},
            "trainer": {"command": ["torchrun", "train.py"], "numNodes": 2},
        },
    })
}

fn torch() -> Value {
    job("torch-distributed")
}

fn mpi() -> Value {
    with(job("mpi-distributed"), &[("spec.trainer.numNodes", json!(3))])
}

/// A runtime of team-a, whose one job trains, with these changes.
fn runtime(changes: &[(&str, Value)]) -> Value {
    let base = yaml(
        r"
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainingRuntime
metadata: {name: own, namespace: team-a}
spec:
  mlPolicy: {numNodes: 4}
  template:
    spec:
      replicatedJobs:
      - name: node
        template:
          spec:
            template:
              spec:
                containers:
                - name: node
                  image: python:3
                  command: [python, -m, own]
                  env: [{name: A, value: '1'}, {name: B, value: '2'}]
                  resources: {limits: {cpu: 2}, requests: {memory: 1Gi}}
",
    );
    with(base, changes)
}

fn own(changes: &[(&str, Value)]) -> Value {
    let reference = json!({"name": "own", "kind": "TrainingRuntime"});
    let base = [("spec.runtimeRef", reference), ("spec.trainer", Value::Null)];
    with(with(torch(), &base), changes)
}

fn admit_with(runtime: Value, manifest: &Value) -> Result<crate::Admitted, Rejection> {
    let runtimes = Runtimes::with([runtime]);
    admit(manifest, &AdmitContext { runtimes, ..context() })
}

fn gang(runtime: Value, manifest: &Value) -> GangSpec {
    admit_with(runtime, manifest).unwrap_or_else(|rejection| panic!("{rejection}")).gang
}

fn base(name: &str) -> Value {
    match name {
        "torch" => torch(),
        "mpi" => mpi(),
        "xgboost" => job("xgboost-distributed"),
        other => panic!("{other} is no base"),
    }
}

#[test]
fn bad_manifests_are_refused_with_all_that_is_wrong() {
    let table = include_str!("../../testdata/admission/trainjob.txt");
    assert_eq!(check_table(table, base, ("$.", "spec.trainer.")), 28);
}

#[test]
fn shipped_runtimes_are_read_and_can_be_used() {
    let documents = parse_documents(include_bytes!("shipped.yaml")).expect("they are YAML");
    assert_eq!(documents.len(), Runtimes::shipped().iter().count());
    for runtime in Runtimes::shipped().iter() {
        let name = runtime["metadata"]["name"].as_str().expect("has a name");
        assert!(runtime["metadata"]["labels"]["trainer.kubeflow.org/framework"].is_string());
        assert_eq!(errors(&job(name)), Vec::<String>::new(), "{name}");
        assert_eq!(warnings(&job(name)), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn torchrun_is_told_of_nodes_and_processes() {
    insta::assert_snapshot!(environment(&torch(), 1), @"
    *PET_NNODES=2
    *PET_NPROC_PER_NODE=1
    *PET_NODE_RANK=1
    *PET_MASTER_ADDR=10.0.0.0
    *PET_MASTER_PORT=4000
    *PET_LOCAL_ADDR?=10.0.0.1
    ");
    let processes = |changes: &[(&str, Value)]| {
        let text = environment(&with(torch(), changes), 0);
        let line = text.lines().find_map(|line| line.strip_prefix("*PET_NPROC_PER_NODE="));
        line.expect("it is set").to_owned()
    };
    let resources = |value: Value| ("spec.trainer.resourcesPerNode", value);
    assert_eq!(processes(&[resources(json!({"requests": {"cpu": 3}}))]), "3");
    assert_eq!(processes(&[resources(json!({"limits": {"cpu": "500m"}}))]), "1");
    let gpus = resources(json!({"limits": {"nvidia.com/gpu": 4, "cpu": 8}}));
    assert_eq!(processes(std::slice::from_ref(&gpus)), "auto");
    assert_eq!(processes(&[gpus, ("spec.trainer.numProcPerNode", json!(2))]), "2");
    assert_eq!(processes(&[("spec.trainer.numProcPerNode", json!("gpu"))]), "gpu");
    // A job without a trainer is told, too.
    let without = with(torch(), &[("spec.trainer", Value::Null)]);
    assert!(environment(&without, 0).contains("PET_NNODES=1"));
}

#[test]
fn jax_processes_find_their_coordinator() {
    insta::assert_snapshot!(environment(&job("jax-distributed"), 1), @"
    *JAX_NUM_PROCESSES=2
    *JAX_PROCESS_ID=1
    *JAX_COORDINATOR_ADDRESS=10.0.0.0:4000
    ");
}

#[test]
fn xgboost_workers_find_their_tracker() {
    insta::assert_snapshot!(environment(&job("xgboost-distributed"), 1), @"
    *DMLC_TRACKER_URI=10.0.0.0
    *DMLC_TRACKER_PORT=4000
    *DMLC_TASK_ID=1
    *DMLC_NUM_WORKER=2
    ");
    let gpus = json!({"limits": {"nvidia.com/gpu": 4}});
    let several = with(job("xgboost-distributed"), &[("spec.trainer.resourcesPerNode", gpus)]);
    assert!(environment(&several, 0).contains("DMLC_NUM_WORKER=8"));
}

#[test]
fn mpi_has_a_launcher_that_is_a_node() {
    insta::assert_snapshot!(environment(&mpi(), 0), @"
    *OMPI_MCA_orte_default_hostfile=<files>/etc/mpi/hostfile
    *OMPI_MCA_orte_keep_fqdn_hostnames=true
    *OMPI_MCA_orte_set_default_slots=1
    *OMPI_MCA_plm_rsh_args=-o ConnectionAttempts=10
    *OMPI_MCA_plm_rsh_agent?=<files>/etc/mpi/kubexec.sh
    *OMPI_MCA_plm_rsh_no_tree_spawn?=1
    *OMPI_MCA_orte_leave_session_attached?=1
    *OMPI_ALLOW_RUN_AS_ROOT?=1
    *OMPI_ALLOW_RUN_AS_ROOT_CONFIRM?=1
    *PRTE_MCA_plm_ssh_agent?=<files>/etc/mpi/kubexec.sh
    *PRTE_MCA_prte_default_hostfile?=<files>/etc/mpi/hostfile
    ");
    insta::assert_snapshot!(files(&mpi(), 0), @r#"
    --- /etc/mpi/hostfile 444
    train-node-0-0.train slots=1
    train-node-0-1.train slots=1
    train-launcher-0-0.train slots=1
    --- /etc/mpi/kubexec.sh 555
    #!/bin/sh
    exec "${MUSTER_BINARY:-muster}" rsh "$@"
    "#);
    assert_eq!(environment(&mpi(), 1), "");
    let gang = admitted(&mpi()).gang;
    let sizes: Vec<(&str, u32)> =
        gang.roles.iter().map(|role| (role.name.0.as_str(), role.replicas)).collect();
    assert_eq!(sizes, [("launcher", 1), ("node", 2)]);
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(gang.role(RoleIndex(1)).pod.main_container().command, crate::mpi::IDLE);
    assert_eq!(gang.role(RoleIndex(0)).pod.main_container().command[0], "torchrun");
    // There is always a node beside it.
    let one = with(mpi(), &[("spec.trainer.numNodes", json!(1))]);
    assert_eq!(admitted(&one).gang.size(), 2);
}

#[test]
fn nodes_of_mpi_start_no_sshd() {
    let mpi = json!({"mpi": {"numProcPerNode": 2}});
    let node = "spec.template.spec.replicatedJobs.0";
    let sshd = json!(["/usr/sbin/sshd", "-De"]);
    let command = format!("{node}.template.spec.template.spec.containers.0.command");
    let launcher = json!({
        "name": "launcher",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": {"spec": {"containers": [
                {"name": "node", "image": "i", "command": ["mpirun", "a"]},
            ]}}},
        },
    });
    let changes = [
        ("spec.mlPolicy", mpi),
        (&*command, sshd),
        ("spec.template.spec.replicatedJobs.1", launcher),
    ];
    let found = admit_with(runtime(&changes), &own(&[])).expect("is right");
    let notes: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "runtime.node.template.spec.containers[0]: sshd is not started: ranks come through Muster"
        ]
    );
    let node = found.gang.role(RoleIndex(1));
    assert_eq!(node.pod.main_container().command, crate::mpi::IDLE);
    // The launcher is no node here.
    let launcher = found.gang.role(RoleIndex(0));
    assert_eq!((launcher.replicas, node.replicas), (1, 1));
}

#[test]
fn the_trainer_changes_the_container_that_trains() {
    let trainer = json!({
        "image": "python:3.12",
        "args": ["--fast"],
        "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        "resourcesPerNode": {"limits": {"memory": "2Gi"}},
    });
    let gang = gang(runtime(&[]), &own(&[("spec.trainer", trainer)]));
    let role = gang.role(RoleIndex(0));
    let main = role.pod.main_container();
    assert_eq!(role.replicas, 4);
    assert_eq!(main.image, "python:3.12");
    assert_eq!(
        (&main.command[2..], &main.args[..]),
        (&["own".to_owned()][..], &["--fast".to_owned()][..])
    );
    let env: Vec<(&str, &EnvSource)> =
        main.env.iter().map(|variable| (variable.name.as_str(), &variable.source)).collect();
    let value = |text: &str| EnvSource::Value(text.to_owned());
    assert_eq!(env, [("A", &value("1")), ("B", &value("3")), ("C", &value("4"))]);
    let limit = |name: &str| main.limits.iter().find(|(known, _)| known.0 == name).map(|(_, n)| n);
    assert_eq!((limit("cpu"), limit("memory")), (Some(2000), Some(2 << 30)));
}

#[test]
fn three_generations_of_patches_say_the_same() {
    let pod = json!({
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "containers": [
            {"name": "node", "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
        ],
    });
    let mut flat = pod.clone();
    flat["targetJobs"] = json!([{"name": "node"}]);
    let template = json!({"targetJobs": [{"name": "node"}], "spec": pod});
    let newest = json!({
        "manager": "example.org/team",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [
            {"name": "node", "template": {"spec": {"template": {"spec": pod}}}},
        ]}}},
    });
    let read = |field: &str, patch: Value| gang(runtime(&[]), &own(&[(field, json!([patch]))]));
    let gangs = [
        read("spec.podSpecOverrides", flat),
        read("spec.podTemplateOverrides", template),
        read("spec.runtimePatches", newest),
    ];
    assert!(gangs.windows(2).all(|pair| pair[0] == pair[1]));
    let role = gangs[0].role(RoleIndex(0));
    assert_eq!(role.pod.node_selector["zone"], "a");
    assert_eq!(role.pod.volumes.len(), 1);
    assert_eq!(role.pod.main_container().mounts.len(), 1);
    assert_eq!(role.pod.main_container().command, ["python", "-m", "own"]);
    // Without targets, all jobs are meant.
    let all = read("spec.podTemplateOverrides", json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(all.role(RoleIndex(0)).pod.labels["a"], "b");
}

fn with_initializers() -> Value {
    let initializer = |name: &str, after: Value| {
        json!({
            "name": name,
            "dependsOn": after,
            "template": {"spec": {"template": {"spec": {
                "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{
                    "name": name,
                    "image": "python:3",
                    "command": ["fetch"],
                    "volumeMounts": [{"name": "data", "mountPath": "/workspace"}],
                }],
            }}}},
        })
    };
    let complete = |name: &str| json!([{"name": name, "status": "Complete"}]);
    let jobs = "spec.template.spec.replicatedJobs";
    let node = runtime(&[])["spec"]["template"]["spec"]["replicatedJobs"][0].clone();
    let node = with(node, &[("dependsOn", complete("model-initializer"))]);
    let steps = [
        initializer("dataset-initializer", Value::Null),
        initializer("model-initializer", complete("dataset-initializer")),
        node,
    ];
    runtime(&[(jobs, json!(steps))])
}

#[test]
fn jobs_that_others_wait_for_run_in_front_of_them() {
    let initializer = json!({
        "dataset": {"storageUri": "hf://a/b", "env": [{"name": "X", "value": "y"}]},
        "model": {"storageUri": "s3://c"},
    });
    let gang = gang(with_initializers(), &own(&[("spec.initializer", initializer)]));
    assert_eq!(gang.roles.len(), 1);
    let pod = &gang.role(RoleIndex(0)).pod;
    let shown: Vec<String> = pod
        .init_containers
        .iter()
        .map(|one| {
            format!("{} {:?}", one.name, one.env.iter().map(|v| &v.name).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        shown,
        [r#"dataset-initializer ["X", "STORAGE_URI"]"#, r#"model-initializer ["STORAGE_URI"]"#]
    );
    assert_eq!(pod.volumes.len(), 1);
}

#[test]
fn runtimes_say_how_often_the_gang_starts_again() {
    let limit =
        |changes: &[(&str, Value)]| gang(runtime(changes), &own(&[])).run_policy.backoff_limit;
    let of_job = ("spec.template.spec.replicatedJobs.0.template.spec.backoffLimit", json!(2));
    let of_set = ("spec.template.spec.failurePolicy.maxRestarts", json!(5));
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(std::slice::from_ref(&of_job)), Some(2));
    assert_eq!(limit(&[of_job, of_set]), Some(5));
}

#[test]
fn runtimes_that_cannot_run_are_refused() {
    let refused = |changes: &[(&str, Value)]| match admit_with(runtime(changes), &own(&[])) {
        Err(rejection) => rejection.to_string(),
        Ok(_) => panic!("was accepted: {changes:?}"),
    };
    insta::assert_snapshot!(refused(&[("spec.mlPolicy.flux", json!({}))]), @"
    TrainJob train is invalid:
      spec.runtimeRef: forbidden: runtimes with the policy flux are not supported
    ");
    let two = json!({"torch": {}, "jax": {}});
    insta::assert_snapshot!(refused(&[("spec.mlPolicy", two)]), @"
    TrainJob train is invalid:
      spec.runtimeRef: forbidden: the runtime has two policies, torch and jax
    ");
    let launcher = json!({"mpi": {"runLauncherAsNode": true}});
    insta::assert_snapshot!(refused(&[("spec.mlPolicy", launcher)]), @"
    TrainJob train is invalid:
      spec.runtimeRef: forbidden: a runtime with runLauncherAsNode must have the jobs launcher and node
    ");
    insta::assert_snapshot!(refused(&[("spec.template.spec.replicatedJobs", json!([]))]), @"
    TrainJob train is invalid:
      spec.runtimeRef: forbidden: the runtime has no job that trains: none is labelled as the step trainer, and none is called node
    ");
    let volume = "spec.template.spec.replicatedJobs.0.template.spec.template.spec.volumes";
    let claim = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    insta::assert_snapshot!(refused(&[(volume, claim)]), @"
    TrainJob train is invalid:
      runtime.node.template.spec.volumes[0].persistentVolumeClaim: forbidden: not supported yet; use a hostPath volume, on a file system that the nodes share where it must outlive one node
    ");
}

#[test]
fn runtimes_of_a_namespace_and_deprecated_ones_are_found() {
    let deprecated = ("metadata.labels", json!({"trainer.kubeflow.org/support": "deprecated"}));
    let found = admit_with(runtime(&[deprecated]), &own(&[])).expect("is right");
    assert_eq!(
        found.warnings[0].to_string(),
        "spec.runtimeRef.name: the runtime own is deprecated"
    );
    let elsewhere = runtime(&[("metadata.namespace", json!("team-b"))]);
    assert!(admit_with(elsewhere, &own(&[])).is_err());
}

#[test]
fn replicas_have_the_names_and_labels_of_a_job_set() {
    let crate::Admitted { key, gang, .. } = admitted(&mpi());
    let lines: Vec<String> = gang
        .ranks()
        .map(|(rank, role, index)| {
            let labels = selector(&replica_labels(&key, &gang, rank));
            format!("{}: {labels}", gang.role(role).replica_name(&key.name, index))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    train-launcher-0-0: batch.kubernetes.io/job-completion-index=0,batch.kubernetes.io/job-name=train-launcher-0,jobset.sigs.k8s.io/job-index=0,jobset.sigs.k8s.io/jobset-name=train,jobset.sigs.k8s.io/replicatedjob-name=launcher,jobset.sigs.k8s.io/replicatedjob-replicas=1
    train-node-0-0: batch.kubernetes.io/job-completion-index=0,batch.kubernetes.io/job-name=train-node-0,jobset.sigs.k8s.io/job-index=0,jobset.sigs.k8s.io/jobset-name=train,jobset.sigs.k8s.io/replicatedjob-name=node,jobset.sigs.k8s.io/replicatedjob-replicas=1
    train-node-0-1: batch.kubernetes.io/job-completion-index=1,batch.kubernetes.io/job-name=train-node-0,jobset.sigs.k8s.io/job-index=0,jobset.sigs.k8s.io/jobset-name=train,jobset.sigs.k8s.io/replicatedjob-name=node,jobset.sigs.k8s.io/replicatedjob-replicas=1
    ");
}

fn status(kind: ConditionType, holds: bool, counts: (u32, u32, u32)) -> Value {
    let admitted = admitted(&torch());
    let mut conditions = Conditions::default();
    for (kind, status) in [(ConditionType::Created, true), (kind, holds)] {
        conditions.set(Condition {
            kind,
            status,
            reason: "r".into(),
            message: "why".into(),
            updated: Timestamp(0),
            transitioned: Timestamp(0),
        });
    }
    let (active, succeeded, failed) = counts;
    let role = admitted.gang.role(RoleIndex(0)).name.clone();
    let shown = crate::show(&JobView {
        key: &admitted.key,
        manifest: &admitted.manifest,
        uid: &Uid("u".into()),
        created: Timestamp(0),
        deleting: None,
        resource_version: 1,
        spec_generation: 1,
        conditions: &conditions,
        started: None,
        completed: None,
        roles: vec![crate::RoleCounts { role, active, succeeded, failed }],
    });
    assert_eq!(shown["spec"].get("runPolicy"), None);
    shown["status"].clone()
}

#[test]
fn the_status_is_that_of_the_trainer() {
    let complete = status(ConditionType::Succeeded, true, (0, 2, 0));
    insta::assert_snapshot!(serde_json::to_string_pretty(&complete).expect("is JSON"), @r#"
    {
      "conditions": [
        {
          "type": "Complete",
          "status": "True",
          "reason": "AllJobsCompleted",
          "message": "jobset completed successfully",
          "lastTransitionTime": "1970-01-01T00:00:00Z"
        }
      ],
      "jobsStatus": [
        {
          "name": "node",
          "ready": 1,
          "succeeded": 1,
          "failed": 0,
          "active": 0,
          "suspended": 0
        }
      ]
    }
    "#);
    let conditions = |status: &Value| status.get("conditions").cloned();
    let running = status(ConditionType::Running, true, (2, 0, 0));
    assert_eq!(conditions(&running), None);
    assert_eq!(running["jobsStatus"][0]["active"], 1);
    assert_eq!(conditions(&status(ConditionType::Suspended, false, (0, 0, 0))), None);
    let suspended = status(ConditionType::Suspended, true, (0, 0, 0));
    assert_eq!(suspended["conditions"][0]["type"], "Suspended");
    assert_eq!(suspended["jobsStatus"][0]["suspended"], 1);
    let failed = status(ConditionType::Failed, true, (1, 0, 1));
    assert_eq!(failed["conditions"][0]["message"], "why");
    assert_eq!(failed["jobsStatus"][0]["failed"], 1);
}

#[test]
fn policies_are_read_from_the_spec_itself() {
    let changes = [
        ("spec.suspend", json!(true)),
        ("spec.activeDeadlineSeconds", json!(60)),
        ("spec.managedBy", json!("kueue.x-k8s.io/multikueue")),
    ];
    let admitted = admitted(&with(torch(), &changes));
    assert!(admitted.managed_by_other);
    let policy = admitted.gang.run_policy;
    assert!(policy.suspend);
    assert_eq!(policy.active_deadline, Some(Millis::from_secs(60)));
}
