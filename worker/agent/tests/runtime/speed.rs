//! How long things take. The limits are far above what an idle machine needs, so that they only fail when
//! something is wrong; what was measured is printed.

use std::time::{Duration, Instant};

use muster_model::Resources;

use crate::lab::Lab;
use crate::replica::{at_rank, container, opening, replica};

/// Replicas at once.
const MANY: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_replicas_at_once_are_prepared_run_and_gone() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let specs: Vec<_> = (0..MANY)
        .map(|rank| at_rank(replica(&lab.job, container("main", &["true"])), rank))
        .collect();
    let began = Instant::now();
    for spec in &specs {
        node.runtime.prepare(spec.clone());
    }
    for spec in &specs {
        node.ready(spec).await;
    }
    let ready = began.elapsed();
    for spec in &specs {
        node.runtime.start(spec.id, spec.fence, opening(spec));
    }
    for spec in &specs {
        assert!(node.exit(spec).await.status.is_success());
    }
    let all = began.elapsed();
    eprintln!("{MANY} replicas: ready after {ready:?}, ended after {all:?}");
    assert!(all < Duration::from_secs(20));
    node.finish(&lab).await;
}

/// On a machine that has nothing else to do, the kernel takes its time with what it would otherwise do along the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_pause_is_not_slower() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    for (limited, offset) in [(false, 0), (true, 100)] {
        let mut times = Vec::new();
        for rank in 0..10 {
            let mut main = container("main", &["true"]);
            if limited {
                main.limits = Resources::new().with("memory", 1 << 30).with("cpu", 1000);
            }
            let spec = at_rank(replica(&lab.job, main), offset + rank);
            node.runtime.prepare(spec.clone());
            node.ready(&spec).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let began = Instant::now();
            node.runtime.start(spec.id, spec.fence, opening(&spec));
            node.running(&spec).await;
            times.push(began.elapsed());
            node.exit(&spec).await;
        }
        times.sort();
        eprintln!(
            "start after a pause, limited {limited}: median {:?}, slowest {:?}",
            times[5], times[9]
        );
        assert!(times[5] < Duration::from_millis(200));
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_is_ready_and_runs_within_milliseconds() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let (mut ready, mut running, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for rank in 0..30 {
        let spec = at_rank(replica(&lab.job, container("main", &["true"])), rank);
        let began = Instant::now();
        node.runtime.prepare(spec.clone());
        node.ready(&spec).await;
        ready.push(began.elapsed());
        let began = Instant::now();
        node.runtime.start(spec.id, spec.fence, opening(&spec));
        node.running(&spec).await;
        running.push(began.elapsed());
        let began = Instant::now();
        node.exit(&spec).await;
        ended.push(began.elapsed());
    }
    for (what, times) in [
        ("prepare to ready", &mut ready),
        ("start to running", &mut running),
        ("running to the end of `true`", &mut ended),
    ] {
        times.sort();
        eprintln!(
            "{what}: median {:?}, slowest {:?}",
            times[times.len() / 2],
            times[times.len() - 1]
        );
        assert!(times[times.len() / 2] < Duration::from_millis(200), "{what}");
    }
    node.finish(&lab).await;
}
