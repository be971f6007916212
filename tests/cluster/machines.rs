//! Three coordinators and four agents on machines of their own, with TLS: what networks do, and what must not happen.

use std::collections::BTreeSet;
use std::path::PathBuf;

use muster_tests::{Job, Machines, Outcome, ddp_script, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A job on every node that counts into a file until another one is there.
struct Counting {
    count: PathBuf,
    gate: PathBuf,
}

impl Counting {
    fn submit(machines: &Machines, workers: u32) -> Self {
        let shared = machines.shared();
        let (count, gate) = (shared.join("count"), shared.join("gate"));
        let script = format!(
            "while [ ! -e {} ]; do echo $RANK >> {}; sleep 0.1; done",
            gate.display(),
            count.display()
        );
        let job = everywhere(Job::shell("counting", workers, &script)).write(shared);
        machines.muster(&["apply", "-f", &job.to_string_lossy()]).ok();
        machines.wait_for_phase("counting", "Running");
        Self { count, gate }
    }

    fn ticks(&self) -> usize {
        std::fs::read_to_string(&self.count).map_or(0, |text| text.lines().count())
    }

    /// The job is alive.
    fn goes_on(&self) {
        self.goes_on_for(8);
    }

    fn goes_on_for(&self, ticks: usize) {
        let before = self.ticks();
        until("the job goes on", || (self.ticks() > before + ticks).then_some(()));
    }

    /// Ends it; answers how often it was started anew.
    fn end(&self, machines: &Machines) -> u64 {
        std::fs::write(&self.gate, "").expect("room");
        machines.wait_for_phase("counting", "Succeeded");
        let job = machines.muster(&["explain", "counting", "-o", "json"]).ok().json();
        job["restarts"].as_u64().expect("a number")
    }

    /// Ends it, and checks that none of its ranks was ever started anew.
    fn ends_well(&self, machines: &Machines) {
        assert_eq!(self.end(machines), 0, "no rank was started anew");
    }
}

/// Each rank asks for all the CPUs of a node, so that no two share one.
fn everywhere(job: Job) -> Job {
    let cpus = std::thread::available_parallelism().expect("some").get();
    job.each_template(|template| {
        template["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpus}});
    })
}

/// Submits a job from a machine and waits until it is accepted.
fn accepted(machines: &Machines, from: usize, name: &str) {
    let job = Job::shell(name, 0, "true").write(machines.shared());
    until(&format!("{name} is accepted"), || {
        let outcome: Outcome = machines.from(from, &["apply", "-f", &job.to_string_lossy()]);
        (outcome.code == 0).then_some(())
    });
}

#[test]
fn a_job_trains_through_everything_that_happens_to_leaders() {
    let Some(mut machines) = Machines::start(3, 4) else { return };
    let counting = Counting::submit(&machines, 3);
    let all = [0, 1, 2];
    let others = |one: usize| all.into_iter().filter(|other| *other != one).collect::<Vec<_>>();

    // Killed.
    let leader = machines.leader(&all);
    machines.kill(leader);
    let next = machines.leader(&others(leader));
    accepted(&machines, next, "after-kill");
    counting.goes_on();
    machines.launch(leader);

    // Hung, and back.
    let leader = machines.leader(&[next]);
    machines.signal(leader, Signal::STOP);
    let next = machines.leader(&others(leader));
    accepted(&machines, next, "after-stop");
    machines.signal(leader, Signal::CONT);
    counting.goes_on();

    // Cut off from the other members, but not from agents.
    let leader = next;
    machines.net.part(&[leader], &others(leader));
    let next = machines.leader(&others(leader));
    accepted(&machines, next, "after-partition");
    counting.goes_on();
    machines.net.join(&[leader], &others(leader));

    // It is heard, and hears nobody.
    let leader = machines.leader(&all);
    for other in others(leader) {
        machines.net.silence(other, leader);
    }
    let next = machines.leader(&others(leader));
    accepted(&machines, next, "after-deafness");
    counting.goes_on();
    for other in others(leader) {
        machines.net.restore(other, leader);
    }

    counting.ends_well(&machines);
    for name in ["after-kill", "after-stop", "after-partition", "after-deafness"] {
        machines.wait_for_phase(name, "Succeeded");
    }
    machines.wait_for_agreement();
}

#[test]
fn an_agent_that_nobody_hears_keeps_its_ranks_and_tells_of_them_afterwards() {
    let lease = ["--lease", "2"];
    let Some(machines) = Machines::start_with((3, &lease), (4, &[])) else { return };
    let counting = Counting::submit(&machines, 3);
    let agent = machines.agents().start;
    let members: Vec<usize> = machines.coordinators().collect();
    machines.net.part(&[agent], &members);
    until("the node counts as unreachable", || {
        let nodes = machines.muster(&["nodes"]).stdout;
        nodes
            .lines()
            .any(|line| line.contains(&format!("node-{agent} ")) && !line.contains(" Ready "))
            .then_some(())
    });
    counting.goes_on();
    machines.net.join(&[agent], &members);
    machines.wait_for_ready_nodes();
    counting.ends_well(&machines);
}

/// The machines on which a job's ranks are, by the names of their nodes.
fn machines_of(machines: &Machines, job: &str) -> BTreeSet<usize> {
    let pods = machines.muster(&["get", "pods", "-o", "json"]).ok().json();
    let items = pods["items"].as_array().expect("pods").clone();
    let of_job = items
        .iter()
        .filter(|pod| pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(job)));
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str()?.strip_prefix("node-")?.parse().ok();
    of_job.filter_map(node).collect()
}

#[test]
fn a_gang_of_a_node_that_is_cut_off_starts_elsewhere_once_nothing_runs_there() {
    let (lease, cut_off) = (["--lease", "2"], ["--cut-off-after", "10s"]);
    let Some(machines) = Machines::start_with((3, &lease), (4, &cut_off)) else { return };
    let counting = Counting::submit(&machines, 1);
    let placed = machines_of(&machines, "counting");
    assert_eq!(placed.len(), 2, "each rank on a machine of its own");
    let lost = *placed.iter().next().expect("one of two");
    let members: Vec<usize> = machines.coordinators().collect();
    machines.net.part(&[lost], &members);
    // Even without its agent: the shims keep its word.
    machines.signal(lost, Signal::STOP);
    assert!(!machines.replica_processes(lost).is_empty());
    until("the gang starts elsewhere", || {
        let job = machines.muster(&["explain", "counting", "-o", "json"]).ok().json();
        let again = job["restarts"].as_u64().is_some_and(|restarts| restarts > 0);
        if again {
            assert_eq!(machines.replica_processes(lost), Vec::<i32>::new(), "two attempts at once");
        }
        (again && job["phase"] == "Running").then_some(())
    });
    assert!(!machines_of(&machines, "counting").contains(&lost));
    counting.goes_on();
    machines.net.join(&[lost], &members);
    machines.signal(lost, Signal::CONT);
    machines.wait_for_ready_nodes();
    assert_eq!(counting.end(&machines), 1);
}

#[test]
fn without_any_coordinator_training_goes_on_for_longer_than_an_agent_may_be_cut_off() {
    let (lease, cut_off) = (["--lease", "2"], ["--cut-off-after", "10s"]);
    let Some(mut machines) = Machines::start_with((3, &lease), (4, &cut_off)) else { return };
    let counting = Counting::submit(&machines, 3);
    for member in machines.coordinators() {
        machines.kill(member);
    }
    // Four ranks that count ten times a second, for twice the span.
    counting.goes_on_for(2 * 10 * 4 * 10);
    for member in machines.coordinators() {
        machines.launch(member);
    }
    machines.wait_for_ready_nodes();
    counting.ends_well(&machines);
}

#[test]
fn torch_trains_across_machines_while_packets_are_lost_and_the_leader_dies() {
    let Some(mut machines) = Machines::start(3, 4) else { return };
    let folder = machines.shared().to_string_lossy().into_owned();
    let command = ["python", &ddp_script("steps.py"), &folder, "40", "0.1"];
    let job = Job::new("ddp", 3, &command).image("pytorch/pytorch:latest");
    let job = everywhere(job).write(machines.shared());
    machines.muster(&["apply", "-f", &job.to_string_lossy()]).ok();
    machines.wait_for_phase("ddp", "Running");
    let _ = machines.net.lose(5);
    let leader = machines.leader(&[0, 1, 2]);
    machines.kill(leader);
    machines.launch(leader);
    machines.wait_for_phase("ddp", "Succeeded");
    let nodes = machines_of(&machines, "ddp");
    assert_eq!(nodes.len(), 4, "each rank on a machine of its own: {nodes:?}");
}
