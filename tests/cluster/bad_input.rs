//! Bad input: one clear error with place and next step, nothing half applied, exit code not 0.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use muster_tests::{Job, Outcome, Place, Role, until};
use serde_json::json;

fn write(place: &Place, text: &str) -> String {
    let path: PathBuf = place.data().join("bad.yaml");
    fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

fn refused(place: &Place, text: &str, expected: &[&str]) -> Outcome {
    let path = write(place, text);
    let outcome = place.muster(&["apply", "-f", &path]);
    assert_eq!(outcome.code, 3, "{text}\n{outcome:#?}");
    for part in expected {
        assert!(outcome.stderr.contains(part), "{part:?} is missing in {outcome:#?}");
    }
    let jobs = place.muster(&["get", "jobs", "-A", "-o", "json"]).ok().json();
    assert_eq!(jobs["items"], json!([]), "something was applied");
    outcome
}

const GOOD: &str = r"
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: good}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: {spec: {containers: [{name: pytorch, image: busybox, command: ['true']}]}}
";

#[test]
fn manifests_are_refused_with_place_and_advice() {
    let place = Place::up();
    let replace = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replace(from, to)
    };
    refused(&place, &replace("PyTorchJob", "PytorchJob"), &["M1002", "did you mean PyTorchJob"]);
    refused(&place, &replace("kubeflow.org/v1", "kubeflow.org/v2"), &["M1002", "kubeflow.org/v1"]);
    refused(
        &place,
        &replace("replicas: 1", "replicas: two"),
        &["spec.pytorchReplicaSpecs.Master.replicas", "found"],
    );
    refused(&place, &replace("replicas: 1", "replicas: 2"), &["Master.replicas", "must be 1"]);
    refused(&place, &replace("replicas: 1", "replicas: -1"), &["Master.replicas"]);
    refused(&place, &replace("name: pytorch,", "name: torch,"), &["containers", "pytorch"]);
    refused(
        &place,
        &replace("[{name: pytorch, image: busybox, command: ['true']}]", "[]"),
        &["Master.template.spec.containers", "required"],
    );
    let limits = "command: ['true'], resources: {limits: {memory: 1.5Gx}}";
    refused(
        &place,
        &replace("command: ['true']", limits),
        &["containers[0].resources.limits.memory", "1.5Gx"],
    );
    let two = format!("{GOOD}---{}", replace("replicas: 1", "replicas: 7"));
    refused(&place, &two, &["document 2", "must be 1", "nothing was applied"]);
    let both = replace("replicas: 1", "replicas: 0").replace("name: pytorch,", "name: torch,");
    let outcome = refused(&place, &both, &["Master.replicas", "containers"]);
    assert!(outcome.stderr.contains("muster explain M1001"), "{outcome:#?}");
    let page = place.muster(&["explain", "M1001"]).ok();
    assert!(page.stdout.starts_with("# M1001"), "{page:#?}");
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let place = Place::up();
    let large = format!("{GOOD}# {}", "x".repeat(3 << 20));
    refused(&place, &large, &["M1003", "1.5 MiB"]);
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, inner) in
        [('b', 'a'), ('c', 'b'), ('d', 'c'), ('e', 'd'), ('f', 'e'), ('g', 'f'), ('h', 'g')]
    {
        let all = format!("*{inner}, ").repeat(9);
        bomb.push_str(&format!("{name}: &{name} [{all}]\n"));
    }
    refused(&place, &bomb, &["M1003"]);
    refused(&place, "a: [1, 2", &["M1003", "line"]);
    refused(&place, &"[".repeat(5000), &["M1003"]);
    refused(&place, "", &["M1003", "empty"]);
    let anchored = GOOD.replace("metadata: {name: good}", "metadata: &m {name: good}\nx: *m");
    let path = write(&place, &anchored);
    let outcome = place.muster(&["apply", "-f", &path]).ok();
    assert!(outcome.stderr.contains("unknown field"), "anchors work: {outcome:#?}");
}

#[test]
fn a_command_that_does_not_exist_fails_the_job_at_once() {
    let place = Place::up();
    let job = Job::new("typo", 1, &["trainn", "--fast"]);
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]);
    assert_eq!(outcome.code, 1, "{outcome:#?}");
    assert!(outcome.stderr.contains("trainn"), "{outcome:#?}");
    assert_eq!(place.job("typo").map(|job| job["restarts"].clone()), Some(json!(0)));
}

