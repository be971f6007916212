//! What a coordinator and an agent cost that have nothing to do: resident memory and processor time.

use std::fs;
use std::time::{Duration, Instant};

use muster_benches::{Cluster, describe, rounds};

/// Resident memory in bytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// Processor time in seconds since the start.
fn processor(pid: u32) -> f64 {
    let schedule = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let nanoseconds = schedule.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum()).as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "idleness has no condition to wait for")]
fn rest(duration: Duration) {
    std::thread::sleep(duration);
}

fn main() {
    println!("{}", describe());
    let cluster = Cluster::start(1, "");
    let pids = cluster.pids();
    let total = |of: fn(u32) -> f64| pids.iter().copied().map(of).sum::<f64>();
    let (start, before) = (Instant::now(), total(processor));
    rest(Duration::from_secs(rounds(60) as u64));
    let share = (total(processor) - before) / start.elapsed().as_secs_f64();
    for (name, pid) in ["coordinator", "agent"].iter().zip(&pids) {
        println!("| {name}: resident memory | {:.1} MiB |", resident(*pid) as f64 / 1048576.0);
    }
    let memory = pids.iter().copied().map(resident).sum::<u64>();
    println!("| both: resident memory | {:.1} MiB |", memory as f64 / 1048576.0);
    println!("| both: share of a core | {:.2} % |", share * 100.0);
}
