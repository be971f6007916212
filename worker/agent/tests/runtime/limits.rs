//! What the control groups enforce and tell.

use muster_model::{ExitStatus, Resources};

use crate::lab::Lab;
use crate::replica::{at_rank, container, replica, script};

/// Whether this machine enforces limits; says on stderr when a test is skipped because it does not.
fn enforced(what: &str) -> bool {
    let writable = |file: &str| std::fs::OpenOptions::new().write(true).open(file).is_ok();
    let found = writable("/sys/fs/cgroup/memory/cgroup.procs")
        || writable("/sys/fs/cgroup/cgroup.procs")
            && std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                .is_ok_and(|text| text.contains("memory"));
    if !found {
        eprintln!("skipped: {what} (no memory controller can be written here)");
    }
    found
}

/// Takes a quarter of a gigabyte.
const HOG: &str = "x = bytearray(256 << 20); print(len(x))";

#[tokio::test(flavor = "multi_thread")]
async fn passing_the_memory_limit_is_told_from_being_killed() {
    if !enforced("running out of memory") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let limit = |mut spec: muster_model::LaunchSpec, mebibytes: u64| {
        let limits = Resources::new().with("memory", mebibytes << 20);
        spec.role.pod.containers[0].limits = limits;
        spec
    };
    let hog = container("main", &["python3", "-c", HOG]);
    let spec = limit(at_rank(replica(&lab.job, hog.clone()), 1), 64);
    assert_eq!(node.run(&spec).await, ExitStatus::OutOfMemory);
    // As a shell reports it of its child.
    let shell = script("main", &format!("python3 -c '{HOG}'; exit $?"));
    let spec = limit(at_rank(replica(&lab.job, shell), 2), 64);
    assert_eq!(node.run(&spec).await, ExitStatus::OutOfMemory);
    // Enough memory, and a kill that has nothing to do with memory.
    let spec = limit(at_rank(replica(&lab.job, hog), 3), 512);
    assert_eq!(node.run(&spec).await, ExitStatus::Code(0));
    let spec = limit(at_rank(replica(&lab.job, script("main", "kill -9 $$")), 4), 64);
    assert_eq!(node.run(&spec).await, ExitStatus::Signal(9));
    // A child ran out of memory, and the program ended in its own way: both are told.
    let handled = script("main", &format!("python3 -c '{HOG}'; exit 12"));
    let spec = limit(at_rank(replica(&lab.job, handled), 5), 64);
    assert_eq!(node.run(&spec).await, ExitStatus::Code(12));
    assert!(node.notice(&spec).await.contains("want of memory"));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_container_can_be_out_of_memory_too() {
    if !enforced("an init container that runs out of memory") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut spec = replica(&lab.job, container("main", &["true"]));
    let mut init = container("load", &["python3", "-c", HOG]);
    init.limits = Resources::new().with("memory", 64 << 20);
    spec.role.pod.init_containers.push(init);
    assert_eq!(node.run(&spec).await, ExitStatus::OutOfMemory);
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cpu_limit_slows_a_program_down() {
    if !enforced("a cpu limit") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    // Tells how much of the elapsed time it had a core.
    let text = "import time
began, used = time.monotonic(), time.process_time()
while time.monotonic() - began < 1.0: pass
print(int(100 * (time.process_time() - used) / (time.monotonic() - began)))";
    let mut main = container("main", &["python3", "-c", text]);
    main.limits = Resources::new().with("cpu", 200);
    let spec = replica(&lab.job, main);
    assert!(node.run(&spec).await.is_success());
    let percent: u32 = node.output(&spec).await.trim().parse().unwrap();
    assert!(percent <= 40, "a limit of 20% of a core let it have {percent}%");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_cannot_be_enforced_are_told_once_for_each_job() {
    let mut lab = Lab::new();
    lab.options.cgroups = false;
    let mut node = lab.open().await;
    let mut main = container("main", &["true"]);
    let free = at_rank(replica(&lab.job, main.clone()), 1);
    main.limits = Resources::new().with("memory", 1 << 30);
    let (first, second) =
        (at_rank(replica(&lab.job, main.clone()), 2), at_rank(replica(&lab.job, main), 3));
    for spec in [&free, &first, &second] {
        assert!(node.run(spec).await.is_success());
    }
    let notices = |spec: &muster_model::LaunchSpec| {
        let told = node.told((spec.id, spec.fence));
        let notice = |seen: &&muster_agent::runtime::Seen| matches!(seen, muster_agent::runtime::Seen::Notice { text } if text.contains("not enforced"));
        told.iter().filter(notice).count()
    };
    assert_eq!((notices(&free), notices(&first), notices(&second)), (0, 1, 0));
    node.finish(&lab).await;
}
