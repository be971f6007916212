//! Real torch.distributed trainings.

use muster_tests::{Job, Place, ddp_script, replica_processes, until};
use serde_json::json;

const EXAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pytorch-ddp/pytorchjob.yaml");

/// A job whose ranks run a script of the tests with torch.
fn torch_job(name: &str, workers: u32, command: &[&str]) -> Job {
    Job::new(name, workers, command).image("pytorch/pytorch:latest")
}

#[test]
fn the_example_trains_and_its_result_is_the_exit_code() {
    let place = Place::up();
    let outcome = place.muster(&["run", EXAMPLE, "-o", "json"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let accuracy = outcome.stdout.lines().find_map(|line| {
        line.split_once("test accuracy ")?.1.split(' ').next()?.parse::<f64>().ok()
    });
    assert!(accuracy.is_some_and(|accuracy| accuracy > 0.9), "{outcome:#?}");
    for rank in ["master-0", "worker-0", "worker-1", "worker-2"] {
        assert!(outcome.stdout.contains(&format!("[{rank}] rank ")), "{rank} said nothing");
    }
    let job = place.object("digits");
    assert_eq!(job["status"]["replicaStatuses"]["Worker"]["succeeded"], 3);
    let types: Vec<&str> = job["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    assert_eq!(types, ["Created", "Running", "Succeeded"]);
    assert_eq!(replica_processes(place.data()), Vec::<i32>::new());
}

#[test]
fn torchrun_finds_its_rendezvous_through_muster() {
    let place = Place::up();
    let folder = place.data().to_string_lossy().into_owned();
    let script = ddp_script("steps.py");
    let command = ["torchrun", &script, &folder, "3", "0"];
    let job = torch_job("elastic", 1, &command).with("/spec/nprocPerNode", "2".into());
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for rank in 0..4 {
        let line = format!("rank {rank} finished all 3 steps");
        assert!(outcome.stdout.contains(&line), "{line} is missing: {outcome:#?}");
    }
}

#[test]
fn muster_can_be_the_launcher_of_several_processes_per_replica() {
    let place = Place::up();
    let folder = place.data().to_string_lossy().into_owned();
    let script = ddp_script("steps.py");
    let job = torch_job("agentlaunched", 1, &["python", &script, &folder, "3", "0"])
        .with("/spec/nprocPerNode", "2".into())
        .with("/metadata/annotations", json!({"muster.dev/launcher": "agent"}));
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for rank in 0..4 {
        assert!(
            outcome.stdout.contains(&format!("rank {rank} finished all 3 steps")),
            "{outcome:#?}"
        );
    }
}

#[test]
fn a_job_without_a_master_gets_its_ranks_all_the_same() {
    let place = Place::up();
    let folder = place.data().to_string_lossy().into_owned();
    let script = ddp_script("steps.py");
    let command = ["python", &script, &folder, "2", "0"];
    let path = torch_job("nomaster", 2, &command).without_master().write(place.data());
    let outcome = place.muster(&["run", &path.to_string_lossy()]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stdout.contains("[worker-0] rank 0 of 2"), "{outcome:#?}");
}

#[test]
fn a_killed_rank_restarts_the_gang_and_the_training_ends_well() {
    let place = Place::up();
    let folder = place.data().to_string_lossy().into_owned();
    let script = ddp_script("steps.py");
    let job = torch_job("killed", 2, &["python", &script, &folder, "40", "0.1"]);
    let path = job.write(place.data());
    place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    let reached = |step: u32| {
        let written = std::fs::read_to_string(place.data().join("step")).ok();
        written.and_then(|text| text.parse::<u32>().ok()).filter(|now| *now >= step)
    };
    until("the training has begun", || reached(5));
    let victim = worker_pid(&place, "killed-worker-1");
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("it runs");
    let job = place.wait_for_phase("killed", "Succeeded");
    assert_eq!(job["generation"], 2, "{job:#}");
    let logs = place.muster(&["logs", "killed"]).ok().stdout;
    assert!(logs.contains("rank 0 finished all 40 steps"), "{logs}");
    assert!(!logs.contains("starts at step 0"), "it went on from where it was: {logs}");
    let before = place.muster(&["logs", "killed", "--previous"]).ok().stdout;
    assert!(before.contains("starts at step 0"), "{before}");
    until("nothing is left", || replica_processes(place.data()).is_empty().then_some(()));
}

/// The main process of a replica.
fn worker_pid(place: &Place, replica: &str) -> rustix::process::Pid {
    let wanted = format!("MUSTER_REPLICA={replica}");
    until("the replica runs", || {
        replica_processes(place.data()).into_iter().find_map(|pid| {
            let read =
                |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let environ = read("environ");
            let ours =
                environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            let python = String::from_utf8_lossy(&read("cmdline")).contains("steps.py");
            (ours && python).then(|| rustix::process::Pid::from_raw(pid)).flatten()
        })
    })
}
