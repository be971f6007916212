//! The HTTP door, with the clients that people have: a real kubectl, and the Python clients of Kubernetes and Kubeflow.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use muster_tests::{Job, Members, Outcome, Place, Role, until};
use serde_json::Value;

/// `clients_environment.py` says with it that this machine cannot build an environment.
const CANNOT: i32 = 75;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Where the clients are. None, and a word why, where they cannot be installed.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("MUSTER_TEST_CACHE").map(PathBuf::from);
    let cache =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-envs"));
    let built = Command::new("python3").arg(script("clients_environment.py")).arg(cache).output();
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            eprintln!("skipped: clients of Kubernetes: python3: {error}");
            return None;
        }
    };
    if built.status.code() == Some(CANNOT) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&built.stderr).trim());
        return None;
    }
    let text = Outcome::of(built).ok().stdout;
    Some(PathBuf::from(text.lines().last().expect("it prints a folder")))
}

/// kubectl with a configuration. Discovery is cached in `home`.
fn kubectl(programs: &Path, (config, home): (&Path, &Path)) -> Command {
    let mut command = Command::new(programs.join("kubectl"));
    command.arg("--kubeconfig").arg(config).env("HOME", home).stdin(Stdio::null());
    command
}

/// A coordinator, an agent, and clients that know where they are.
struct Clients {
    place: Place,
    programs: PathBuf,
}

impl Clients {
    /// None, and a word why, where the clients cannot be installed.
    fn of(place: Place) -> Option<Self> {
        let programs = programs()?;
        let clients = Self { place, programs };
        clients.write_config(&[]);
        Some(clients)
    }

    fn config(&self) -> PathBuf {
        self.place.data().join("kubeconfig")
    }

    fn write_config(&self, flags: &[&str]) {
        let arguments = [flags, &["kubeconfig"]].concat();
        let config = self.place.muster(&arguments).ok().stdout;
        std::fs::write(self.config(), config).expect("the data directory is ours");
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = kubectl(&self.programs, (&self.config(), self.place.data()));
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.kubectl(arguments).output().expect("kubectl is installed"))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["-o", "json"]].concat()).ok().json()
    }

    fn python(&self, what: &str) {
        let done: Output = Command::new(self.programs.join("python"))
            .arg(script("kubernetes_clients.py"))
            .arg(self.config())
            .arg(what)
            .env("HOME", self.place.data())
            .output()
            .expect("python is installed");
        Outcome::of(done).ok();
    }

    fn write(&self, job: Job) -> String {
        job.write(self.place.data()).to_string_lossy().into_owned()
    }
}

#[test]
fn kubectl_drives_a_job_to_its_end() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    let job = clients.write(Job::shell("drive", 1, "echo hello from $RANK; sleep 1; echo bye"));
    assert_eq!(
        clients.run(&["create", "-f", &job, "--dry-run=server"]).ok().stdout,
        "pytorchjob.kubeflow.org/drive created (server dry run)\n"
    );
    assert_eq!(clients.run(&["get", "pytorchjobs"]).ok().stdout, "");
    assert!(clients.run(&["apply", "-f", &job]).ok().stdout.contains("drive created"));
    clients.run(&["wait", "--for=create", "pod/drive-master-0", "--timeout=60s"]).ok();
    let ready = "--for=jsonpath={.status.containerStatuses[0].started}=true";
    clients.run(&["wait", ready, "pod/drive-master-0", "--timeout=60s"]).ok();
    let log = clients.run(&["logs", "-f", "drive-master-0"]).ok().stdout;
    assert_eq!(log, "hello from 0\nbye\n");
    clients.run(&["wait", "--for=condition=Succeeded", "pytorchjob/drive", "--timeout=60s"]).ok();
    let table = clients.run(&["get", "pytorchjobs"]).ok().stdout;
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "AGE"]);
    assert_eq!(rows[1][..2], ["drive", "Succeeded"]);
    let pods = clients.run(&["get", "pods", "-l", "training.kubeflow.org/job-name=drive"]).ok();
    assert!(
        pods.stdout.contains("drive-worker-0") && pods.stdout.contains("Completed"),
        "{pods:?}"
    );
    assert_eq!(clients.run(&["logs", "drive-worker-0", "--tail=1"]).ok().stdout, "bye\n");
    let described = clients.run(&["describe", "pytorchjob", "drive"]).ok().stdout;
    assert!(described.contains("PyTorchJobSucceeded"), "{described}");
    let all = clients.run(&["get", "all"]).ok().stdout;
    assert!(
        all.contains("pytorchjob.kubeflow.org/drive") && all.contains("pod/drive-master-0"),
        "{all}"
    );
    // Applied once more, nothing changes, and nothing differs.
    assert!(clients.run(&["apply", "-f", &job]).ok().stdout.contains("unchanged"));
    clients.run(&["diff", "-f", &job]).ok();
    let deleted = clients.run(&["delete", "pytorchjob", "drive"]).ok().stdout;
    assert!(deleted.contains("deleted"), "{deleted}");
    assert_eq!(clients.run(&["get", "pytorchjobs,pods"]).ok().stdout, "");
}

