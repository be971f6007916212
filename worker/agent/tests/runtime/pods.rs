//! Several containers and several processes in one replica.

use std::fs;

use muster_agent::runtime::Seen;
use muster_model::{EnvTemplate, ExitStatus, Millis, Template, Variable};

use crate::lab::{Lab, key, until};
use crate::replica::{at_rank, container, replica, script};
use crate::traces;

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_one_after_the_other_before_the_replica_is_ready() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let file = lab.path("order");
    let note = |what: &str| format!("echo {what} >> {}", file.display());
    let mut spec = replica(&lab.job, script("main", &note("main")));
    spec.role.env = vec![
        EnvTemplate {
            name: "RANK".into(),
            value: Template::hole(Variable::Rank),
            user_wins: false,
        },
        EnvTemplate {
            name: "MASTER_ADDR".into(),
            value: Template::hole(Variable::LeaderAddress),
            user_wins: false,
        },
    ];
    let first = format!("sleep 0.2; {}; echo rank $RANK at '<'$MASTER_ADDR'>'", note("first"));
    spec.role.pod.init_containers =
        vec![script("first", &first), script("second", &note("second"))];
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\nsecond\n");
    let progress: Vec<&str> = node
        .told(key(&spec))
        .iter()
        .filter_map(|seen| match seen {
            Seen::Progress { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(progress.contains(&"init container first (1 of 2)"), "{progress:?}");
    assert!(node.run(&spec).await.is_success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\nsecond\nmain\n");
    let entries = node.entries(&spec).await;
    assert_eq!(entries[0].container.as_deref(), Some("first"));
    assert_eq!(entries[0].text, b"rank 1 at <>");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_init_container_makes_is_there_for_the_main_one() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("checkout");
    let make = format!(
        "mkdir {0}; printf '#!/bin/sh\\npwd' > {0}/run; chmod +x {0}/run",
        folder.display()
    );
    let mut main = container("main", &["./run"]);
    main.working_dir = Some(folder.to_str().unwrap().into());
    let mut spec = replica(&lab.job, main);
    spec.role.pod.init_containers = vec![script("clone", &make)];
    assert!(node.run(&spec).await.is_success());
    assert_eq!(node.output(&spec).await.trim(), folder.to_str().unwrap());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_container_ends_the_replica() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mark = lab.path("mark");
    let mut spec = replica(&lab.job, script("main", &format!("echo > {}", mark.display())));
    spec.role.pod.init_containers = vec![
        script("fetch", "echo cannot fetch >&2; sleep 1000 & exit 3"),
        script("never", &format!("echo > {}", mark.display())),
    ];
    assert_eq!(node.run(&spec).await, ExitStatus::Code(3), "the program's own failure");
    let notice = node.notice(&spec).await;
    assert!(notice.contains("init container fetch has failed: exit code 3"), "{notice}");
    assert!(!mark.exists());
    assert_eq!(node.output(&spec).await, "cannot fetch\n");
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_has_a_local_rank_and_a_tag() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut spec = replica(&lab.job, script("main", "echo $LOCAL_RANK $RANK $MUSTER_LOCAL_RANK"));
    spec.role.processes = 3;
    for (name, variable) in [("LOCAL_RANK", Variable::LocalRank), ("RANK", Variable::ProcessRank)] {
        spec.role.env.push(EnvTemplate {
            name: name.into(),
            value: Template::hole(variable),
            user_wins: false,
        });
    }
    assert!(node.run(&spec).await.is_success());
    let mut entries: Vec<(Option<u32>, String)> = node
        .entries(&spec)
        .await
        .into_iter()
        .map(|entry| (entry.local_rank, String::from_utf8(entry.text).unwrap()))
        .collect();
    entries.sort();
    let expected =
        [(0, "0 3 0"), (1, "1 4 1"), (2, "2 5 2")].map(|(rank, text)| (Some(rank), text.into()));
    assert_eq!(entries, expected);
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failing_process_decides_and_the_others_are_stopped() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("stopped");
    fs::create_dir(&folder).unwrap();
    let text = format!(
        "if [ $MUSTER_LOCAL_RANK = 1 ]; then \
           while [ $(ls {0} | wc -l) -lt 2 ]; do sleep 0.01; done; exit 9; \
         fi; \
         trap 'echo stopped >> {0}/$MUSTER_LOCAL_RANK; exit 0' TERM; \
         echo > {0}/$MUSTER_LOCAL_RANK; sleep 1000 & wait",
        folder.display()
    );
    let mut spec = replica(&lab.job, script("main", &text));
    spec.role.processes = 3;
    node.start(&spec).await;
    let exit = node.exit(&spec).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Code(9), false));
    for rank in ["0", "2"] {
        let said = fs::read_to_string(folder.join(rank)).unwrap();
        assert_eq!(said, "\nstopped\n", "rank {rank} was not asked to end");
    }
    // One that does not want to end has the pod's grace period.
    let mut spec = at_rank(spec, 2);
    spec.role.pod.termination_grace = Millis(100);
    let armed = lab.path("armed");
    let text = format!(
        "if [ $MUSTER_LOCAL_RANK = 1 ]; then while [ ! -e {0} ]; do sleep 0.01; done; exit 8; fi; \
         trap '' TERM; echo > {0}; while :; do sleep 1000; done",
        armed.display()
    );
    spec.role.pod.containers = vec![script("main", &text)];
    assert_eq!(node.run(&spec).await, ExitStatus::Code(8));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_succeeds_when_all_its_processes_have() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let gate = lab.path("gate");
    let text = format!(
        "[ $MUSTER_LOCAL_RANK = 0 ] && exit 0; while [ ! -e {} ]; do sleep 0.01; done",
        gate.display()
    );
    let mut spec = replica(&lab.job, script("main", &text));
    spec.role.processes = 2;
    node.start(&spec).await;
    until("one process to end", || traces::processes(&lab.job).len() <= 2).await;
    fs::write(&gate, "").unwrap();
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_are_stopped_when_the_main_container_ends() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let (armed, said) = (lab.path("armed"), lab.path("said"));
    let side = format!(
        "trap 'echo asked > {}; exit 1' TERM; echo > {}; sleep 1000 & wait",
        said.display(),
        armed.display()
    );
    let main = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 0", armed.display());
    let mut spec = replica(&lab.job, script("main", &main));
    // The main container need not be the first.
    spec.role.pod.containers.insert(0, script("side", &side));
    spec.role.pod.main = 1;
    node.start(&spec).await;
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    assert_eq!(fs::read_to_string(&said).unwrap(), "asked\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_ends_early_is_told_and_changes_nothing() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let gate = lab.path("gate");
    let main = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 0", gate.display());
    let mut spec = replica(&lab.job, script("main", &main));
    spec.role.pod.containers.push(script("side", "echo from the side; exit 2"));
    node.start(&spec).await;
    let notice = node.notice(&spec).await;
    assert!(notice.contains("container side has ended (exit code 2)"), "{notice}");
    fs::write(&gate, "").unwrap();
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    let entries = node.entries(&spec).await;
    assert_eq!(entries[0].container.as_deref(), Some("side"));
    node.finish(&lab).await;
}
