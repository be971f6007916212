//! The policies of a job, with programs of the machine.

use muster_tests::{Job, Place, Role, replica_processes, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn submit(place: &Place, job: Job) {
    let path = job.write(place.data());
    place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
}

/// The conditions of a job that hold.
fn conditions(place: &Place, name: &str) -> Vec<String> {
    let job = place.object(name);
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let holding = all.iter().filter(|condition| condition["status"] == "True");
    holding.filter_map(|condition| condition["type"].as_str().map(ToOwned::to_owned)).collect()
}

fn nothing_is_left(place: &Place) {
    until("nothing is left", || replica_processes(place.data()).is_empty().then_some(()));
}

#[test]
fn ranks_get_the_environment_of_the_training_operator() {
    let place = Place::up();
    let script =
        "env | grep -E '^(RANK|WORLD_SIZE|MASTER_|PET_|PYTHONUNBUFFERED|TORCHELASTIC_)' | sort";
    let job = Job::shell("env", 1, script).with("/spec/nprocPerNode", "2".into());
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]).ok();
    let of = |rank: &str| -> Vec<String> {
        let prefix = format!("[{rank}] ");
        outcome
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix(&*prefix).map(ToOwned::to_owned))
            .collect()
    };
    let (master, worker) = (of("master-0"), of("worker-0"));
    for expected in [
        "MASTER_ADDR=127.0.0.1",
        "PET_MASTER_ADDR=127.0.0.1",
        "PET_NNODES=2",
        "PET_NODE_RANK=0",
        "PET_NPROC_PER_NODE=2",
        "PET_RDZV_BACKEND=c10d",
        "PYTHONUNBUFFERED=1",
        "RANK=0",
        "TORCHELASTIC_RESTART_COUNT=0",
        "TORCHELASTIC_USE_AGENT_STORE=True",
        "WORLD_SIZE=4",
    ] {
        assert!(master.iter().any(|line| line == expected), "{expected} is not in {master:#?}");
    }
    assert!(worker.iter().any(|line| line == "RANK=1"), "{worker:#?}");
    assert!(worker.iter().any(|line| line == "PET_NODE_RANK=1"), "{worker:#?}");
    let port =
        |lines: &[String]| lines.iter().find(|line| line.starts_with("MASTER_PORT=")).cloned();
    assert!(port(&master).is_some() && port(&master) == port(&worker));
}

#[test]
fn a_program_that_always_fails_ends_the_job_with_a_sentence() {
    let place = Place::up();
    let job = Job::shell("fails", 1, "echo about to fail; exit 3");
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]);
    assert_eq!(outcome.code, 1, "{outcome:#?}");
    assert!(outcome.stdout.contains("about to fail"), "{outcome:#?}");
    assert!(outcome.stderr.contains("exit code 3"), "{outcome:#?}");
    assert!(outcome.stderr.contains("4 times in a row"), "{outcome:#?}");
    assert_eq!(conditions(&place, "fails").last().map(String::as_str), Some("Failed"));
    nothing_is_left(&place);
}

#[test]
fn backoff_limit_counts_restarts_and_never_allows_none() {
    let place = Place::up();
    let limited = Job::shell("limited", 0, "exit 9").with("/spec/runPolicy/backoffLimit", 1.into());
    submit(&place, limited);
    submit(&place, Job::shell("never", 1, "exit 9").restart_policy("Never"));
    submit(&place, Job::shell("permanent", 0, "exit 9").restart_policy("ExitCode"));
    assert_eq!(place.wait_for_phase("limited", "Failed")["restarts"], 1);
    assert_eq!(place.wait_for_phase("never", "Failed")["restarts"], 0);
    assert_eq!(place.wait_for_phase("permanent", "Failed")["restarts"], 0);
    assert!(!conditions(&place, "never").contains(&"Restarting".to_owned()));
}

