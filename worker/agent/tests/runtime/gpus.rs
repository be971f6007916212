//! GPUs are given to one replica at a time, also by an agent that was started again.

use std::collections::BTreeSet;

use muster_model::{ContainerSpec, ExitStatus, LaunchSpec, Resources};

use crate::lab::{Lab, Node};
use crate::replica::{at_rank, replica, script};

fn with_gpus(mut container: ContainerSpec, count: u64) -> ContainerSpec {
    container.limits = Resources::new().with("nvidia.com/gpu", count);
    container.requests = container.limits.clone();
    container
}

/// A replica that tells its GPUs and goes on.
fn holder(lab: &Lab, rank: u32, count: u64) -> LaunchSpec {
    let main = script("main", "echo \"<$CUDA_VISIBLE_DEVICES>\"; exec sleep 1000");
    at_rank(replica(&lab.job, with_gpus(main, count)), rank)
}

async fn devices(node: &Node, spec: &LaunchSpec) -> String {
    let deadline = tokio::time::Instant::now() + crate::traces::PATIENCE;
    loop {
        let output = node.output(spec).await;
        if output.ends_with('\n') {
            return output.trim().to_owned();
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not tell its GPUs");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_gpu_is_given_twice_not_even_after_a_restart() {
    let mut lab = Lab::new();
    lab.options.gpus = vec![0, 1, 2, 3];
    let mut node = lab.open().await;
    let (two, one, none) = (holder(&lab, 1, 2), holder(&lab, 2, 1), holder(&lab, 3, 0));
    for spec in [&two, &one, &none] {
        node.start(spec).await;
    }
    let mut held = BTreeSet::new();
    for (spec, count) in [(&two, 2), (&one, 1)] {
        let told = devices(&node, spec).await;
        let indices: Vec<String> =
            told.trim_matches(['<', '>']).split(',').map(str::to_owned).collect();
        assert_eq!(indices.len(), count, "{told}");
        for index in indices {
            assert!(held.insert(index.clone()), "GPU {index} was given twice");
        }
    }
    assert_eq!(devices(&node, &none).await, "<>", "no GPU was asked for");

    node.close().await;
    let mut node = lab.open().await;
    let more = holder(&lab, 4, 2);
    let (why, permanent) = node.fail(&more).await;
    assert!(why.contains("needs 2 GPUs, and 1 of the node's 4 are free"), "{why}");
    assert!(!permanent);
    let last = holder(&lab, 5, 1);
    node.start(&last).await;
    let told = devices(&node, &last).await;
    assert!(held.insert(told.trim_matches(['<', '>']).to_owned()), "{told} was given twice");

    // An ended replica's are free before it is removed.
    node.stop(&two, 0);
    assert!(matches!(node.exit(&two).await.status, ExitStatus::Signal(_)));
    let next = holder(&lab, 6, 2);
    node.start(&next).await;
    for spec in [&one, &none, &last, &next] {
        node.stop(spec, 0);
        node.exit(spec).await;
    }
    // And so they are for a runtime that finds it ended.
    node.close().await;
    let mut node = lab.open().await;
    let all = holder(&lab, 7, 4);
    node.start(&all).await;
    assert_eq!(devices(&node, &all).await, "<0,1,2,3>");
    node.stop(&all, 0);
    node.exit(&all).await;
    for spec in [&two, &one, &none, &more, &last, &next] {
        node.remove(spec);
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_container_of_a_replica_has_its_own() {
    let mut lab = Lab::new();
    lab.options.gpus = vec![0, 1, 2, 3];
    let mut node = lab.open().await;
    let tell = |name: &str| script(name, "echo \"<$CUDA_VISIBLE_DEVICES>\"");
    let mut spec =
        replica(&lab.job, with_gpus(script("main", "sleep 0.2; echo $CUDA_VISIBLE_DEVICES"), 2));
    spec.role.pod.containers.push(with_gpus(tell("side"), 1));
    spec.role.pod.containers.push(tell("bare"));
    spec.role.pod.init_containers.push(with_gpus(tell("init"), 3));
    assert!(node.run(&spec).await.is_success());
    let entries = node.entries(&spec).await;
    let said = |name: Option<&str>| {
        let entry = entries.iter().find(|entry| entry.container.as_deref() == name);
        String::from_utf8(entry.expect("it has said something").text.clone()).unwrap()
    };
    assert_eq!(said(Some("init")), "<0,1,2>");
    assert_eq!(said(None), "0,1");
    assert_eq!(said(Some("side")), "<2>");
    assert_eq!(said(Some("bare")), "<>");
    node.finish(&lab).await;
}
