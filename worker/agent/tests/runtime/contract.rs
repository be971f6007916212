//! The promises of the trait, for any runtime.

use std::time::{Duration, Instant};

use muster_agent::runtime::{LogError, LogQuery, Observation, Seen};
use muster_model::{ExitStatus, Generation, Rank, Uid};

use crate::lab::{Lab, key, read, text, until};
use crate::replica::{at_rank, in_generation, opening, replica, script};
use crate::traces;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_prepared_started_and_ends_with_its_code() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    assert!(node.adopted.is_empty());
    for (rank, text, status) in [
        (1, "exit 0", ExitStatus::Code(0)),
        (2, "exit 3", ExitStatus::Code(3)),
        (3, "exit 255", ExitStatus::Code(255)),
        (4, "kill -SEGV $$", ExitStatus::Signal(11)),
        (5, "kill -KILL $$", ExitStatus::Signal(9)),
    ] {
        let spec = at_rank(replica(&lab.job, script("main", text)), rank);
        node.start(&spec).await;
        let exit = node.exit(&spec).await;
        assert_eq!((exit.status, exit.after_stop), (status, false), "{text}");
        let states: Vec<&Seen> =
            node.told(key(&spec)).iter().filter(|seen| matches!(seen, Seen::State(_))).collect();
        assert!(
            matches!(
                states[..],
                [
                    Seen::State(Observation::Ready { .. }),
                    Seen::State(Observation::Running),
                    Seen::State(Observation::Exited(_))
                ]
            ),
            "{states:?}"
        );
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_before_the_start() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mark = lab.path("mark");
    let spec = replica(&lab.job, script("main", &format!("echo > {}", mark.display())));
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
    assert!(!mark.exists());
    node.runtime.start(spec.id, spec.fence, opening(&spec));
    assert!(node.exit(&spec).await.status.is_success());
    assert!(mark.exists());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_be_repeated() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let count = lab.path("count");
    let text = format!("echo run >> {}; sleep 1000", count.display());
    let spec = replica(&lab.job, script("main", &text));
    for _ in 0..3 {
        node.runtime.prepare(spec.clone());
    }
    for _ in 0..3 {
        node.runtime.start(spec.id, spec.fence, opening(&spec));
    }
    node.running(&spec).await;
    node.runtime.prepare(spec.clone());
    node.runtime.start(spec.id, spec.fence, opening(&spec));
    until("the first line", || std::fs::read(&count).is_ok_and(|text| !text.is_empty())).await;
    for _ in 0..3 {
        node.stop(&spec, 5000);
    }
    let exit = node.exit(&spec).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Signal(15), true));
    node.stop(&spec, 0);
    node.runtime.start(spec.id, spec.fence, opening(&spec));
    node.runtime.prepare(spec.clone());
    for _ in 0..3 {
        node.remove(&spec);
    }
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "run\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_for_unknown_replicas_have_no_effect() {
    let lab = Lab::new();
    let node = lab.open().await;
    let spec = replica(&lab.job, script("main", "exit 0"));
    node.runtime.start(spec.id, spec.fence, opening(&spec));
    node.stop(&spec, 0);
    node.remove(&spec);
    node.runtime.forget_logs(&spec.job_uid);
    node.runtime.forget_logs(&Uid("../..".into()));
    let error = node.runtime.logs(&LogQuery::whole(lab.job.clone(), "worker-1")).unwrap_err();
    assert!(matches!(error, LogError::NotFound { .. }), "{error}");
    assert!(node.runtime.logs(&LogQuery::whole(Uid("..".into()), "lock")).is_err());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_start_ends_a_replica_that_never_ran() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", "exit 0"));
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    node.stop(&spec, 10_000);
    let exit = node.exit(&spec).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::NeverStarted, true));

    // And while it is being prepared, at once.
    let mut slow = at_rank(replica(&lab.job, script("main", "exit 0")), 2);
    slow.role.pod.init_containers.push(script("slow", "trap '' TERM; sleep 1000"));
    node.runtime.prepare(slow.clone());
    node.stop(&slow, 0);
    let exit = node.exit(&slow).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::NeverStarted, true));

    // And in the middle of an init container, within the grace period.
    let mut slow = at_rank(slow, 3);
    slow.role.pod.init_containers = vec![script("slow", "sleep 1000")];
    node.runtime.prepare(slow.clone());
    until("the init container", || !traces::processes(&lab.job).is_empty()).await;
    node.stop(&slow, 600_000);
    let exit = node.exit(&slow).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::NeverStarted, true));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_program_may_end_in_its_own_way() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mark = lab.path("armed");
    let text =
        format!("trap 'echo bye; exit 7' TERM; echo > {}; sleep 1000 & wait", mark.display());
    let spec = replica(&lab.job, script("main", &text));
    node.start(&spec).await;
    until("the trap", || mark.exists()).await;
    node.stop(&spec, 600_000);
    let exit = node.exit(&spec).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Code(7), true));
    assert_eq!(node.output(&spec).await, "bye\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_want_to_end_is_killed_after_the_grace_period() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let text = |mark: &std::path::Path| {
        format!("trap '' TERM; echo > {}; while :; do sleep 1000; done", mark.display())
    };
    let mark = lab.path("one");
    let spec = replica(&lab.job, script("main", &text(&mark)));
    node.start(&spec).await;
    until("the trap", || mark.exists()).await;
    let began = Instant::now();
    node.stop(&spec, 300);
    let exit = node.exit(&spec).await;
    let took = began.elapsed();
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Signal(9), true));
    assert!(took >= Duration::from_millis(299), "killed after {took:?}");

    // A later order with less time cuts it; one with more does not give any.
    let mark = lab.path("two");
    let spec = at_rank(replica(&lab.job, script("main", &text(&mark))), 2);
    node.start(&spec).await;
    until("the trap", || mark.exists()).await;
    node.stop(&spec, 3_600_000);
    node.stop(&spec, 100);
    node.stop(&spec, 3_600_000);
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Signal(9));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_by_itself_was_not_stopped() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    // The sidecar holds the replica back after its main container has ended.
    let (armed, asked) = (lab.path("armed"), lab.path("asked"));
    let side = format!(
        "trap 'echo > {}' TERM; echo > {}; while :; do sleep 0.01; done",
        asked.display(),
        armed.display()
    );
    let main = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 4", armed.display());
    let mut spec = replica(&lab.job, script("main", &main));
    spec.role.pod.containers.push(script("side", &side));
    node.start(&spec).await;
    until("the sidecar to be asked to end", || asked.exists()).await;
    node.stop(&spec, 0);
    let exit = node.exit(&spec).await;
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Code(4), false));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_replica_that_is_removed_is_killed_and_told() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", "trap '' TERM; while :; do sleep 1000; done"));
    node.start(&spec).await;
    node.remove(&spec);
    let exit = node.exit(&spec).await;
    assert!(matches!(exit.status, ExitStatus::Signal(9 | 15)), "{exit:?}");
    assert!(exit.after_stop);
    until("the removal", || !node.directory(&spec).exists()).await;
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_opened_again_knows_everything_and_goes_on() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mark = lab.path("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 5", mark.display());
    let mut slow = at_rank(replica(&lab.job, script("main", "exit 0")), 4);
    let begun = lab.path("begun");
    let init = format!("echo > {}; {}", begun.display(), wait.replace("exit 5", "exit 0"));
    slow.role.pod.init_containers.push(script("slow", &init));
    let ready = at_rank(replica(&lab.job, script("main", "exit 6")), 1);
    let running = at_rank(replica(&lab.job, script("main", &wait)), 2);
    let ended = at_rank(replica(&lab.job, script("main", "exit 3")), 3);
    node.runtime.prepare(ready.clone());
    let ports = node.ready(&ready).await;
    node.start(&running).await;
    assert_eq!(node.run(&ended).await, ExitStatus::Code(3));
    node.runtime.prepare(slow.clone());
    until("the init container", || begun.exists()).await;
    node.close().await;
    assert!(!traces::processes(&lab.job).is_empty(), "replicas outlive their agent");

    let mut node = lab.open().await;
    let mut seen: Vec<(Rank, Option<Observation>)> =
        node.adopted.iter().map(|one| (one.spec.id.rank, one.seen.clone())).collect();
    seen.sort_by_key(|(rank, _)| *rank);
    let exited = |code| {
        Observation::Exited(muster_model::Exit {
            status: ExitStatus::Code(code),
            after_stop: false,
        })
    };
    let was_ready = Observation::Ready { store_port: ports.0, free_port: ports.1 };
    assert_eq!(
        seen,
        [
            (Rank(1), Some(was_ready)),
            (Rank(2), Some(Observation::Running)),
            (Rank(3), Some(exited(3))),
            (Rank(4), None),
        ]
    );
    assert!(node.adopted.iter().any(|one| one.spec == running));
    node.runtime.start(ready.id, ready.fence, opening(&ready));
    assert_eq!(node.exit(&ready).await.status, ExitStatus::Code(6));
    std::fs::write(&mark, "").unwrap();
    assert_eq!(node.exit(&running).await.status, ExitStatus::Code(5));
    node.ready(&slow).await;
    node.runtime.start(slow.id, slow.fence, opening(&slow));
    assert_eq!(node.exit(&slow).await.status, ExitStatus::Code(0));
    node.remove(&ended);
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_have_logs_of_their_own_until_the_job_is_forgotten() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", "echo in $MUSTER_GENERATION"));
    for generation in [1, 2, 4] {
        let spec = in_generation(spec.clone(), generation);
        assert!(node.run(&spec).await.is_success());
        node.remove(&spec);
    }
    let whole = LogQuery::whole(lab.job.clone(), "worker-1");
    let previous = LogQuery { previous: true, ..whole.clone() };
    let third = LogQuery { generation: Some(Generation(3)), ..whole.clone() };
    let first = LogQuery { generation: Some(Generation(1)), ..whole.clone() };
    let before_first = LogQuery { previous: true, ..first.clone() };
    assert_eq!(text(&read(&mut node.log(&whole)).await), "in 4\n");
    assert_eq!(text(&read(&mut node.log(&previous)).await), "in 2\n");
    assert_eq!(text(&read(&mut node.log(&first)).await), "in 1\n");
    let error = node.runtime.logs(&third).unwrap_err();
    assert!(error.to_string().contains("1, 2, 4"), "{error}");
    let error = node.runtime.logs(&before_first).unwrap_err();
    assert!(matches!(error, LogError::NoPrevious { .. }), "{error}");
    node.runtime.forget_logs(&lab.job);
    let folder = lab.options.data.join("logs").join(&lab.job.0);
    until("the logs to go", || !folder.exists()).await;
    until("the log to be forgotten", || {
        matches!(node.runtime.logs(&whole), Err(LogError::NotFound { .. }))
    })
    .await;
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_belongs_to_one_runtime() {
    let lab = Lab::new();
    let node = lab.open().await;
    let why = lab.try_open().await.err().expect("it is in use");
    assert!(why.contains("in use by another agent"), "{why}");
    node.finish(&lab).await;
}
