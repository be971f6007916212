use muster_model::{EnvTemplate, GangSpec, Rendezvous, Roster, SuccessRule, Variable};
use serde_json::{Value, json};

use super::*;
use crate::testing::{admitted, job, warnings, with, workers};

const NPROC: &str = "spec.nprocPerNode";
const AGENT: (&str, &str) = ("metadata.annotations.muster!dev/launcher", "agent");

fn torchrun(manifest: Value) -> Value {
    let command = json!(["torchrun", "train.py"]);
    let mut changes = vec![("C.command", command.clone())];
    if manifest["spec"]["pytorchReplicaSpecs"]["Master"].is_object() {
        changes.push(("M.containers.0.command", command));
    }
    with(manifest, &changes)
}

fn show(variable: &EnvTemplate) -> String {
    let value = variable.value.fill(&Roster::empty(), |hole| match hole {
        Variable::JobUid => "<uid>".into(),
        other => format!("<{other:?}>"),
    });
    let mark = if variable.user_wins { "?" } else { "" };
    format!("{}{mark}={value}", variable.name)
}

/// The variables of a job, which are the same for all of its roles.
fn env(manifest: &Value) -> String {
    let gang = admitted(manifest).gang;
    let lists: Vec<Vec<String>> =
        gang.roles.iter().map(|role| role.env.iter().map(show).collect()).collect();
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]));
    lists[0].join("\n")
}

/// What differs from the variables of another job.
fn changed(manifest: &Value, base: &Value) -> String {
    let (mine, other) = (env(manifest), env(base));
    let only = |mine: &str, other: &str, sign: char| -> Vec<String> {
        let missing = mine.lines().filter(|line| other.lines().all(|known| known != *line));
        missing.map(|line| format!("{sign} {line}")).collect()
    };
    let mut lines = only(&other, &mine, '-');
    lines.extend(only(&mine, &other, '+'));
    lines.join("\n")
}

fn elastic(policy: Value) -> Value {
    torchrun(with(workers(), &[("spec.elasticPolicy", policy)]))
}