#[test]
fn an_exit_code_above_128_is_retried_under_exit_code() {
    let place = Place::up();
    let flag = place.data().join("tried");
    let script = format!("if test -e {0}; then exit 0; fi; touch {0}; exit 130", flag.display());
    submit(&place, Job::shell("retryable", 0, &script).restart_policy("ExitCode"));
    assert_eq!(place.wait_for_phase("retryable", "Succeeded")["generation"], 2);
}

#[test]
fn the_deadline_ends_a_job_that_sleeps() {
    let place = Place::up();
    let job =
        Job::shell("late", 1, "sleep 1000").with("/spec/runPolicy/activeDeadlineSeconds", 1.into());
    submit(&place, job);
    let job = place.wait_for_phase("late", "Failed");
    assert!(job["detail"].as_str().is_some_and(|d| d.contains("activeDeadlineSeconds")), "{job:#}");
    nothing_is_left(&place);
}

#[test]
fn a_finished_job_goes_when_its_time_to_live_is_over() {
    let place = Place::up();
    let job =
        Job::shell("brief", 0, "true").with("/spec/runPolicy/ttlSecondsAfterFinished", 0.into());
    submit(&place, job);
    place.muster(&["wait", "brief", "--for=delete", "--timeout=60"]).ok();
    assert_eq!(place.muster(&["get", "pytorchjob", "brief"]).code, 3);
}

#[test]
fn suspend_frees_everything_and_resume_goes_on() {
    let place = Place::up();
    submit(&place, Job::shell("held", 1, "sleep 1000"));
    place.wait_for_phase("held", "Running");
    place.muster(&["suspend", "held"]).ok();
    place.wait_for_phase("held", "Suspended");
    nothing_is_left(&place);
    assert!(conditions(&place, "held").contains(&"Suspended".to_owned()));
    place.muster(&["resume", "held"]).ok();
    let job = place.wait_for_phase("held", "Running");
    assert_eq!(job["attempt"], 2, "{job:#}");
    place.muster(&["delete", "held"]).ok();
    nothing_is_left(&place);
    assert_eq!(place.muster(&["get", "pytorchjob", "held"]).code, 3);
}

#[test]
fn only_what_is_suspended_is_resumed() {
    let place = Place::up();
    submit(&place, Job::shell("short", 0, "true"));
    place.wait_for_phase("short", "Succeeded");
    for command in ["resume", "suspend"] {
        let refused = place.muster(&[command, "short"]);
        assert!(refused.code == 3 && refused.stderr.contains("M1008"), "{refused:#?}");
    }
    submit(&place, Job::shell("long", 0, "exec sleep 1000"));
    place.wait_for_phase("long", "Running");
    let generation = || place.object("long")["metadata"]["generation"].clone();
    let before = generation();
    assert_eq!(place.muster(&["resume", "long"]).ok().stdout, "long is not suspended\n");
    assert_eq!(generation(), before);
    place.muster(&["delete", "long"]).ok();
}

#[test]
fn whatever_a_script_forked_ends_with_its_rank() {
    let place = Place::up();
    let script = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &) ; nohup sleep 1000 >/dev/null & sleep 0.2; exit 0";
    submit(&place, Job::shell("forks", 2, script));
    place.wait_for_phase("forks", "Succeeded");
    nothing_is_left(&place);
}

#[test]
fn leftover_workers_are_stopped_after_their_grace() {
    let place = Place::up();
    let script = "test $RANK = 0 || sleep 1000";
    let job = Job::shell("leftover", 1, script).each_template(|template| {
        template["spec"]["terminationGracePeriodSeconds"] = 1.into();
    });
    submit(&place, job);
    place.wait_for_phase("leftover", "Succeeded");
    nothing_is_left(&place);
    let job = until("the gang is released", || {
        place.job("leftover").filter(|job| job["gangPhase"] == "Released")
    });
    assert_eq!(job["phase"], "Succeeded");
}