#[test]
fn kubectl_suspends_resumes_labels_and_says_what_cannot_be_done() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    let job = clients.write(Job::shell("held", 1, "sleep 600"));
    clients.run(&["create", "-f", &job]).ok();
    clients.run(&["wait", "--for=condition=Running", "pytorchjob/held", "--timeout=60s"]).ok();
    let previous = clients.run(&["logs", "held-master-0", "--previous"]);
    assert!(previous.stderr.contains("previous terminated container"), "{previous:?}");
    let patch = |suspend: bool| format!(r#"{{"spec":{{"runPolicy":{{"suspend":{suspend}}}}}}}"#);
    let patched = |suspend| {
        clients.run(&["patch", "pytorchjob", "held", "--type=merge", "-p", &patch(suspend)]).ok()
    };
    assert!(patched(true).stdout.ends_with("held patched\n"));
    assert!(patched(true).stdout.ends_with("held patched (no change)\n"));
    clients.run(&["wait", "--for=condition=Suspended", "pytorchjob/held", "--timeout=60s"]).ok();
    until("the pods are gone", || {
        clients.json(&["get", "pods"])["items"].as_array()?.is_empty().then_some(())
    });
    assert!(patched(false).stdout.ends_with("held patched\n"));
    clients.run(&["wait", "--for=condition=Running", "pytorchjob/held", "--timeout=60s"]).ok();
    clients.run(&["label", "pytorchjob", "held", "team=a"]).ok();
    let found =
        clients.run(&["get", "pytorchjobs", "-l", "team in (a,b)", "-o", "name"]).ok().stdout;
    assert_eq!(found, "pytorchjob.kubeflow.org/held\n");
    assert_eq!(clients.run(&["get", "pytorchjobs", "-l", "team notin (a)"]).ok().stdout, "");

    let refused = |arguments: &[&str], said: &str| {
        let outcome = clients.run(arguments);
        assert_ne!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr.contains(said), "{arguments:?}: {outcome:?}");
    };
    refused(&["create", "-f", &job], "AlreadyExists");
    refused(&["get", "pytorchjob", "nope"], "pytorchjobs.kubeflow.org \"nope\" not found");
    refused(&["get", "deployments"], "the server doesn't have a resource type");
    refused(&["delete", "pod", "held-worker-0"], "lives and dies together");
    let replicas = r#"{"spec":{"pytorchReplicaSpecs":{"Worker":{"replicas":7}}}}"#;
    refused(
        &["patch", "pytorchjob", "held", "--type=merge", "-p", replicas],
        "spec.pytorchReplicaSpecs.Worker.replicas",
    );
    let wrong =
        clients.write(Job::shell("wrong", 1, "true").with("/spec/runPolicy/nonsense", 1.into()));
    refused(&["create", "-f", &wrong], "nonsense");
    assert_eq!(clients.run(&["auth", "can-i", "create", "pytorchjobs"]).ok().stdout, "yes\n");
    assert_eq!(clients.run(&["auth", "can-i", "create", "deployments.apps"]).code, 1);
    assert!(clients.run(&["auth", "whoami"]).ok().stdout.contains("muster:owner"));
    clients.run(&["delete", "pytorchjobs", "--all"]).ok();
}

