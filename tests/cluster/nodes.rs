//! What operators do to nodes, with real agents.

use std::process::Stdio;

use muster_tests::{Job, Members, Outcome, Place, Role, replica_processes, until};
use serde_json::{Value, json};

/// A coordinator with an agent, and a second agent of another machine.
struct Two {
    place: Place,
    other: Place,
}

const FIRST: &str = "first";
const SECOND: &str = "second";

impl Two {
    fn up() -> Self {
        let mut place = Place::new();
        let flags = |name: &str| {
            ["--node-name", name, "--capacity", "example.com/slot=2"].map(String::from)
        };
        place.flags = flags(FIRST).to_vec();
        place.start(Role::Up);
        place.wait_until_ready();
        let mut other = Place::new();
        other.flags = flags(SECOND).to_vec();
        other.servers = Some(place.server());
        other.token = Some(place.data().join("token"));
        other.start(Role::Agent);
        let two = Self { place, other };
        until("both nodes are there", || {
            two.node(SECOND).filter(|node| node["status"]["conditions"][0]["status"] == "True")
        });
        two
    }

    fn node(&self, name: &str) -> Option<Value> {
        let found = self.place.muster(&["get", "node", name, "-o", "json"]);
        (found.code == 0).then(|| found.json())
    }

    fn nodes(&self, arguments: &[&str]) -> Outcome {
        self.place.muster(&[&["nodes"], arguments].concat())
    }

    /// Submits a gang of which each rank takes a slot.
    fn submit(&self, name: &str, workers: u32, change: impl Fn(&mut Value)) {
        let script = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
        let job = Job::shell(name, workers, script).each_template(|template| {
            let spec = &mut template["spec"];
            spec["containers"][0]["resources"] = json!({"limits": {"example.com/slot": 1}});
            change(spec);
        });
        let path = job.write(self.place.data());
        self.place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    }

    fn nodes_of(&self, name: &str) -> Vec<String> {
        let job = self.place.job(name).expect("the job is there");
        let replicas = job["replicas"].as_array().cloned().unwrap_or_default();
        let node = |replica: &Value| replica["node"].as_str().map(ToOwned::to_owned);
        replicas.iter().filter_map(node).collect()
    }

