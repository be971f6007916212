//! Volumes, where a container expects them, and nowhere else.

use std::fs;
use std::path::Path;

use muster_model::{ContainerSpec, HostPathKind, LaunchSpec, Volume, VolumeMount, VolumeSource};

use crate::lab::{Lab, until};
use crate::replica::{at_rank, replica, script};
use crate::traces;

fn empty(name: &str) -> Volume {
    let source = VolumeSource::EmptyDir { memory: false, size_limit: None };
    Volume { name: name.into(), source }
}

fn memory(name: &str, size_limit: Option<u64>) -> Volume {
    Volume { name: name.into(), source: VolumeSource::EmptyDir { memory: true, size_limit } }
}

fn host(name: &str, path: &Path, kind: HostPathKind) -> Volume {
    let path = path.to_str().unwrap().to_owned();
    Volume { name: name.into(), source: VolumeSource::HostPath { path, kind } }
}

fn at(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        sub_path: String::new(),
        read_only: false,
    }
}

fn mounted(mut container: ContainerSpec, mounts: Vec<VolumeMount>) -> ContainerSpec {
    container.mounts = mounts;
    container
}

fn with_volumes(lab: &Lab, main: ContainerSpec, volumes: Vec<Volume>) -> LaunchSpec {
    let mut spec = replica(&lab.job, main);
    spec.role.pod.volumes = volumes;
    spec
}