#[test]
fn a_script_finds_the_store_on_the_master_port() {
    insta::assert_snapshot!(env(&job()), @"
    PYTHONUNBUFFERED=1
    MASTER_PORT=<StorePort>
    PET_MASTER_PORT=<StorePort>
    MASTER_ADDR=<LeaderAddress>
    PET_MASTER_ADDR=<LeaderAddress>
    WORLD_SIZE=3
    RANK=<Rank>
    PET_NODE_RANK=<Rank>
    PET_NPROC_PER_NODE=auto
    PET_NNODES=3
    PET_RDZV_BACKEND=c10d
    PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    PET_RDZV_CONF=is_host=false
    PET_RDZV_ID=<uid>-g<Generation>
    TORCHELASTIC_USE_AGENT_STORE=True
    TORCHELASTIC_RESTART_COUNT=<RestartCount>
    PET_LOCAL_ADDR?=<NodeAddress>
    OMP_NUM_THREADS?=<Threads>
    ");
}

#[test]
fn torchrun_is_told_its_own_address_unless_the_job_names_another() {
    for manifest in [torchrun(job()), torchrun(workers()), job()] {
        assert!(env(&manifest).contains("PET_LOCAL_ADDR?=<NodeAddress>"));
    }
    // A variable of the manifest stays, without a word; an option is torchrun's own affair, which lets it win.
    let own = json!([{"name": "PET_LOCAL_ADDR", "value": "192.0.2.9"}]);
    let in_env = with(torchrun(job()), &[("C.env", own)]);
    assert_eq!(warnings(&in_env), Vec::<String>::new());
    assert_eq!(env(&in_env), env(&torchrun(job())));
    let command = json!(["torchrun", "--local-addr=192.0.2.9", "train.py"]);
    let option = with(torchrun(job()), &[("C.command", command)]);
    assert_eq!(env(&option), env(&torchrun(job())));
    assert_eq!(warnings(&option), Vec::<String>::new());
}

#[test]
fn a_job_without_master_gets_the_same_variables() {
    insta::assert_snapshot!(changed(&workers(), &job()), @"
    - WORLD_SIZE=3
    - PET_NNODES=3
    + WORLD_SIZE=2
    + PET_NNODES=2
    ");
}

#[test]
fn a_launcher_gets_a_free_port_and_the_store_as_rendezvous() {
    insta::assert_snapshot!(changed(&torchrun(job()), &job()), @"
    - MASTER_PORT=<StorePort>
    - PET_MASTER_PORT=<StorePort>
    - TORCHELASTIC_USE_AGENT_STORE=True
    - TORCHELASTIC_RESTART_COUNT=<RestartCount>
    - OMP_NUM_THREADS?=<Threads>
    + MASTER_PORT=<FreePort>
    + PET_MASTER_PORT=<FreePort>
    ");
    // One role that starts a launcher decides for all: ranks must agree on the port.
    let one = with(job(), &[("C.command", json!(["sh", "-c", "torchrun train.py"]))]);
    assert_eq!(env(&one), env(&torchrun(job())));
    // So does the annotation, for commands that hide a launcher.
    let hidden = with(job(), &[(AGENT.0, json!("command"))]);
    assert_eq!(env(&hidden), env(&torchrun(job())));
}

#[test]
fn the_number_of_processes_scales_the_world_only_when_it_is_a_number() {
    insta::assert_snapshot!(changed(&with(job(), &[(NPROC, json!("4"))]), &job()), @"
    - WORLD_SIZE=3
    - PET_NPROC_PER_NODE=auto
    + WORLD_SIZE=12
    + PET_NPROC_PER_NODE=4
    ");
    for word in ["auto", "gpu", "cpu", "xpu"] {
        let text = env(&with(job(), &[(NPROC, json!(word))]));
        assert!(text.contains("WORLD_SIZE=3\n"), "{text}");
        assert!(text.contains(&format!("PET_NPROC_PER_NODE={word}\n")), "{text}");
    }
    // A single process of a launcher may use all threads.
    insta::assert_snapshot!(changed(&with(torchrun(job()), &[(NPROC, json!("1"))]), &torchrun(job())), @"
    - PET_NPROC_PER_NODE=auto
    + PET_NPROC_PER_NODE=1
    + OMP_NUM_THREADS?=<Threads>
    ");
}

#[test]
fn several_processes_without_a_launcher_are_warned_of() {
    let manifest = with(job(), &[(NPROC, json!("4"))]);
    insta::assert_snapshot!(warnings(&manifest).join("\n"), @"spec.nprocPerNode: the command is no launcher such as torchrun, so each of the 3 replicas runs one process, while WORLD_SIZE is 12; set the annotation muster.dev/launcher: agent to let Muster start 4 processes per replica");
    assert!(warnings(&torchrun(manifest)).is_empty());
    assert!(warnings(&with(job(), &[(NPROC, json!("1"))])).is_empty());
}

#[test]
fn the_agent_as_launcher_sets_what_torchrun_sets() {
    let manifest = with(job(), &[(NPROC, json!("4")), (AGENT.0, json!("agent"))]);
    insta::assert_snapshot!(changed(&manifest, &job()), @"
    - WORLD_SIZE=3
    - RANK=<Rank>
    - PET_NPROC_PER_NODE=auto
    + WORLD_SIZE=12
    + RANK=<ProcessRank>
    + PET_NPROC_PER_NODE=4
    + LOCAL_RANK=<LocalRank>
    + LOCAL_WORLD_SIZE=4
    + GROUP_RANK=<Rank>
    + GROUP_WORLD_SIZE=3
    + ROLE_RANK=<ProcessRank>
    + ROLE_WORLD_SIZE=12
    + ROLE_NAME=default
    + TORCHELASTIC_MAX_RESTARTS=0
    + TORCHELASTIC_RUN_ID=<uid>
    ");
    assert_eq!(warnings(&manifest), Vec::<String>::new());
    let gang = admitted(&manifest).gang;
    assert_eq!(processes(&gang), [4, 4]);
    assert_eq!(processes(&admitted(&job()).gang), [1, 1]);
    // On a pod template it means the same.
    let template =
        "spec.pytorchReplicaSpecs.Worker.template.metadata.annotations.muster!dev/launcher";
    let on_template = with(job(), &[(NPROC, json!("4")), (template, json!("agent"))]);
    assert_eq!(admitted(&on_template).gang.roles[0].env, gang.roles[0].env);
    // How often Muster restarts is what the processes are told.
    let limited = with(manifest.clone(), &[("spec.runPolicy.backoffLimit", json!(7))]);
    insta::assert_snapshot!(changed(&limited, &manifest), @"
    - TORCHELASTIC_MAX_RESTARTS=0
    + TORCHELASTIC_MAX_RESTARTS=7
    ");
}

fn processes(gang: &GangSpec) -> Vec<u32> {
    gang.roles.iter().map(|role| role.processes).collect()
}

#[test]
fn the_agent_counts_processes_by_what_the_container_asks_for() {
    let agent = with(workers(), &[(AGENT.0, json!("agent"))]);
    for (nproc, limits, expected) in [
        ("auto", json!({}), 1),
        ("auto", json!({"nvidia.com/gpu": 8, "cpu": "4"}), 8),
        ("gpu", json!({"amd.com/gpu": "2"}), 2),
        ("gpu", json!({}), 1),
        ("cpu", json!({"cpu": "2500m"}), 2),
        ("cpu", json!({"cpu": "500m"}), 1),
        ("cpu", json!({"nvidia.com/gpu": 8}), 1),
        ("3", json!({"nvidia.com/gpu": 8}), 3),
    ] {
        let changes = [(NPROC, json!(nproc)), ("C.resources.limits", limits)];
        let manifest = with(agent.clone(), &changes);
        assert_eq!(processes(&admitted(&manifest).gang), [expected], "{nproc}");
        let world = format!("WORLD_SIZE={}\n", expected * 2);
        assert!(env(&manifest).contains(&world), "{nproc}");
    }
}

#[test]
fn an_elastic_job_adds_its_range_and_meets_in_the_store() {
    let base = torchrun(workers());
    let full = elastic(json!({
        "minReplicas": 1, "maxReplicas": 4, "maxRestarts": 3, "rdzvBackend": "c10d", "rdzvId": "mine",
        "rdzvConf": [{"key": "timeout", "value": "9"}, {"key": "is_host", "value": "true"}],
    }));
    insta::assert_snapshot!(changed(&full, &base), @"
    - PET_NNODES=2
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=1:4
    + PET_RDZV_CONF=timeout=9,is_host=false
    + PET_RDZV_ID=mine
    + PET_MAX_RESTARTS=3
    ");
    insta::assert_snapshot!(warnings(&full).join("\n"), @"spec.elasticPolicy.rdzvConf: is_host is false for all: Muster hosts the rendezvous");
    // Minimum and maximum stand for each other, and the number of workers for both.
    for (policy, nodes) in [
        (json!({}), "2:2"),
        (json!({"minReplicas": 2}), "2:2"),
        (json!({"maxReplicas": 2}), "2:2"),
        (json!({"minReplicas": 1, "maxReplicas": 2}), "1:2"),
    ] {
        assert!(env(&elastic(policy)).contains(&format!("PET_NNODES={nodes}\n")), "{nodes}");
    }
}

#[test]
fn a_rendezvous_of_its_own_is_left_to_the_job() {
    let base = torchrun(workers());
    insta::assert_snapshot!(changed(&elastic(json!({"rdzvBackend": "etcd-v2", "rdzvHost": "etcd", "rdzvPort": 2379, "rdzvId": "x"})), &base), @"
    - PET_NNODES=2
    - PET_RDZV_BACKEND=c10d
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_BACKEND=etcd-v2
    + PET_RDZV_ENDPOINT=etcd:2379
    + PET_RDZV_ID=x
    ");
    insta::assert_snapshot!(changed(&elastic(json!({"rdzvPort": 29400, "rdzvConf": [{"key": "timeout", "value": "9"}]})), &base), @"
    - PET_NNODES=2
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_ENDPOINT=<LeaderHost>:29400
    + PET_RDZV_CONF=timeout=9
    ");
    insta::assert_snapshot!(changed(&elastic(json!({"rdzvHost": "ddp-worker-0"})), &base), @"
    - PET_NNODES=2
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_ENDPOINT=<LeaderHost>:23456
    ");
    insta::assert_snapshot!(changed(&elastic(json!({"rdzvHost": "fd00::7"})), &base), @"
    - PET_NNODES=2
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_ENDPOINT=[fd00::7]:23456
    ");
    insta::assert_snapshot!(changed(&elastic(json!({"standalone": true})), &base), @"
    - PET_NNODES=2
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_ENDPOINT=<LeaderHost>:23456
    + PET_STANDALONE=1
    ");
    let command = json!(["torchrun", "--rdzv-endpoint=a:1", "train.py"]);
    let own = with(elastic(json!({})), &[("C.command", command.clone())]);
    insta::assert_snapshot!(changed(&own, &base), @"
    - PET_NNODES=2
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    + PET_NNODES=2:2
    + PET_RDZV_ENDPOINT=<LeaderHost>:23456
    ");
    // Without an elastic policy there is nothing to derive.
    let plain = with(workers(), &[("C.command", command)]);
    insta::assert_snapshot!(changed(&plain, &base), @"
    - PET_RDZV_BACKEND=c10d
    - PET_RDZV_ENDPOINT=<LeaderHost>:<StorePort>
    - PET_RDZV_CONF=is_host=false
    - PET_RDZV_ID=<uid>-g<Generation>
    ");
    let in_env =
        with(base.clone(), &[("C.env", json!([{"name": "PET_RDZV_ENDPOINT", "value": "a:1"}]))]);
    assert_eq!(env(&in_env), env(&plain));
    assert_eq!(warnings(&in_env), Vec::<String>::new());
    // The backend alone names no place.
    let backend =
        json!(["python", "-m", "torch.distributed.run", "--rdzv_backend=c10d", "./echo.py"]);
    assert_eq!(env(&with(workers(), &[("C.command", backend)])), env(&base));
}

#[test]
fn the_deprecated_process_count_is_passed_on_and_leaves_the_world_alone() {
    let manifest = elastic(json!({"nProcPerNode": 2}));
    insta::assert_snapshot!(changed(&manifest, &elastic(json!({}))), @"
    - PET_NPROC_PER_NODE=auto
    + PET_NPROC_PER_NODE=2
    ");
    insta::assert_snapshot!(warnings(&manifest).join("\n"), @"spec.elasticPolicy.nProcPerNode: deprecated, use spec.nprocPerNode instead");
    let agent = with(
        workers(),
        &[("spec.elasticPolicy.nProcPerNode", json!(2)), (AGENT.0, json!("agent"))],
    );
    assert!(env(&agent).contains("WORLD_SIZE=4\n"));
    assert_eq!(processes(&admitted(&agent).gang), [2]);
}

#[test]
fn variables_of_the_manifest_that_lose_are_named() {
    let manifest = with(
        job(),
        &[
            (
                "C.env",
                json!([
                    {"name": "RANK", "value": "7"},
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    {"name": "WORLD_SIZE", "value": "3"},
                    {"name": "OMP_NUM_THREADS", "value": "2"},
                    {"name": "MASTER_ADDR", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "OTHER", "value": "x"},
                ]),
            ),
            ("M.containers.0.env", json!([{"name": "RANK", "value": "7"}])),
        ],
    );
    insta::assert_snapshot!(warnings(&manifest).join("\n"), @"
    spec.pytorchReplicaSpecs.Master.template.spec.containers[0].env[0] (and in 1 more place): the job sets RANK itself, and its value is used
    spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].env[4]: the job sets MASTER_ADDR itself, and its value is used
    ");
}

#[test]
fn the_gang_says_what_runs_and_when_it_is_done() {
    let gang = admitted(&job()).gang;
    let roles: Vec<_> =
        gang.roles.iter().map(|role| (role.name.0.as_str(), role.replicas, role.restart)).collect();
    assert_eq!(
        roles,
        [("Master", 1, RestartPolicy::OnFailure), ("Worker", 2, RestartPolicy::OnFailure)]
    );
    assert_eq!(gang.rendezvous, Rendezvous::TorchStore);
    assert_eq!(gang.success, SuccessRule::All(RoleIndex(0)));
    assert_eq!(admitted(&workers()).gang.success, SuccessRule::All(RoleIndex(0)));
    let elastic = with(workers(), &[("spec.elasticPolicy", json!({}))]);
    assert_eq!(admitted(&elastic).gang.success, SuccessRule::Any(RoleIndex(0)));
    let with_master =
        with(job(), &[("spec.elasticPolicy", json!({"minReplicas": 1, "maxReplicas": 3}))]);
    assert_eq!(admitted(&with_master).gang.success, SuccessRule::All(RoleIndex(0)));
    let ports = &gang.roles[0].pod.main_container().ports;
    assert_eq!((ports[0].name.as_str(), ports[0].port), ("pytorchjob-port", 23_456));
    // Roles stand in the order of ranks, whatever the order of the manifest.
    let mut turned = workers();
    turned["spec"]["pytorchReplicaSpecs"]["Master"] =
        job()["spec"]["pytorchReplicaSpecs"]["Master"].clone();
    assert_eq!(admitted(&turned).gang, gang);
    // A port of its own name is kept.
    let port = json!([{"name": "pytorchjob-port", "containerPort": 999}]);
    let own = admitted(&with(job(), &[("M.containers.0.ports", port)])).gang;
    assert_eq!(own.roles[0].pod.main_container().ports.len(), 1);
}
