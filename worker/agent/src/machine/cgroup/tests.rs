use std::process::Command;
use std::time::{Duration, Instant};

use super::groups::effective;
use super::*;

/// The control groups of a test agent of this name, or `None` with a word on stderr.
fn cgroups(agent: &str) -> Option<Cgroups> {
    let name = format!("test-{agent}-{}", std::process::id());
    let cgroups = Cgroups::open(&Options::default(), &name);
    if let Some(why) = cgroups.shortcoming() {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(cgroups)
}

fn remove_all(cgroups: &Cgroups) {
    for tree in &cgroups.trees {
        fs::remove_dir(&tree.dir).expect("the agent's directory is empty");
    }
}

#[test]
fn limits_arrive_in_the_kernel_and_groups_go_when_removed() {
    let Some(cgroups) = cgroups("limits") else {
        return;
    };
    let limits = Limits { cpu_request: 500, cpu_limit: 1500, memory_limit: 64 << 20 };
    let groups = cgroups.create("r", &[limits, Limits::default()]).unwrap();
    assert_eq!(effective(&groups, 0), (Some(64 << 20), Some(150_000)));
    assert_eq!(cgroups.replicas(), ["r"]);
    assert_eq!(groups.oom_kills(0), 0);
    assert!(groups.remove());
    assert!(groups.remove(), "removing twice is no error");
    assert!(cgroups.replicas().is_empty());
    remove_all(&cgroups);
}

#[test]
fn a_kill_reaches_every_member() {
    let Some(cgroups) = cgroups("kill") else {
        return;
    };
    let limits = Limits { cpu_limit: 1000, memory_limit: 64 << 20, ..Limits::default() };
    let groups = cgroups.create("r", &[limits]).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let join = groups.join(0);
    let unified = join.unified.map(|dir| dir.join("cgroup.procs"));
    for file in join.files.into_iter().chain(unified) {
        fs::write(file, child.id().to_string()).unwrap();
    }
    assert!(!groups.is_empty());
    assert!(!groups.remove(), "a group with a member stays");
    groups.kill();
    assert!(!child.wait().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !groups.remove() {
        assert!(Instant::now() < deadline, "the groups do not go");
        std::thread::yield_now();
    }
    remove_all(&cgroups);
}

#[test]
fn disabled_groups_are_empty_and_say_so() {
    let options = Options { disabled: true, parent: None };
    let cgroups = Cgroups::open(&options, "x");
    assert!(cgroups.shortcoming().unwrap().contains("Delegate=yes"));
    let groups = cgroups.create("r", &[Limits::default()]).unwrap();
    assert_eq!(groups.join(0), Join::default());
    assert!(groups.is_empty() && groups.remove());
}

#[test]
fn weights_follow_the_line_of_kubernetes() {
    let weight = |cpu_request| {
        let limits = Limits { cpu_request, ..Limits::default() };
        (limits.shares(), limits.weight())
    };
    assert_eq!(weight(1), (2, 1));
    assert_eq!(weight(1000), (1024, 39));
    assert_eq!(weight(256_000), (262_144, 10_000));
    assert_eq!(weight(1_000_000), (262_144, 10_000));
}

/// The files of a pure v2 machine, on a directory that only looks like one: this shows what is written, not what the
/// kernel makes of it.
#[test]
fn on_a_pure_v2_machine_the_v2_files_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let kind = TreeKind::Unified { cpu: true, memory: true, kill: true };
    let groups = Groups::new(vec![Tree { kind, dir: folder.path().join("r") }]);
    let limits = Limits { cpu_request: 1000, cpu_limit: 2500, memory_limit: 1 << 30 };
    groups.make(&[limits, Limits::default()]).unwrap();
    let read = |file: &str| fs::read_to_string(folder.path().join("r").join(file)).unwrap();
    assert_eq!(read("cgroup.subtree_control"), "+memory");
    assert_eq!(read("c0/cpu.weight"), "39");
    assert_eq!(read("c0/cpu.max"), "250000 100000");
    assert_eq!(read("c0/memory.max"), "1073741824");
    assert_eq!(read("c0/memory.swap.max"), "0");
    let unlimited: Vec<_> = fs::read_dir(folder.path().join("r/c1")).unwrap().collect();
    assert!(unlimited.is_empty());
    assert_eq!(groups.join(1).unified, Some(folder.path().join("r/c1")));
    assert_eq!(groups.join(0).files, Vec::<PathBuf>::new());
    let events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 2\noom_group_kill 0\n";
    fs::write(folder.path().join("r/c0/memory.events"), events).unwrap();
    assert_eq!((groups.oom_kills(0), groups.oom_kills(1)), (2, 0));
    groups.kill();
    assert_eq!(read("cgroup.kill"), "1");
}
