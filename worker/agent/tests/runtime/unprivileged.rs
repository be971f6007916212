//! An agent of an ordinary user: without control groups, and with mounts only where the kernel lets it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use muster_model::{ExitStatus, HostPathKind, LaunchSpec, Volume, VolumeMount, VolumeSource};

use crate::lab::Lab;
use crate::remote::{Call, News, Told};
use crate::replica::{opening, replica, script};
use crate::testbed::Testbed;
use crate::traces;

const NOBODY: u32 = 65_534;

/// A lab that an ordinary user can use; `None` with a word on stderr when this process cannot become one.
fn lab() -> Option<Lab> {
    if !traces::is_root() {
        eprintln!("skipped: an agent of another user (needs root to become one)");
        return None;
    }
    let mut lab = Lab::new();
    let root = lab.path(".");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(&lab.options.data).unwrap();
    chown(&lab.options.data, Some(NOBODY), Some(NOBODY)).unwrap();
    // The one that was built may lie where nobody else can go.
    let program = lab.path("testbed");
    // By a process of its own: a file that this one has open for writing cannot be executed, and what other
    // tests are just starting inherits what is open.
    let copied = Command::new("cp").arg(&lab.options.shim).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    lab.options.shim = program;
    Some(lab)
}

fn run(agent: &mut Testbed, spec: &LaunchSpec) -> ExitStatus {
    agent.call(&Call::Prepare(Box::new(spec.clone())));
    agent.call(&Call::Start(spec.id, spec.fence, opening(spec)));
    loop {
        match agent.next().expect("the agent goes on") {
            News::Seen(id, _, Told::Exited(exit)) if id == spec.id => return exit.status,
            _ => {}
        }
    }
}

fn output(lab: &Lab, spec: &LaunchSpec) -> String {
    let name = format!("{}.g{}.log", spec.short_name, spec.fence.generation);
    let path = lab.options.data.join("logs").join(&lab.job.0).join(name);
    fs::read_to_string(path).unwrap()
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        sub_path: String::new(),
        read_only: false,
    }
}

#[test]
fn an_ordinary_user_can_run_replicas_and_clean_up_after_them() {
    let Some(lab) = lab() else { return };
    let mut agent = Testbed::start(&lab.options, Some(NOBODY));
    let text = "id -u; (setsid sleep 1000 &); sleep 1000 & exit 3";
    let spec = replica(&lab.job, script("main", text));
    assert_eq!(run(&mut agent, &spec), ExitStatus::Code(3));
    assert!(output(&lab, &spec).contains("65534"));
    assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
    agent.call(&Call::Remove(spec.id, spec.fence));
    let replicas = lab.options.data.join("replicas");
    traces::wait_for("the removal", || fs::read_dir(&replicas).unwrap().next().is_none());
}

#[test]
fn an_ordinary_user_has_volumes_where_user_namespaces_are_allowed() {
    let Some(lab) = lab() else { return };
    let mut agent = Testbed::start(&lab.options, Some(NOBODY));
    let folder = lab.path("host");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let text = "echo made > /no-such-root/v/file; cat /no-such-root/v/file; df /dev/shm | tail -1; \
                echo > /no-such-root/host/x; ls /etc/passwd; (echo > /no-such-root/y) 2>/dev/null || echo refused";
    let mut main = script("main", text);
    main.mounts = vec![
        mount("v", "/no-such-root/v"),
        mount("shm", "/dev/shm"),
        mount("host", "/no-such-root/host"),
    ];
    let mut spec = replica(&lab.job, main);
    let empty = |memory| VolumeSource::EmptyDir { memory, size_limit: Some(1 << 20) };
    let host = VolumeSource::HostPath {
        path: folder.to_str().unwrap().into(),
        kind: HostPathKind::Directory,
    };
    spec.role.pod.volumes = vec![
        Volume { name: "v".into(), source: empty(false) },
        Volume { name: "shm".into(), source: empty(true) },
        Volume { name: "host".into(), source: host },
    ];
    match run(&mut agent, &spec) {
        ExitStatus::StartFailed { why, .. } if why.contains("user.max_user_namespaces") => {
            eprintln!("skipped: volumes of an ordinary user (this kernel does not let it): {why}");
        }
        status => {
            let output = output(&lab, &spec);
            assert_eq!(status, ExitStatus::Code(0), "{output}");
            assert!(output.contains("made") && output.contains("/etc/passwd"), "{output}");
            assert!(output.contains("1024"), "memory of one mebibyte: {output}");
            assert!(folder.join("x").exists());
        }
    }
    let mut other = traces::mounts(&lab.options.data);
    other.extend(traces::mounts(&folder));
    assert_eq!(other, Vec::<String>::new());
}