/// Whether mounts can be made here; says on stderr when a test is skipped because they cannot.
fn possible(what: &str) -> bool {
    if !traces::is_root() {
        eprintln!("skipped: {what} (needs root)");
    }
    traces::is_root()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_directory_is_shared_by_the_containers_and_gone_afterwards() {
    if !possible("a volume at a path that does not exist") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    let root_before: Vec<_> =
        fs::read_dir("/").unwrap().map(|one| one.unwrap().file_name()).collect();
    // At a path in the root that does not exist, deep below it, and at different paths.
    let main = mounted(
        script(
            "main",
            "cat /no-such-root/deep/er/file; echo > /no-such-root/deep/er/more; ls /etc/passwd",
        ),
        vec![at("shared", "/no-such-root/deep/er")],
    );
    let mut spec = with_volumes(&lab, main, vec![empty("shared")]);
    spec.role.pod.init_containers = vec![mounted(
        script("init", "echo from init > /somewhere-else/file"),
        vec![at("shared", "/somewhere-else")],
    )];
    assert!(node.run(&spec).await.is_success());
    assert_eq!(node.output(&spec).await, "from init\n/etc/passwd\n");
    assert!(!Path::new("/no-such-root").exists() && !Path::new("/somewhere-else").exists());
    let root_after: Vec<_> =
        fs::read_dir("/").unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(root_before, root_after);
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), before);
    let directory = node.directory(&spec);
    assert!(directory.join("volumes/0/more").exists());
    node.remove(&spec);
    until("the volume to go", || !directory.exists()).await;
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beside_a_made_mount_point_stays_as_it_is() {
    if !possible("a volume below an existing directory") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let parent = lab.path("parent");
    fs::create_dir_all(parent.join("dir/sub")).unwrap();
    fs::write(parent.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("file", parent.join("link")).unwrap();
    let text = format!(
        "cd {}; ls; cat link; echo; echo changed > file; echo new > dir/new; echo v > made/here/x; \
         (echo lost > direct) 2>/dev/null || echo refused",
        parent.display()
    );
    let target = parent.join("made/here");
    let main = mounted(script("main", &text), vec![at("v", target.to_str().unwrap())]);
    let spec = with_volumes(&lab, main, vec![empty("v")]);
    assert!(node.run(&spec).await.is_success());
    let output = node.output(&spec).await;
    assert_eq!(output, "dir\nfile\nlink\nmade\ncontent\nrefused\n");
    // Writes to what exists arrive on the machine; what could not arrive was refused, and it was told.
    assert_eq!(fs::read_to_string(parent.join("file")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(parent.join("dir/new")).unwrap(), "new\n");
    assert!(!parent.join("made").exists() && !parent.join("direct").exists());
    let notice = node.notice(&spec).await;
    assert!(notice.contains("made/here does not exist on this node"), "{notice}");
    // A directory like /tmp stays writable.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o1777)).unwrap();
    let spec = at_rank(spec, 2);
    assert!(node.run(&spec).await.is_success());
    assert!(!node.output(&spec).await.contains("refused"));
    assert!(!parent.join("direct").exists());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited_private_and_shared_within_the_replica() {
    if !possible("a volume in memory") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let marker = format!("muster-test-{}", lab.job);
    let gate = lab.path("gate");
    let write = format!(
        "echo > /dev/shm/{marker}; head -c 3000000 /dev/zero > /dev/shm/big || echo full; echo > {}; sleep 1000",
        gate.display()
    );
    let side = mounted(script("side", &write), vec![at("shm", "/dev/shm")]);
    let text =
        format!("while [ ! -e {} ]; do sleep 0.01; done; ls /dev/shm /elsewhere", gate.display());
    let main = mounted(script("main", &text), vec![at("shm", "/dev/shm"), at("shm", "/elsewhere")]);
    let mut spec = with_volumes(&lab, main, vec![memory("shm", Some(2 << 20))]);
    spec.role.pod.containers.push(side);
    assert!(node.run(&spec).await.is_success());
    let entries = node.entries(&spec).await;
    let full = entries.iter().any(|one| one.container.is_some() && one.text == b"full");
    assert!(full, "the limit of the memory is not enforced: {entries:?}");
    let output = node.output(&spec).await;
    assert_eq!(output.matches(&marker).count(), 2, "{output}");
    assert!(!Path::new("/dev/shm").join(&marker).exists());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_the_machine_are_checked_made_and_mounted() {
    if !possible("hostPath volumes") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("host");
    fs::create_dir_all(folder.join("data/sub")).unwrap();
    fs::write(folder.join("data/file"), "data").unwrap();
    fs::write(folder.join("config"), "config").unwrap();
    let text = "cat /data/file /config.txt; echo w > /data/written; (echo ro > /ro/x) 2>/dev/null || echo refused; \
                echo sub > /sub/s; ls -d /made";
    let read_only = VolumeMount { read_only: true, ..at("data", "/ro") };
    let sub = VolumeMount { sub_path: "sub/new".into(), ..at("data", "/sub") };
    let main = mounted(
        script("main", text),
        vec![at("data", "/data"), at("config", "/config.txt"), read_only, sub, at("made", "/made")],
    );
    let volumes = vec![
        host("data", &folder.join("data"), HostPathKind::Directory),
        host("config", &folder.join("config"), HostPathKind::File),
        host("made", &folder.join("new/made"), HostPathKind::DirectoryOrCreate),
    ];
    let spec = with_volumes(&lab, main, volumes);
    assert!(node.run(&spec).await.is_success(), "{}", node.output(&spec).await);
    assert_eq!(node.output(&spec).await, "dataconfigrefused\n/made\n");
    assert!(folder.join("data/written").exists() && folder.join("data/sub/new/s").exists());
    assert!(folder.join("new/made").is_dir());

    for (rank, volume, words) in [
        (11, host("v", &folder.join("none"), HostPathKind::Directory), "does not exist"),
        (12, host("v", &folder.join("none"), HostPathKind::Any), "does not exist"),
        (13, host("v", &folder.join("config"), HostPathKind::Directory), "is no directory"),
        (14, host("v", &folder.join("data"), HostPathKind::File), "is no file"),
    ] {
        let main = mounted(script("main", "true"), vec![at("v", "/v")]);
        let spec = at_rank(with_volumes(&lab, main, vec![volume]), rank);
        let (why, permanent) = node.fail(&spec).await;
        assert!(why.contains(words) && why.contains("hostPath") && permanent, "{why}");
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_cannot_be_are_refused_with_a_sentence() {
    if !possible("mounts that are refused") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let escape = VolumeMount { sub_path: "../..".into(), ..at("v", "/v") };
    let unknown = at("other", "/v");
    for (rank, mount, words) in [
        (1, escape, "must stay within"),
        (2, unknown, "does not have"),
        (3, at("v", "relative"), "must be absolute"),
        (4, at("v", "/a/../b"), "must not contain '..'"),
        (5, at("v", "/"), "must not be / itself"),
        (6, at("v", "/etc/passwd"), "there is a file"),
        (7, at("v", "/etc/passwd/x"), "Not a directory"),
    ] {
        let main = mounted(script("main", "true"), vec![mount]);
        let spec = at_rank(with_volumes(&lab, main, vec![empty("v")]), rank);
        let (why, _) = node.fail(&spec).await;
        assert!(why.contains(words), "{words:?} is not in {why:?}");
    }
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_can_lie_in_each_other_and_differ_between_containers() {
    if !possible("nested volumes") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("host");
    fs::create_dir_all(&folder).unwrap();
    let text = "echo a > /one/a; echo b > /one/two/b; echo c > /one/two/three/c; ls /one /one/two";
    let main = mounted(
        script("main", text),
        vec![at("inner", "/one/two"), at("outer", "/one"), at("host", "/one/two/three")],
    );
    let side = mounted(script("side", "ls /one; sleep 1000"), vec![at("host", "/one")]);
    let mut spec = with_volumes(
        &lab,
        main,
        vec![empty("outer"), empty("inner"), host("host", &folder, HostPathKind::Directory)],
    );
    spec.role.pod.containers.push(side);
    assert!(node.run(&spec).await.is_success(), "{}", node.output(&spec).await);
    assert_eq!(fs::read_to_string(folder.join("c")).unwrap(), "c\n");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the machine's directory was touched");
    let output = node.output(&spec).await;
    assert!(
        output.contains("/one:\na\ntwo\n") && output.contains("/one/two:\nb\nthree\n"),
        "{output}"
    );
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_its_directory_may_lie_in_a_volume() {
    if !possible("a program in a volume") {
        return;
    }
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut main = mounted(
        crate::replica::container("main", &["./tool"]),
        vec![at("code", "/no-such-root/code")],
    );
    main.working_dir = Some("/no-such-root/code".into());
    let mut spec = with_volumes(&lab, main, vec![empty("code")]);
    let make = "cd /code; printf '#!/bin/sh\\npwd' > tool; chmod +x tool";
    spec.role.pod.init_containers = vec![mounted(script("clone", make), vec![at("code", "/code")])];
    assert!(node.run(&spec).await.is_success());
    assert_eq!(node.output(&spec).await, "/no-such-root/code\n");
    // Without the init container there is nothing, and that is said.
    let mut spec = at_rank(spec, 2);
    spec.role.pod.init_containers.clear();
    let (why, _) = node.fail(&spec).await;
    assert!(why.contains("`./tool`"), "{why}");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_the_machine_at_its_own_place_needs_no_mount() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("host");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.to_str().unwrap();
    let text = format!("echo x > {path}/x; readlink /proc/self/ns/mnt");
    let main = mounted(script("main", &text), vec![at("host", path)]);
    let spec = with_volumes(&lab, main, vec![host("host", &folder, HostPathKind::Directory)]);
    assert!(node.run(&spec).await.is_success());
    assert!(folder.join("x").exists());
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(node.output(&spec).await.trim(), own.to_str().unwrap());
    node.finish(&lab).await;
}