    fn waits(&self, name: &str, reason: &str) -> String {
        let job = until(&format!("{name} waits: {reason}"), || {
            self.place.job(name).filter(|job| job["waitReason"] == reason)
        });
        job["wait"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_drain_moves_gangs_whole_charges_nothing_and_ends_when_nothing_runs_there() {
    let two = Two::up();
    two.submit("ddp", 1, |_| {});
    let before = two.place.wait_for_phase("ddp", "Running");
    let from = two.nodes_of("ddp")[0].clone();
    let to = if from == FIRST { SECOND } else { FIRST };
    let data = if from == FIRST { two.place.data() } else { two.other.data() };
    assert_eq!(shims(data).len(), 2);
    let drained = two.nodes(&["drain", &from, "--timeout", "100"]).ok();
    assert_eq!(drained.stdout, format!("node/{from} drained\n"));
    assert!(drained.stderr.contains("evicting pytorchjob/ddp"), "{drained:#?}");
    let gangs = two.nodes_of("ddp");
    assert!(!gangs.contains(&from), "{gangs:?}");
    assert!(shims(data).is_empty(), "something runs on {from}");
    let after = two.place.wait_for_phase("ddp", "Running");
    assert_eq!(two.nodes_of("ddp"), [to, to]);
    assert_eq!((&after["restarts"], &after["attempt"]), (&before["restarts"], &json!(2)));
    // Drained again, there is nothing to do.
    two.nodes(&["drain", &from]).ok();
    assert!(two.nodes(&[]).ok().stdout.contains("Ready,SchedulingDisabled"));
    // Both are closed now: the gang waits in the queue and says for what.
    let drained = two.nodes(&["drain", to, "--grace-period", "1"]).ok();
    assert!(drained.stderr.contains("ddp evicted, now Queued"), "{drained:#?}");
    let wait = two.waits("ddp", "NoUsableNode");
    assert!(wait.contains("2 nodes cordoned"), "{wait}");
    let back = two.nodes(&["uncordon", FIRST, SECOND]).ok();
    assert_eq!(back.stdout, "node/first uncordoned\nnode/second uncordoned\n");
    two.place.wait_for_phase("ddp", "Running");
    two.place.muster(&["delete", "ddp"]).ok();
}

/// The processes of replicas whose agent has its data there.
fn shims(data: &std::path::Path) -> Vec<i32> {
    let replicas = data.join("agent/replicas");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("a Linux machine").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("shim") && line.contains(&*replicas.to_string_lossy()) {
            found.push(pid);
        }
    }
    found
}

#[test]
fn a_drain_with_a_grace_period_ends_ranks_that_do_not_listen() {
    let two = Two::up();
    let job = Job::shell("deaf", 1, "trap '' TERM; while :; do sleep 0.1; done");
    let path = job
        .each_template(|template| template["spec"]["terminationGracePeriodSeconds"] = 3600.into())
        .write(two.place.data());
    two.place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    two.place.wait_for_phase("deaf", "Running");
    let from = two.nodes_of("deaf")[0].clone();
    let late = two.nodes(&["drain", &from, "--timeout", "1"]);
    assert_eq!(late.code, 5, "{late:#?}");
    assert!(late.stderr.contains("not drained within 1s"), "{late:#?}");
    // Asked again with less patience, the ranks that are stopping already are hurried.
    two.nodes(&["drain", &from, "--grace-period", "0", "--timeout", "100"]).ok();
    two.place.wait_for_phase("deaf", "Running");
    assert!(!two.nodes_of("deaf").contains(&from));
    let to = two.nodes_of("deaf")[0].clone();
    two.nodes(&["drain", &to, "--grace-period", "0", "--timeout", "100"]).ok();
    two.place.muster(&["delete", "deaf"]).ok();
    until("nothing is left", || replica_processes(two.place.data()).is_empty().then_some(()));
}

#[test]
fn a_job_that_is_never_to_be_restarted_is_evicted_only_by_force() {
    let two = Two::up();
    let script = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let path = Job::shell("once", 1, script).restart_policy("Never").write(two.place.data());
    two.place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    two.place.wait_for_phase("once", "Running");
    let from = two.nodes_of("once")[0].clone();
    let refused = two.nodes(&["drain", &from]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("M2009") && refused.stderr.contains("once"), "{refused:#?}");
    assert_eq!(two.place.wait_for_phase("once", "Running")["attempt"], 1);
    two.nodes(&["drain", &from, "--force", "--parallel", "--timeout", "100"]).ok();
    assert_eq!(two.place.wait_for_phase("once", "Running")["attempt"], 2);
    two.place.muster(&["delete", "once"]).ok();
}

#[test]
fn taints_and_selectors_say_where_gangs_go_and_why_they_wait() {
    let two = Two::up();
    let tainted = two.nodes(&["taint", FIRST, "gpu=a100:NoSchedule"]).ok();
    assert_eq!(tainted.stdout, "node/first tainted\n");
    let zone = |spec: &mut Value| spec["nodeSelector"] = json!({"zone": "a"});
    two.submit("zoned", 0, zone);
    let wait = two.waits("zoned", "NoMatchingNode");
    assert_eq!(
        wait,
        "no node can take role Master: 1 node with taint gpu=a100:NoSchedule not tolerated, 1 \
         without label zone=a"
    );
    let labeled = two.nodes(&["label", SECOND, "zone=a", "disk=fast"]).ok();
    assert_eq!(labeled.stdout, "node/second labeled\n");
    two.place.wait_for_phase("zoned", "Running");
    assert_eq!(two.nodes_of("zoned"), [SECOND]);
    let affine = |spec: &mut Value| {
        spec["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
        let term =
            json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["fast"]}]});
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [term]});
    };
    two.submit("tolerant", 1, affine);
    two.place.wait_for_phase("tolerant", "Running");
    assert_eq!(two.nodes_of("tolerant"), [FIRST, FIRST]);
    // NoExecute drives away who does not tolerate it, and nobody else.
    two.nodes(&["taint", FIRST, "gpu=a100:NoExecute"]).ok();
    two.nodes(&["taint", SECOND, "upkeep:NoExecute"]).ok();
    let wait = two.waits("zoned", "NoMatchingNode");
    assert!(wait.contains("1 with taint upkeep:NoExecute not tolerated"), "{wait}");
    assert_eq!(two.place.job("zoned").expect("it is there")["restarts"], 0);
    assert_eq!(two.place.wait_for_phase("tolerant", "Running")["attempt"], 1);
    two.nodes(&["taint", SECOND, "upkeep-"]).ok();
    two.place.wait_for_phase("zoned", "Running");
    two.place.muster(&["delete", "zoned", "tolerant"]).ok();
}