#[test]
fn a_gang_that_does_not_fit_says_why_and_starts_when_there_is_room() {
    let place = Place::up_with(&["--capacity", "example.com/dongle=3"]);
    let wants = |name: &str, dongles: u32, script: &str| {
        Job::shell(name, 1, script).each_template(|template| {
            template["spec"]["containers"][0]["resources"] =
                json!({"limits": {"example.com/dongle": dongles}});
        })
    };
    submit(&place, wants("first", 1, "sleep 1000"));
    place.wait_for_phase("first", "Running");
    submit(&place, wants("second", 1, "true"));
    let job = until("the second job says why it waits", || {
        place.job("second").filter(|job| job["waitReason"] == "NotEnoughFree")
    });
    let wait = job["wait"].as_str().unwrap_or_default();
    assert!(wait.contains("example.com/dongle") && wait.contains("1 of 2 replicas"), "{wait}");
    submit(&place, wants("third", 4, "true"));
    until("the third job can never run", || {
        place.job("third").filter(|job| job["waitReason"] == "NeverFits")
    });
    place.muster(&["delete", "first"]).ok();
    place.wait_for_phase("second", "Succeeded");
}

#[test]
fn init_containers_run_first_and_volumes_are_shared_with_them() {
    let place = Place::up();
    let job = Job::shell("volumes", 1, "cat /scratch/greeting").each_template(|template| {
        let spec = &mut template["spec"];
        spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        spec["containers"][0]["volumeMounts"] =
            json!([{"name": "scratch", "mountPath": "/scratch"}]);
        spec["initContainers"] = json!([{
            "name": "greet",
            "image": "busybox",
            "command": ["sh", "-c", "echo hello from $(MUSTER_REPLICA) > /scratch/greeting"],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        }]);
    });
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]);
    if outcome.stderr.contains("mount namespace") {
        eprintln!("skipped: mount namespaces are not permitted here");
        return;
    }
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stdout.contains("[worker-0] hello from"), "{outcome:#?}");
}

#[test]
fn a_restarted_daemon_takes_running_ranks_over() {
    let mut place = Place::up();
    let flag = place.data().join("go");
    let script = format!("while ! test -e {}; do sleep 0.1; done; echo done", flag.display());
    submit(&place, Job::shell("kept", 1, &script));
    place.wait_for_phase("kept", "Running");
    let before = replica_processes(place.data());
    place.kill(Role::Up);
    let during = replica_processes(place.data());
    assert!(before.iter().any(|pid| during.contains(pid)), "ranks outlive the daemon");
    place.start(Role::Up);
    place.wait_until_ready();
    std::fs::write(&flag, "").expect("the flag can be written");
    let job = place.wait_for_phase("kept", "Succeeded");
    assert_eq!((&job["generation"], &job["restarts"]), (&json!(1), &json!(0)));
    let logs = place.muster(&["logs", "kept"]).ok().stdout;
    assert_eq!(logs.matches("done").count(), 2, "{logs}");
    nothing_is_left(&place);
}

#[test]
fn an_orderly_stop_leaves_ranks_running_and_says_goodbye_quickly() {
    let mut place = Place::up();
    submit(&place, Job::shell("goes-on", 0, "sleep 1000"));
    place.wait_for_phase("goes-on", "Running");
    let started = std::time::Instant::now();
    place.stop(Role::Up);
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert!(!replica_processes(place.data()).is_empty());
    place.start(Role::Up);
    place.wait_until_ready();
    assert_eq!(place.job("goes-on").map(|job| job["phase"].clone()), Some(json!("Running")));
    place.muster(&["delete", "goes-on"]).ok();
    nothing_is_left(&place);
}

#[test]
fn the_applied_records_are_made_anew_when_they_are_missing_or_damaged() {
    let mut place = Place::up();
    submit(&place, Job::shell("first", 0, "true"));
    place.wait_for_phase("first", "Succeeded");
    let before = place.muster(&["status", "-o", "json"]).ok().json();
    place.kill(Role::Up);
    let records = place.data().join("coordinator/records");
    std::fs::remove_dir_all(&records).expect("there are records");
    place.start(Role::Up);
    place.wait_until_ready();
    assert_eq!(place.object("first")["status"]["replicaStatuses"]["Master"]["succeeded"], 1);
    place.kill(Role::Up);
    let file = records.join("db");
    let mut bytes = std::fs::read(&file).expect("sled's file");
    bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 0xff);
    std::fs::write(&file, bytes).expect("it can be written");
    place.start(Role::Up);
    place.wait_until_ready();
    assert!(place.object("first")["metadata"]["uid"].is_string());
    let after = place.muster(&["status", "-o", "json"]).ok().json();
    assert!(after["appliedIndex"].as_u64() >= before["appliedIndex"].as_u64());
    assert_eq!(after["cluster"], before["cluster"]);
}