#[test]
fn an_image_that_is_not_mapped_runs_on_the_host_with_a_warning() {
    let place = Place::up();
    let job = Job::shell("odd", 0, "echo ran").image("registry.example/team/odd:1");
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]).ok();
    assert!(outcome.stdout.contains("[master-0] ran"), "{outcome:#?}");
    let events = place.muster(&["get", "events", "--job", "odd"]).ok().stdout;
    assert!(events.contains("registry.example/team/odd:1"), "{events}");
}

#[test]
fn what_does_not_exist_is_named() {
    let place = Place::up();
    for arguments in [
        &["get", "pytorchjob", "nobody"][..],
        &["describe", "nobody"],
        &["logs", "nobody"],
        &["delete", "nobody"],
        &["wait", "nobody"],
        &["explain", "nobody"],
        &["nodes", "remove", "nobody"],
    ] {
        let outcome = place.muster(arguments);
        assert_eq!(outcome.code, 3, "{arguments:?} {outcome:#?}");
        assert!(
            outcome.stderr.contains("M1005") && outcome.stderr.contains("nobody"),
            "{outcome:#?}"
        );
    }
    let outcome = place.muster(&["get", "pytorchjbos"]);
    assert!(outcome.code == 3 && outcome.stderr.contains("M1002"), "{outcome:#?}");
    let outcome = place.muster(&["delete", "nobody", "--ignore-not-found"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}

#[test]
fn the_token_is_asked_for() {
    let place = Place::up();
    let wrong = place.data().join("wrong");
    fs::write(&wrong, "0123").expect("it can be written");
    let get = || place.muster(&["get", "jobs", "--token-file", &wrong.to_string_lossy()]);
    let mode = |mode| fs::set_permissions(&wrong, fs::Permissions::from_mode(mode)).expect("ours");
    mode(0o644);
    let outcome = get();
    assert!(outcome.code == 4 && outcome.stderr.contains("chmod 600"), "{outcome:#?}");
    mode(0o600);
    let outcome = get();
    assert_eq!(outcome.code, 3, "{outcome:#?}");
    assert!(outcome.stderr.contains("M1009"), "{outcome:#?}");
}

#[test]
fn a_second_agent_of_one_name_is_refused_until_the_first_is_removed() {
    let mut place = Place::apart();
    let nodes = place.muster(&["nodes", "-o", "json"]).ok().json();
    let name = nodes["items"][0]["metadata"]["name"].as_str().expect("a node").to_owned();
    let other = Place::new();
    let log = other.data().join("agent.log");
    let token = place.data().join("token");
    let mut second = other
        .command(&["agent", "--node-name", &name, "--server", &place.server()])
        .args(["--token-file", &token.to_string_lossy()])
        .stderr(fs::File::create(&log).expect("room"))
        .spawn()
        .expect("muster runs");
    let said =
        |words: &str| fs::read_to_string(&log).unwrap_or_default().contains(words).then_some(());
    until("the second agent is refused", || said("belongs to another agent"));
    place.kill(Role::Agent);
    until("the node can be removed", || {
        (place.muster(&["nodes", "remove", &name]).code == 0).then_some(())
    });
    until("the second agent has the name", || said("session with the coordinator opened"));
    second.kill().expect("it runs");
    second.wait().expect("it ends");
}

#[test]
fn without_a_coordinator_the_next_command_is_named() {
    let place = Place::new();
    let outcome = place.command(&["get"]).env_remove("MUSTER_SERVER").output();
    let outcome = Outcome::of(outcome.expect("muster runs"));
    assert_eq!(outcome.code, 4, "{outcome:#?}");
    assert!(outcome.stderr.contains("muster up"), "{outcome:#?}");
}

#[test]
fn a_port_that_is_taken_and_an_address_for_everybody_are_refused() {
    let place = Place::up();
    let other = Place::new();
    let taken = place.server().replace("http://", "");
    let start = |listen: &str| {
        let arguments = ["coordinator", "--listen", listen, "--http-listen", "127.0.0.1:0"];
        let output = other.command(&arguments).output().expect("muster runs");
        Outcome::of(output)
    };
    let outcome = start(&taken);
    assert_eq!(outcome.code, 4, "{outcome:#?}");
    assert!(
        outcome.stderr.contains("M5007") && outcome.stderr.contains("--listen"),
        "{outcome:#?}"
    );
    let outcome = start("0.0.0.0:0");
    assert!(
        outcome.stderr.contains("M5002") && outcome.stderr.contains("--advertise"),
        "{outcome:#?}"
    );
    let open = ["coordinator", "--listen", "127.0.0.1:0", "--http-listen", "192.0.2.1:80"];
    let outcome = Outcome::of(other.command(&open).output().expect("muster runs"));
    assert!(outcome.stderr.contains("M5002") && outcome.stderr.contains("TLS"), "{outcome:#?}");
}

#[test]
fn one_directory_serves_one_coordinator() {
    let place = Place::apart();
    let arguments = ["coordinator", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let outcome = Outcome::of(place.command(&arguments).output().expect("muster runs"));
    assert_eq!(outcome.code, 4, "{outcome:#?}");
    assert!(outcome.stderr.contains("M5003"), "{outcome:#?}");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let mut place = Place::up();
    place.kill(Role::Up);
    let folder = place.data().join("coordinator/log/wal");
    let mut touched = 0;
    for file in fs::read_dir(&folder).expect("a log") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            let mut bytes = fs::read(&path).expect("a segment");
            let magic_end = 8;
            bytes[magic_end] = 0x7f;
            fs::write(&path, &bytes).expect("it can be written");
            touched += 1;
        }
    }
    assert!(touched > 0);
    let data = place.data().to_string_lossy().into_owned();
    let doors = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let mut command = place.command(&["up", "--data-dir", &data]);
    let output = command.args(doors).env_remove("MUSTER_SERVER").output();
    let outcome = Outcome::of(output.expect("muster runs"));
    assert_eq!(outcome.code, 4, "{outcome:#?}");
    assert!(outcome.stderr.contains("newer"), "{outcome:#?}");
}

#[test]
fn a_log_that_has_lost_what_was_acknowledged_is_not_taken_for_a_new_one() {
    let mut place = Place::up();
    let job = Job::shell("kept", 0, "true").write(place.data());
    place.muster(&["run", &job.to_string_lossy()]).ok();
    place.stop(Role::Up);
    let folder = place.data().join("coordinator/log/wal");
    for file in fs::read_dir(&folder).expect("a log") {
        fs::remove_file(file.expect("an entry").path()).expect("it can be removed");
    }
    let data = place.data().to_string_lossy().into_owned();
    let doors = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    for _ in 0..2 {
        let mut command = place.command(&["up", "--data-dir", &data]);
        let output = command.args(doors).env_remove("MUSTER_SERVER").output();
        let outcome = Outcome::of(output.expect("muster runs"));
        assert_eq!(outcome.code, 4, "{outcome:#?}");
        assert!(outcome.stderr.contains("acknowledged entries are missing"), "{outcome:#?}");
    }
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing() {
    let disk = tempfile::tempdir().expect("a directory");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=72m", "tmpfs"])
        .arg(disk.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a small file system cannot be mounted here (root is needed)");
        return;
    }
    let unmount = Unmount(disk.path().to_path_buf());
    let mut place = Place::new();
    std::os::unix::fs::symlink(disk.path(), place.data().join("coordinator")).expect("a link");
    place.start(Role::Up);
    place.wait_until_ready();
    let job = Job::shell("before", 0, "true").write(place.data());
    place.muster(&["run", &job.to_string_lossy()]).ok();
    let ballast = disk.path().join("ballast");
    let filled = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=64k", &format!("of={}", ballast.display())])
        .stderr(std::process::Stdio::null())
        .status();
    assert!(filled.is_ok());
    let job = Job::shell("during", 0, "true").write(place.data());
    let outcome = place.muster(&["apply", "-f", &job.to_string_lossy()]);
    assert!(outcome.code != 0 && outcome.stderr.contains("M4001"), "{outcome:#?}");
    assert_eq!(place.muster(&["get", "pytorchjob", "during"]).code, 3);
    fs::remove_file(&ballast).expect("the ballast");
    let applied = until("there is room again", || {
        let outcome = place.muster(&["apply", "-f", &job.to_string_lossy()]);
        (outcome.code == 0).then_some(outcome)
    });
    assert!(applied.stdout.contains("created"), "{applied:#?}");
    place.wait_for_phase("during", "Succeeded");
    assert_eq!(place.object("before")["metadata"]["name"], "before");
    drop(place);
    drop(unmount);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