#[test]
fn kubectl_sees_why_a_gang_waits_and_watches_it_come_and_go() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    let name = clients.json(&["get", "nodes"])["items"][0]["metadata"]["name"].clone();
    let name = name.as_str().expect("a node has a name");
    clients.run(&["cordon", name]).ok();
    assert!(clients.run(&["get", "nodes"]).ok().stdout.contains("SchedulingDisabled"));
    let mut watching = clients
        .kubectl(&["get", "pytorchjobs", "-w", "--output-watch-events", "--no-headers"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl is installed");
    let job = clients.write(Job::shell("waits", 1, "true"));
    clients.run(&["apply", "-f", &job]).ok();
    let unschedulable = "--for=jsonpath={.status.conditions[0].reason}=Unschedulable";
    clients.run(&["wait", unschedulable, "pod/waits-worker-0", "--timeout=60s"]).ok();
    until("the pod says why", || {
        let pod = clients.json(&["get", "pod", "waits-worker-0"]);
        let said = pod["status"]["conditions"][0]["message"].as_str()?.to_owned();
        said.contains("cordon").then_some(())
    });
    clients.run(&["uncordon", name]).ok();
    clients.run(&["wait", "--for=condition=Succeeded", "pytorchjob/waits", "--timeout=60s"]).ok();
    clients.run(&["delete", "pytorchjob", "waits"]).ok();
    let lines = BufReader::new(watching.stdout.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        let ends = words[0] == "DELETED";
        seen.push(words);
        if ends {
            break;
        }
    }
    watching.kill().expect("it is ours");
    watching.wait().expect("it is ours");
    assert_eq!(seen[0][..2], ["ADDED", "waits"]);
    assert!(
        seen.iter().any(|words| words.get(2).is_some_and(|state| state == "Succeeded")),
        "{seen:?}"
    );
}

#[test]
fn built_in_kinds_are_applied_changed_and_read_back() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "twice"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "none", "command": ["echo", "done"]},
        ]}}},
    });
    let path = clients.place.data().join("twice.json");
    std::fs::write(&path, job.to_string()).expect("the data directory is ours");
    let path = path.to_string_lossy().into_owned();
    clients
        .run(&[
            "run",
            "other",
            "--image=none",
            "--restart=Never",
            "--command",
            "--",
            "echo",
            "other",
        ])
        .ok();
    clients.run(&["apply", "-f", &path]).ok();
    clients.run(&["wait", "--for=condition=Complete", "job/twice", "--timeout=60s"]).ok();
    assert!(clients.run(&["apply", "-f", &path]).ok().stdout.contains("unchanged"));
    assert_eq!(clients.run(&["logs", "job/twice"]).ok().stdout, "done\n");
    clients
        .run(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/other", "--timeout=60s"])
        .ok();
    assert_eq!(clients.run(&["logs", "other"]).ok().stdout, "other\n");
    clients.run(&["label", "job", "twice", "a=b"]).ok();
    let read = clients.run(&["get", "job", "twice", "-o", "yaml"]).ok().stdout;
    let file = clients.place.data().join("read.yaml");
    std::fs::write(&file, read).expect("the data directory is ours");
    clients.run(&["replace", "-f", &file.to_string_lossy()]).ok();
    let applied =
        clients.run(&["apply", "--server-side", "--force-conflicts", "-f", &path]).ok().stdout;
    assert!(applied.contains("serverside-applied"), "{applied}");
    clients.run(&["delete", "-f", &path]).ok();
    clients.run(&["delete", "pod", "other"]).ok();
    assert_eq!(clients.run(&["get", "pods,jobs"]).ok().stdout, "");
}

#[test]
fn kubectl_works_against_any_member_and_after_the_death_of_the_leader() {
    let Some(programs) = programs() else { return };
    let mut members = Members::start(3);
    let leader = members.leader();
    let follower = (leader + 1) % 3;
    let home = members.places[follower].data().to_owned();
    let config = home.join("kubeconfig");
    let printed = members.places[follower].muster(&["kubeconfig"]).ok().stdout;
    std::fs::write(&config, printed).expect("the data directory is ours");
    let run = |arguments: &[&str]| {
        let command = kubectl(&programs, (&config, &home)).args(arguments).output();
        Outcome::of(command.expect("kubectl is installed"))
    };
    let job = Job::shell("far", 1, "echo hello from $RANK; sleep 600").write(&home);
    run(&["apply", "-f", &job.to_string_lossy()]).ok();
    run(&["wait", "--for=condition=Running", "pytorchjob/far", "--timeout=60s"]).ok();
    assert_eq!(run(&["logs", "far-worker-0"]).ok().stdout, "hello from 1\n");
    assert!(run(&["get", "pytorchjob", "nope"]).stderr.contains("NotFound"));
    members.places[leader].kill(Role::Coordinator);
    // Clients try again by themselves while nobody leads.
    let listed = until("kubectl lists the job", || {
        let outcome = run(&["get", "pytorchjobs", "-o", "name"]);
        (outcome.code == 0).then_some(outcome.stdout)
    });
    assert_eq!(listed, "pytorchjob.kubeflow.org/far\n");
    run(&["delete", "pytorchjob", "far", "--timeout=60s"]).ok();
    assert_eq!(run(&["get", "pytorchjobs", "-o", "name"]).ok().stdout, "");
}

