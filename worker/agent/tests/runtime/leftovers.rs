//! Whatever a program leaves behind goes with the replica: forked how it may be, with control groups and without.

use std::fs;
use std::time::{Duration, Instant};

use muster_model::ExitStatus;
use rustix::process::Signal;

use crate::lab::{Lab, is_alive, kill, pid_in, until};
use crate::replica::{at_rank, container, replica, script};
use crate::traces;

/// Ways to leave processes behind. Each writes the pid of what it leaves into `$F.<number>` and then goes on.
const SHAPES: &[(&str, &str)] = &[
    ("in the background", "sleep 1000 & echo $! > $F.1"),
    ("with nohup", "nohup sleep 1000 > /dev/null 2>&1 & echo $! > $F.1"),
    (
        "ignoring SIGTERM",
        "sh -c 'trap \"\" TERM HUP INT; echo $$ > $F.1; while :; do sleep 1000; done' & \
         while [ ! -s $F.1 ]; do sleep 0.01; done",
    ),
    (
        "as a daemon in a session of its own, without any descriptor",
        "setsid sh -c 'exec 0<&- 1>&- 2>&-; (echo $$ > $F.1; exec sleep 1000) & \
         (setsid sh -c \"echo \\$$ > $F.2; exec sleep 1000\" &) ; exit' & \
         while [ ! -s $F.1 ] || [ ! -s $F.2 ]; do sleep 0.01; done",
    ),
    (
        "with python's multiprocessing",
        "python3 -c '
import multiprocessing, os, time
def work():
    open(os.environ[\"F\"] + \".1\", \"w\").write(str(os.getpid()) + \"\\n\")
    time.sleep(1000)
if __name__ == \"__main__\":
    multiprocessing.set_start_method(\"fork\")
    multiprocessing.Process(target=work).start()
' & while [ ! -s $F.1 ]; do sleep 0.01; done",
    ),
    (
        "forking on and on",
        "sh -c 'echo $$ > $F.1; while :; do (sleep 0.05 &) ; sleep 0.01; done' & \
         while [ ! -s $F.1 ]; do sleep 0.01; done",
    ),
    (
        "in a process that has overwritten its environment",
        "python3 -c '
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.clearenv()
pid = os.fork()
if pid == 0:
    os.setsid()
    os.execve(\"/bin/sleep\", [\"sleep\", \"1000\"], {})
open(os.environ[\"F\"] + \".1\", \"w\").write(str(pid) + \"\\n\")
'",
    ),
];

fn left(lab: &Lab, name: &str) -> Vec<i32> {
    let read = |number: u32| fs::read_to_string(lab.path(&format!("{name}.{number}"))).ok();
    [1, 2].into_iter().filter_map(read).map(|text| text.trim().parse().unwrap()).collect()
}

async fn ends_clean(cgroups: bool) {
    let mut lab = Lab::new();
    lab.options.cgroups = cgroups;
    let mut node = lab.open().await;
    for (rank, (what, shape)) in (0..).zip(SHAPES) {
        let file = format!("left{rank}");
        let text = format!("export F={}; {shape}; exit 6", lab.path(&file).display());
        let spec = at_rank(replica(&lab.job, script("main", &text)), rank);
        assert_eq!(node.run(&spec).await, ExitStatus::Code(6), "{what}");
        let pids = left(&lab, &file);
        assert!(!pids.is_empty(), "{what}: it left nothing, so the test shows nothing");
        for pid in pids {
            assert!(!is_alive(pid), "{what}: {pid} is alive");
        }
        assert_eq!(traces::processes(&lab.job), Vec::<i32>::new(), "{what}");
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_control_groups_nothing_outlives_the_main_process() {
    ends_clean(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_control_groups_nothing_outlives_the_main_process() {
    ends_clean(false).await;
}

/// Kills the shim of a running replica that has left processes behind, and checks that the agent notices at
/// once and ends what is left.
async fn shim_is_killed(cgroups: bool) {
    let mut lab = Lab::new();
    lab.options.cgroups = cgroups;
    let mut node = lab.open().await;
    for (rank, (what, shape)) in (0..).zip(SHAPES) {
        // Without control groups what hides its environment cannot be told from anybody else's process.
        if !cgroups && what.contains("overwritten") {
            eprintln!("skipped: a leftover {what}, which needs control groups to be found");
            continue;
        }
        let file = format!("left{rank}");
        let path = lab.path(&file);
        let text =
            format!("export F={0}; {shape}; echo $$ > {0}.0; exec sleep 1000", path.display());
        let spec = at_rank(replica(&lab.job, script("main", &text)), rank);
        node.start(&spec).await;
        let main = pid_in(&lab.path(&format!("{file}.0"))).await;
        let pids = left(&lab, &file);
        let began = Instant::now();
        kill(node.shim(&spec), Signal::KILL);
        until("the main process to die with its shim", || !is_alive(main)).await;
        let died = began.elapsed();
        let exit = node.exit(&spec).await;
        let told = began.elapsed();
        eprintln!("cgroups {cgroups}, {what}: main died after {died:?}, told after {told:?}");
        assert_eq!((exit.status, exit.after_stop), (ExitStatus::Lost, false), "{what}");
        assert!(told < Duration::from_secs(2), "{what}: told after {told:?}");
        for pid in pids {
            assert!(!is_alive(pid), "{what}: {pid} is alive");
        }
        assert_eq!(traces::processes(&lab.job), Vec::<i32>::new(), "{what}");
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_control_groups_a_killed_shim_is_noticed_and_cleaned_up_after() {
    shim_is_killed(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_control_groups_a_killed_shim_is_noticed_and_cleaned_up_after() {
    shim_is_killed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_was_killed_while_no_agent_was_there_is_found_lost() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let daemon = lab.path("daemon");
    let text =
        format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' & exec sleep 1000", daemon.display());
    let spec = replica(&lab.job, script("main", &text));
    let ready = at_rank(replica(&lab.job, container("main", &["true"])), 2);
    node.start(&spec).await;
    node.runtime.prepare(ready.clone());
    node.ready(&ready).await;
    let daemon = pid_in(&daemon).await;
    let shims = [node.shim(&spec), node.shim(&ready)];
    node.close().await;
    for shim in shims {
        kill(shim, Signal::KILL);
        until("the shim to die", || !is_alive(shim)).await;
    }
    for _ in 0..2 {
        // Told again by each runtime that is opened, until it is removed.
        let node = lab.open().await;
        assert_eq!(node.adopted.len(), 2);
        for one in &node.adopted {
            let seen = format!("{:?}", one.seen);
            assert!(seen.contains("Lost"), "{seen}");
        }
        assert!(!is_alive(daemon));
        node.close().await;
    }
    let node = lab.open().await;
    node.remove(&spec);
    node.remove(&ready);
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_hangs_is_killed_when_its_replica_does_not_stop() {
    let mut lab = Lab::new();
    lab.options.stop_patience = 300;
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", "sleep 1000 & sleep 1000"));
    node.start(&spec).await;
    let shim = node.shim(&spec);
    kill(shim, Signal::STOP);
    node.stop(&spec, 100);
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Lost);
    assert!(!is_alive(shim));
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_init_container_leaves_behind_ends_with_it() {
    for cgroups in [true, false] {
        let mut lab = Lab::new();
        lab.options.cgroups = cgroups;
        let mut node = lab.open().await;
        let left = lab.path("left");
        let mut spec = replica(&lab.job, script("main", "sleep 1000"));
        let text = format!("sleep 1000 & echo $! > {}", left.display());
        spec.role.pod.init_containers.push(script("init", &text));
        node.start(&spec).await;
        let left = pid_in(&left).await;
        until("it to die", || !is_alive(left)).await;
        node.stop(&spec, 0);
        node.exit(&spec).await;
        node.finish(&lab).await;
    }
}

/// Makes groups below the container's own, with a daemon in the innermost, and prints its pid.
const NESTED: &str = "
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    case $own in */c0) ;; *) continue;; esac
    mkdir -p \"$root$own/sub/deeper\" 2>/dev/null || continue
    setsid sleep 1000 &
    echo $! > \"$root$own/sub/deeper/cgroup.procs\" && echo $! && exit 0
done
exit 77";

#[tokio::test(flavor = "multi_thread")]
async fn control_groups_that_a_program_made_below_its_own_go_with_it() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let spec = replica(&lab.job, script("main", NESTED));
    match node.run(&spec).await {
        ExitStatus::Code(77) => {
            eprintln!("skipped: groups below a container's own (none can be made here)");
        }
        ended => {
            assert_eq!(ended, ExitStatus::Code(0));
            let pid = node.output(&spec).await.trim().parse().expect("it prints a pid");
            assert!(!is_alive(pid));
        }
    }
    let began = Instant::now();
    node.finish(&lab).await;
    assert!(began.elapsed() < Duration::from_secs(10), "nothing stood in the way of the removal");
}
