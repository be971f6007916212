//! From the call to the first all-reduce and to the end, for two ranks of a small training in a warm environment:
//! `muster run`, `torchrun --standalone`, and the two processes started by hand with rank 0 first. And how long after its
//! last rank's exit a job is Succeeded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_benches::{Cluster, Peer, Samples, compare, describe, rounds, timed, version};
use muster_tests::Job;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/hello.py");

/// What was measured of one contestant.
#[derive(Default)]
struct Times {
    all_reduce: Samples,
    done: Samples,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// When the last rank had its first all-reduce. `None` when the round does not count: torch 2.15 with gloo aborts in
/// about one of ten exits, whoever started it; then Muster starts the gang again, and the others fail.
fn all_reduced(outputs: &[Output]) -> Option<Duration> {
    let texts = outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let moments: Vec<f64> = texts
        .collect::<String>()
        .lines()
        .filter_map(|line| line.split_once("allreduce ")?.1.trim().parse().ok())
        .collect();
    assert!(moments.len() >= 2, "each of two ranks tells: {outputs:?}");
    let whole = moments.len() == 2 && outputs.iter().all(|output| output.status.success());
    whole.then(|| Duration::from_secs_f64(moments.into_iter().fold(0.0, f64::max)))
}

impl Times {
    fn measure(&mut self, run: impl Fn() -> Vec<Output>) {
        loop {
            let start = now();
            let outputs = run();
            let end = now();
            let Some(all_reduced) = all_reduced(&outputs) else { continue };
            self.done.add(end - start);
            self.all_reduce.add(all_reduced - start);
            return;
        }
    }
}

/// The environment that Muster's ranks had, for the peers.
fn bin(output: &Output) -> PathBuf {
    let text = String::from_utf8_lossy(&output.stdout);
    let file = text.lines().find_map(|line| Some(line.split_once("torch ")?.1.trim()));
    // ENVIRONMENT/lib/pythonX.Y/site-packages/torch/__init__.py
    let environment = file.and_then(|file| Path::new(file).ancestors().nth(5));
    environment.expect("each rank tells its torch").join("bin")
}

fn torchrun(bin: &Path) -> Vec<Output> {
    let mut command = Command::new(bin.join("torchrun"));
    command.args(["--standalone", "--nproc-per-node", "2", SCRIPT]);
    vec![command.output().expect("the environment has it")]
}

fn by_hand(bin: &Path) -> Vec<Output> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    drop(listener);
    let start = |rank: &str| {
        Command::new(bin.join("python"))
            .arg(SCRIPT)
            .envs([("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", "2")])
            .envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &*port)])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts")
    };
    let ranks = ["0", "1"].map(start);
    ranks.into_iter().map(|rank| rank.wait_with_output().expect("it is our child")).collect()
}

/// From what the last rank does last to the end of `muster run`, which ends when it has seen the job succeed.
fn last_exit(cluster: &Cluster) -> Samples {
    let stamp = cluster.path().join("stamp");
    let script = format!("sleep 0.2; echo $EPOCHREALTIME > {}.$RANK", stamp.display());
    let path = Job::new("stamp", 1, &["bash", "-c", &script]).write(cluster.path());
    let mut samples = Samples::default();
    for _ in 0..rounds(21) {
        timed(&mut cluster.muster(&["run", "--rm", "--quiet", &path.to_string_lossy()]));
        let end = now();
        let last = ["0", "1"].map(|rank| {
            let text = std::fs::read_to_string(format!("{}.{rank}", stamp.display()));
            let seconds = text.expect("the rank wrote it").trim().parse::<f64>();
            Duration::from_secs_f64(seconds.expect("a number of seconds"))
        });
        samples.add(end.saturating_sub(last.into_iter().max().expect("two ranks")));
    }
    samples
}

fn main() {
    println!("{}", describe());
    let cluster = Cluster::start(1, "");
    println!("| last rank's exit to the end of `muster run` | {} | |", last_exit(&cluster));

    let job = Job::new("hello", 1, &["python", SCRIPT]).image("pytorch/pytorch:latest");
    let path = job.write(cluster.path()).to_string_lossy().into_owned();
    let run = || vec![timed(&mut cluster.muster(&["run", "--rm", &path])).1];
    // Makes the environment where it is missing, and brings it into the page cache.
    let bin = bin(&run()[0]);
    let peer = Peer::find("torchrun", || {
        let code = "import torch; print('torch', torch.__version__)";
        let output = Command::new(bin.join("python")).args(["-c", code]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    println!("beside: {}", version("python3", "--version").unwrap_or_default());
    let [mut ours, mut launcher, mut hand] = [(); 3].map(|()| Times::default());
    for _ in 0..rounds(11) {
        ours.measure(run);
        if peer.is_present() {
            hand.measure(|| by_hand(&bin));
            launcher.measure(|| torchrun(&bin));
        }
    }
    for (name, theirs) in [("by hand", &hand), ("torchrun", &launcher)] {
        compare("call to first all-reduce", &ours.all_reduce, name, &theirs.all_reduce);
        compare("call to done", &ours.done, name, &theirs.done);
    }
}