#[test]
fn labels_set_by_hand_survive_the_agent_and_what_is_wrong_is_told_at_once() {
    let mut two = Two::up();
    two.nodes(&["label", SECOND, "zone=a"]).ok();
    two.nodes(&["taint", SECOND, "odd:PreferNoSchedule"]).ok();
    two.nodes(&["cordon", SECOND]).ok();
    assert_eq!(two.nodes(&["cordon", SECOND]).ok().stdout, "node/second already cordoned\n");
    two.other.kill(Role::Agent);
    two.other.start(Role::Agent);
    until("the agent has a session again", || {
        (two.place.muster(&["status", "-o", "json"]).json()["sessions"] == 2).then_some(())
    });
    let node = two.node(SECOND).expect("it is there");
    assert_eq!(node["metadata"]["labels"]["zone"], "a", "{node:#}");
    assert_eq!(node["spec"]["unschedulable"], true, "{node:#}");
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "odd", "effect": "PreferNoSchedule"}]),
        "{node:#}"
    );
    let other = two.nodes(&["label", SECOND, "zone=b"]);
    assert_eq!(other.code, 3, "{other:#?}");
    assert!(other.stderr.contains("M2010") && other.stderr.contains("--overwrite"), "{other:#?}");
    let named = two.nodes(&["label", SECOND, "zone=b", "--overwrite", "-o", "name"]).ok();
    assert_eq!(named.stdout, "node/second\n");
    assert_eq!(two.nodes(&["label", SECOND, "zone-"]).ok().stdout, "node/second unlabeled\n");
    assert_eq!(two.nodes(&["label", SECOND, "zone-"]).ok().stdout, "node/second not labeled\n");
    let wrong = two.nodes(&["taint", SECOND, "a=b", "a b:NoExecute", "a:Never"]);
    assert_eq!(wrong.code, 2, "{wrong:#?}");
    for told in ["\"a=b\" is no change", "\"a b\" is no taint key", "\"Never\" is no taint effect"]
    {
        assert!(wrong.stderr.contains(told), "{told}: {wrong:#?}");
    }
    assert_eq!(two.nodes(&["taint", SECOND, "none-"]).code, 3);
    let some = two.nodes(&["cordon", FIRST, "nobody", "no-one"]);
    assert_eq!(some.code, 3, "{some:#?}");
    assert_eq!(some.stdout, "node/first cordoned\n");
    assert!(some.stderr.contains("nobody") && some.stderr.contains("no-one"), "{some:#?}");
}

#[test]
fn two_nodes_are_drained_together_and_their_gangs_do_not_go_from_one_to_the_other() {
    let two = Two::up();
    for name in ["a", "b"] {
        two.submit(name, 1, |_| {});
        two.place.wait_for_phase(name, "Running");
    }
    assert_ne!(two.nodes_of("a"), two.nodes_of("b"));
    let drained = two.nodes(&["drain", FIRST, SECOND, "--timeout", "100", "-o", "json"]).ok();
    let items = drained.json()["items"].as_array().cloned().unwrap_or_default();
    let free = |node: &Value| node["status"]["free"]["example.com/slot"].clone();
    assert_eq!(items.iter().map(free).collect::<Vec<_>>(), [json!("2"), json!("2")]);
    for name in ["a", "b"] {
        let job = two.place.wait_for_phase(name, "Queued");
        assert_eq!((&job["attempt"], &job["restarts"]), (&json!(1), &json!(0)), "{job:#}");
    }
    two.place.muster(&["delete", "a", "b"]).ok();
}

#[test]
fn a_node_that_cannot_be_reached_holds_a_drain_up_until_it_is_removed() {
    let mut two = Two::up();
    two.nodes(&["cordon", FIRST]).ok();
    two.submit("ddp", 1, |_| {});
    two.place.wait_for_phase("ddp", "Running");
    assert_eq!(two.nodes_of("ddp"), [SECOND, SECOND]);
    two.nodes(&["uncordon", FIRST]).ok();
    two.other.kill(Role::Agent);
    until("the node is unreachable", || {
        two.nodes(&[]).ok().stdout.contains("Unreachable").then_some(())
    });
    let late = two.nodes(&["drain", SECOND, "--timeout", "2"]);
    assert_eq!(late.code, 5, "{late:#?}");
    assert!(late.stderr.contains("cannot be reached"), "{late:#?}");
    assert!(late.stderr.contains("2 ranks of 1 jobs left: ddp"), "{late:#?}");
    two.nodes(&["remove", SECOND]).ok();
    two.place.wait_for_phase("ddp", "Running");
    assert_eq!(two.nodes_of("ddp"), [FIRST, FIRST]);
    two.place.muster(&["delete", "ddp"]).ok();
}

#[test]
fn a_drain_goes_on_through_the_death_of_the_leader() {
    let mut members = Members::start(3);
    let script = "trap 'sleep 4; exit 0' TERM; while :; do sleep 0.1; done";
    let path = Job::shell("slow", 1, script).write(members.agent.data());
    members.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    members.agent.wait_for_phase("slow", "Running");
    let nodes = members.muster(&["nodes", "-o", "name"]).ok().stdout;
    let node = nodes.trim().trim_start_matches("node/").to_owned();
    let drain = members
        .agent
        .command(&["nodes", "drain", &node, "--timeout", "100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("muster runs");
    until("the gang leaves", || {
        members.agent.job("slow").filter(|job| job["gangPhase"] == "Stopping")
    });
    let leader = members.leader();
    members.places[leader].kill(Role::Coordinator);
    let drained = Outcome::of(drain.wait_with_output().expect("it is our child")).ok();
    assert_eq!(drained.stdout, format!("node/{node} drained\n"));
    let job = members.agent.wait_for_phase("slow", "Queued");
    assert_eq!((&job["attempt"], &job["restarts"]), (&json!(1), &json!(0)), "{job:#}");
    members.muster(&["nodes", "uncordon", &node]).ok();
    members.agent.wait_for_phase("slow", "Running");
    members.muster(&["delete", "slow"]).ok();
}
