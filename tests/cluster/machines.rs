//! Three coordinators and four agents on machines of their own, with TLS: what networks do, and what must not happen.

use std::path::PathBuf;

use muster_tests::{Job, Machines, Outcome, ddp_script, until};
use rustix::process::Signal;
use serde_json::json;

/// A job on every node that counts into a file until another one is there.
struct Counting {
    count: PathBuf,
    gate: PathBuf,
}

impl Counting {
    fn submit(machines: &Machines) -> Self {
        let shared = machines.shared();
        let (count, gate) = (shared.join("count"), shared.join("gate"));
        let script = format!(
            "while [ ! -e {} ]; do echo $RANK >> {}; sleep 0.1; done",
            gate.display(),
            count.display()
        );
        let job = everywhere(Job::shell("counting", 3, &script)).write(shared);
        machines.muster(&["apply", "-f", &job.to_string_lossy()]).ok();
        machines.wait_for_phase("counting", "Running");
        Self { count, gate }
    }

    fn ticks(&self) -> usize {
        std::fs::read_to_string(&self.count).map_or(0, |text| text.lines().count())
    }

    /// The job is alive.
    fn goes_on(&self) {
        let before = self.ticks();
        until("the job goes on", || (self.ticks() > before + 8).then_some(()));
    }

    /// Ends it, and checks that none of its ranks was ever started anew.
    fn ends_well(&self, machines: &Machines) {
        std::fs::write(&self.gate, "").expect("room");
        machines.wait_for_phase("counting", "Succeeded");
        let job = machines.muster(&["explain", "counting", "-o", "json"]).ok().json();
        assert_eq!(job["restarts"], 0, "{job:#}");
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
    let counting = Counting::submit(&machines);
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
    let Some(machines) = Machines::start_with(3, 4, &["--lease", "2"]) else { return };
    let counting = Counting::submit(&machines);
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
    until("the node is back", || {
        let nodes = machines.muster(&["nodes"]).stdout;
        (nodes.lines().filter(|line| line.contains(" Ready ")).count() == 4).then_some(())
    });
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
    let nodes: std::collections::BTreeSet<String> = {
        let pods = machines.muster(&["get", "pods", "-o", "json"]).ok().json();
        let items = pods["items"].as_array().expect("pods").clone();
        items.iter().filter_map(|pod| Some(pod["spec"]["nodeName"].as_str()?.to_owned())).collect()
    };
    assert_eq!(nodes.len(), 4, "each rank on a machine of its own: {nodes:?}");
}