#[test]
fn nothing_new_is_placed_on_a_node_whose_agent_has_gone() {
    let mut place = Place::up_with(&["--node-name", "before"]);
    place.stop(Role::Up);
    place.flags = vec!["--node-name".into(), "after".into()];
    place.start(Role::Up);
    place.wait_until_ready();
    submit(&place, Job::shell("here", 0, "true"));
    place.wait_for_phase("here", "Succeeded");
    let pods = place.muster(&["get", "pods", "-o", "json"]).ok().json();
    assert_eq!(pods["items"][0]["spec"]["nodeName"], "after", "{pods:#}");
}

/// Runs a command of the embedded daemon of a directory.
fn embedded(place: &Place, arguments: &[&str]) -> muster_tests::Outcome {
    let mut command = place.command(arguments);
    let output = command.env_remove("MUSTER_SERVER").output().expect("muster runs");
    muster_tests::Outcome::of(output)
}

#[test]
fn whoever_starts_beside_a_dying_daemon_gets_a_living_one() {
    let place = Place::new();
    let up = ["up", "-d", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    embedded(&place, &up).ok();
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM, Signal::KILL] {
        let status = embedded(&place, &["status", "-o", "json"]).ok().json();
        let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
        // From then on it is about to go, and still has the directory.
        let published = place.data().join("endpoint.json");
        until("the signal has reached it", || {
            (signal == Signal::KILL || !published.exists()).then_some(())
        });
        embedded(&place, &up).ok();
    }
    embedded(&place, &["status"]).ok();
    embedded(&place, &["down"]).ok();
}

#[test]
fn several_who_need_an_embedded_daemon_at_once_share_one() {
    let place = Place::new();
    let file = Job::shell("shared", 0, "true").write(place.data());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| embedded(&place, &["run", "-d", &file.to_string_lossy()]).ok());
        }
    });
    embedded(&place, &["down"]).ok();
}

#[test]
fn a_data_directory_that_is_open_to_others_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let mut place = Place::new();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.data(), open).expect("it is ours");
    place.start(Role::Up);
    place.wait_until_ready();
    let mode = std::fs::metadata(place.data()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_second_start_finds_the_first_and_down_stops_it() {
    let place = Place::up();
    let data = place.data().to_string_lossy().into_owned();
    let again = place.command(&["up", "--data-dir", &data]).env_remove("MUSTER_SERVER").output();
    let again = muster_tests::Outcome::of(again.expect("muster runs")).ok();
    assert!(again.stderr.contains("is up already"), "{again:#?}");
    let down = place.command(&["down"]).env_remove("MUSTER_SERVER").output().expect("muster runs");
    muster_tests::Outcome::of(down).ok();
    assert_eq!(place.get_http("/healthz"), None);
}

#[test]
fn the_http_door_tells_health_and_metrics() {
    let place = Place::up();
    submit(&place, Job::shell("counted", 0, "true"));
    place.wait_for_phase("counted", "Succeeded");
    assert_eq!(place.get_http("/healthz").as_deref(), Some("ok\n"));
    assert_eq!(place.get_http("/readyz").as_deref(), Some("ok\n"));
    until("the job is counted", || {
        let metrics = place.get_http("/metrics")?;
        let counted = metrics.lines().any(|line| line == "muster_jobs{phase=\"Succeeded\"} 1");
        (counted && metrics.contains("muster_agent_sessions 1")).then_some(())
    });
}