#[test]
fn config_maps_and_runtimes_are_kept_and_a_trainjob_finds_its_runtime() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    clients.run(&["create", "configmap", "settings", "--from-literal=a=b"]).ok();
    let exists = clients.run(&["create", "configmap", "settings", "--from-literal=a=b"]);
    assert!(exists.stderr.contains("already exists"), "{exists:?}");
    clients
        .run(&["patch", "configmap", "settings", "-p", r#"{"data":{"c":"d"},"immutable":true}"#])
        .ok();
    let fixed = clients.run(&["patch", "configmap", "settings", "-p", r#"{"data":{"c":"e"}}"#]);
    assert!(fixed.stderr.contains("immutable"), "{fixed:?}");
    let wrong = clients.run(&[
        "patch",
        "configmap",
        "settings",
        "--type=merge",
        "-p",
        r#"{"data":{"c":5}}"#,
    ]);
    assert!(wrong.stderr.contains("data.c"), "{wrong:?}");

    let mut runtime = clients.json(&["get", "clustertrainingruntime", "torch-distributed"]);
    runtime["metadata"] = serde_json::json!({
        "name": "own", "labels": runtime["metadata"]["labels"].clone(),
    });
    let path = clients.place.data().join("runtime.json");
    std::fs::write(&path, runtime.to_string()).expect("the data directory is ours");
    let path = path.to_string_lossy().into_owned();
    let job = serde_json::json!({
        "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": "refers"},
        "spec": {"runtimeRef": {"name": "own"}, "suspend": true},
    });
    let job_path = clients.place.data().join("refers.json");
    std::fs::write(&job_path, job.to_string()).expect("the data directory is ours");
    let job_path = job_path.to_string_lossy().into_owned();
    let early = clients.run(&["create", "-f", &job_path]);
    assert!(early.stderr.contains("must be created before"), "{early:?}");
    clients.run(&["create", "-f", &path]).ok();
    clients.run(&["create", "-f", &job_path, "--dry-run=server"]).ok();

    // They outlive the coordinator.
    let mut clients = clients;
    clients.place.kill(Role::Up);
    clients.place.start(Role::Up);
    clients.place.wait_until_ready();
    let kept = clients.json(&["get", "configmap", "settings"]);
    assert_eq!(kept["data"], serde_json::json!({"a": "b", "c": "d"}));
    clients.run(&["create", "-f", &job_path]).ok();
    clients.place.muster(&["get", "trainjobs", "refers"]).ok();
    clients.run(&["delete", "-f", &path]).ok();
    clients.run(&["delete", "configmaps", "--all"]).ok();
    let left = clients.json(&["get", "configmaps,clustertrainingruntimes"]);
    let names: Vec<&str> = left["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["metadata"]["name"].as_str())
        .collect();
    assert!(
        names.contains(&"torch-distributed")
            && !names.contains(&"own")
            && !names.contains(&"settings"),
        "{names:?}"
    );
    clients.run(&["delete", "trainjob", "refers"]).ok();
}

#[test]
fn the_training_client_works_unmodified() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    clients.python("training");
}

#[test]
fn the_trainer_client_works_unmodified() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    clients.python("trainer");
}

#[test]
fn the_client_of_kubernetes_watches_pages_and_hears_what_is_wrong() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    clients.python("plain");
}

#[test]
fn broken_requests_are_refused_with_a_status_and_nothing_is_kept() {
    let Some(clients) = Clients::of(Place::up()) else { return };
    clients.python("raw");
}

#[test]
fn users_may_do_with_kubectl_what_they_were_granted() {
    let mut place = Place::new();
    place.flags = vec!["--tls".into()];
    place.speak_tls();
    place.start(Role::Up);
    place.wait_until_ready();
    let Some(clients) = Clients::of(place) else { return };
    // The operator's certificate comes from `muster` itself, whenever kubectl asks.
    assert!(clients.run(&["auth", "whoami"]).ok().stdout.contains("muster:owner"));
    let job = clients.write(Job::shell("mine", 1, "sleep 600"));
    clients.run(&["create", "-f", &job]).ok();
    let token = clients.place.muster(&[
        "token",
        "create",
        "--user",
        "ada",
        "--grant",
        "viewer:default",
        "--grant",
        "editor:team",
        "-o",
        "json",
    ]);
    let token = token.ok().json()["token"].as_str().expect("a token").to_owned();
    let file = clients.place.data().join("ada.token");
    {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&file);
        made.expect("the data directory is ours")
            .write_all(token.as_bytes())
            .expect("there is room");
    }
    clients.write_config(&["--token-file", &file.to_string_lossy()]);
    assert!(clients.run(&["auth", "whoami"]).ok().stdout.contains("ada"));
    assert!(clients.run(&["get", "pytorchjobs"]).ok().stdout.contains("mine"));
    let refused = clients.run(&["delete", "pytorchjob", "mine"]);
    let expected = "User \"ada\" cannot delete resource \"pytorchjobs\" in API group \"kubeflow.org\" in the namespace \"default\"";
    assert!(refused.stderr.contains(expected), "{refused:?}");
    assert!(clients.run(&["get", "nodes"]).stderr.contains("at the cluster scope"));
    assert_eq!(clients.run(&["auth", "can-i", "delete", "pytorchjobs"]).code, 1);
    clients.run(&["auth", "can-i", "delete", "pytorchjobs", "-n", "team"]).ok();
    clients.run(&["create", "-n", "team", "-f", &job]).ok();
    clients.run(&["delete", "-n", "team", "pytorchjob", "mine"]).ok();
}
