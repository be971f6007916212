//! An agent that starts finds what another has left, whatever state that is in.

use muster_model::LaunchSpec;
use rustix::process::Signal;

use crate::lab::{Lab, Node, is_alive, kill, until};
use crate::replica::{at_rank, replica, script};
use crate::traces;

fn sleeper(lab: &Lab, rank: u32) -> LaunchSpec {
    at_rank(replica(&lab.job, script("main", "exec sleep 1000")), rank)
}

fn seen(node: &Node, spec: &LaunchSpec) -> String {
    let one = node.adopted.iter().find(|one| one.spec.id == spec.id).expect("it is found");
    format!("{:?}", one.seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_does_not_answer_costs_the_others_nothing() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let specs: Vec<LaunchSpec> = (0..4).map(|rank| sleeper(&lab, rank)).collect();
    for spec in &specs {
        node.start(spec).await;
    }
    let shims: Vec<i32> = specs.iter().map(|spec| node.shim(spec)).collect();
    node.close().await;
    // The first that is asked, and one in the middle.
    for hung in [0, 2] {
        kill(shims[hung], Signal::STOP);
    }
    let mut node = lab.open().await;
    for hung in [0, 2] {
        assert!(seen(&node, &specs[hung]).contains("Lost"), "{}", seen(&node, &specs[hung]));
        until("the shim to die", || !is_alive(shims[hung])).await;
    }
    for healthy in [1, 3] {
        assert!(seen(&node, &specs[healthy]).contains("Running"), "rank {healthy}");
        assert!(is_alive(shims[healthy]));
        node.stop(&specs[healthy], 0);
        node.exit(&specs[healthy]).await;
    }
    specs.iter().for_each(|spec| node.remove(spec));
    node.finish(&lab).await;
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_does_not_start_beside_a_replica_that_it_cannot_understand() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = sleeper(&lab, 0);
    node.start(&spec).await;
    let (shim, launch) = (node.shim(&spec), node.directory(&spec).join("launch.json"));
    node.close().await;
    let text = std::fs::read(&launch).expect("it is there");
    std::fs::write(&launch, "{\"of\": \"another version\"}").expect("it is ours");
    let refused = lab.try_open().await.err().expect("an error");
    assert!(refused.contains("cannot be understood"), "{refused}");
    assert!(is_alive(shim), "what it does not understand it leaves alone");
    std::fs::write(&launch, text).expect("it is ours");
    let mut node = lab.open().await;
    node.stop(&spec, 0);
    node.exit(&spec).await;
    node.remove(&spec);
    node.finish(&lab).await;
}
