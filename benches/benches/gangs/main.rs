//! Gangs of processes that do nothing, beside Slurm on emulated nodes: from the call to the end of a gang of four on
//! four nodes, and 200 jobs from eight clients at once: how fast they are accepted, and how fast they are done.
//!
//! Slurm is Debian's `slurm-wlm` and `munge`, started here on ports of its own with four slurmd for one machine.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use muster_benches::{Cluster, Peer, Samples, compare, describe, rounds, timed, version};
use muster_tests::{Job, until};

mod slurm;
use slurm::Slurm;

const NODES: usize = 4;
const CLIENTS: usize = 8;

/// Runs `count` commands from eight threads.
fn from_clients(count: usize, command: impl Fn(usize) -> Command + Sync) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let command = &command;
            scope.spawn(move || {
                for number in (client..count).step_by(CLIENTS) {
                    timed(&mut command(number));
                }
            });
        }
    });
}

/// How long it took to have all jobs accepted, and to have all of them done.
struct Burst {
    accepted: Samples,
    done: Samples,
}

impl Burst {
    fn new() -> Self {
        Self { accepted: Samples::default(), done: Samples::default() }
    }

    fn measure(
        &mut self,
        count: usize,
        submit: impl Fn(usize) -> Command + Sync,
        is_done: impl Fn() -> bool,
    ) {
        let start = Instant::now();
        from_clients(count, submit);
        self.accepted.add(start.elapsed());
        until("all jobs are done", || is_done().then_some(()));
        self.done.add(start.elapsed());
    }
}

/// Manifests of jobs of one process that does nothing.
fn write_jobs(directory: &Path, round: usize, count: usize) -> Vec<String> {
    let write = |number| {
        let job = Job::new(&format!("burst-{round}-{number}"), 0, &["true"]);
        job.write(directory).to_string_lossy().into_owned()
    };
    (0..count).map(write).collect()
}

/// How many jobs of the burst have succeeded.
fn succeeded(cluster: &Cluster) -> usize {
    let (_, output) = timed(&mut cluster.muster(&["get", "jobs", "-o", "json"]));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let has_succeeded = |job: &&serde_json::Value| {
        let conditions = job["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == "Succeeded")
    };
    list["items"].as_array().expect("a list").iter().filter(has_succeeded).count()
}

fn main() {
    println!("{}", describe());
    let peer = Peer::find("Slurm", || {
        version("munged", "--version")?;
        version("slurmd", "-V")?;
        version("slurmctld", "-V")
    });
    let slurm = peer.is_present().then(|| Slurm::start(NODES));
    let cluster = Cluster::start(NODES, "cpu=64");

    let gang = Job::new("gang", 3, &["true"]).each_template(|template| {
        // One replica fills a node, so that a gang of four is on four.
        let resources = serde_json::json!({"requests": {"cpu": "40"}});
        template["spec"]["containers"][0]["resources"] = resources;
    });
    let path = gang.write(cluster.path()).to_string_lossy().into_owned();
    let [mut ours, mut theirs] = [(); 2].map(|()| Samples::default());
    for _ in 0..rounds(31) {
        ours.add(timed(&mut cluster.muster(&["run", "--rm", "--quiet", &path])).0);
        if let Some(slurm) = &slurm {
            theirs.add(timed(slurm.command("srun").args(["-N4", "true"])).0);
        }
    }
    compare("gang of 4 on 4 nodes: call to end", &ours, "srun -N4", &theirs);

    let count = rounds(200);
    let [mut ours, mut theirs] = [(); 2].map(|()| Burst::new());
    for round in 0..rounds(5) {
        let files = write_jobs(cluster.path(), round, count);
        ours.measure(
            count,
            |number| cluster.muster(&["apply", "-f", &files[number]]),
            || succeeded(&cluster) == count * (round + 1),
        );
        if let Some(slurm) = &slurm {
            let submit = |_| {
                let mut command = slurm.command("sbatch");
                command.args(["-n1", "-o", "/dev/null", "--wrap", "true"]);
                command
            };
            theirs.measure(count, submit, || slurm.queue_is_empty());
        }
    }
    compare("200 jobs by 8 clients: all accepted", &ours.accepted, "sbatch", &theirs.accepted);
    compare("200 jobs by 8 clients: all done", &ours.done, "sbatch", &theirs.done);
}
