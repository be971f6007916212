//! The leader of three members dies by `kill -9`: how long until the next write is acknowledged, beside etcd. Both are asked
//! with their own command line tools, again and again until one succeeds; members are on this machine, with fsync.

use std::time::Instant;

use muster_benches::{Etcd, Samples, compare, describe, is_measurement, rounds};
use muster_tests::{Job, Members, Role, until};

fn muster(times: usize) -> Samples {
    let mut samples = Samples::default();
    let mut members = Members::start(3);
    for round in 0..times {
        let suspended = serde_json::Value::Bool(true);
        let job = Job::shell(&format!("round-{round}"), 0, "true")
            .with("/spec/runPolicy", serde_json::json!({ "suspend": suspended }))
            .write(members.agent.data());
        let leader = members.leader();
        let start = Instant::now();
        members.places[leader].kill(Role::Coordinator);
        while members.muster(&["apply", "-f", &job.to_string_lossy()]).code != 0 {}
        samples.add(start.elapsed());
        members.places[leader].start(Role::Coordinator);
        until("all members are back", || {
            let list = members.list()?;
            list.iter().all(|one| one["active"] == true && one["matchedIndex"] != 0).then_some(())
        });
    }
    samples
}

fn main() {
    println!("{}", describe());
    let times = rounds(50);
    let ours = muster(times);
    let mut theirs = Samples::default();
    let mut version = "etcd".to_owned();
    if is_measurement() {
        match Etcd::start() {
            Ok(mut etcd) => {
                version.clone_from(&etcd.version);
                (0..times).for_each(|_| theirs.add(etcd.fail_over()));
            }
            Err(why) => eprintln!("skipped: etcd: {why} (apt install etcd-server etcd-client)"),
        }
    }
    compare("leader killed to the next acknowledged write", &ours, &version, &theirs);
    for (whose, samples) in [("Muster", &ours), (&*version, &theirs)] {
        if !samples.is_empty() {
            println!("{whose}: p50 {:.3} s, p99 {:.3} s", samples.median(), samples.quantile(0.99));
        }
    }
}
