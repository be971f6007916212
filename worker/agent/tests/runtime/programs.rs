//! What a container's process finds: its command, its environment, its directory, its descriptors; and what is
//! said when something is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use muster_model::{
    EnvSource, EnvTemplate, EnvVar, ExitStatus, Part, Resources, Template, Variable,
};

use crate::lab::Lab;
use crate::replica::{at_rank, container, env, opening, replica, script};

/// Writes an executable file, by a process of its own: a file that somebody has open for writing cannot be
/// executed, and what other tests are just starting inherits what this process has open.
fn write_program(path: &Path, text: &str, mode: u32) -> String {
    let written = Command::new("sh")
        .args(["-c", "printf '%s' \"$2\" > \"$1\"", "sh"])
        .args([path.as_os_str(), text.as_ref()])
        .status();
    assert!(written.unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn hole(name: &str, variable: Variable) -> EnvTemplate {
    EnvTemplate { name: name.into(), value: Template::hole(variable), user_wins: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_reach_the_program_expanded_and_in_the_order_of_their_layers() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut main = container(
        "main",
        &["sh", "-c", "echo \"$0 $1\"; env | sort", "arg-$(GREETING)", "$$(GREETING)-$(NONE)"],
    );
    main.env = vec![
        env("NAME", "world"),
        env("GREETING", "hello $(NAME)"),
        env("RANK", "overridden"),
        EnvVar { name: "POD".into(), source: EnvSource::Field("metadata.name".into()) },
        EnvVar { name: "NODE".into(), source: EnvSource::Field("spec.nodeName".into()) },
    ];
    main.limits = Resources::new().with("cpu", 3000);
    let mut spec = replica(&lab.job, main);
    spec.role.env = vec![
        hole("RANK", Variable::Rank),
        hole("MASTER_ADDR", Variable::LeaderAddress),
        hole("OMP_NUM_THREADS", Variable::Threads),
        EnvTemplate {
            name: "ENDPOINT".into(),
            value: Template(vec![
                Part::Hole(Variable::LeaderHost),
                Part::Text(":".into()),
                Part::Hole(Variable::StorePort),
            ]),
            user_wins: false,
        },
    ];
    node.runtime.prepare(spec.clone());
    let mut context = opening(&spec);
    context.leader_address = "fd00::7".into();
    context.store_port = Some(4242);
    node.runtime.start(spec.id, spec.fence, context);
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    let output = node.output(&spec).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "arg-hello world $(GREETING)-$(NONE)");
    for wanted in [
        "GREETING=hello world",
        "RANK=1",
        "POD=test-worker-1",
        "NODE=node-a",
        "MASTER_ADDR=fd00::7",
        "ENDPOINT=[fd00::7]:4242",
        "OMP_NUM_THREADS=3",
        "MUSTER_JOB=test",
        "MUSTER_RANK=1",
        "MUSTER_GANG_SIZE=2",
        "HOME=/tmp",
    ] {
        assert!(lines.contains(&wanted), "{wanted} is not in\n{output}");
    }
    assert!(lines.iter().any(|line| line.starts_with("MUSTER_REPLICA_TOKEN=")));
    // Nothing of the environment of the agent that is not on the lists.
    assert!(!output.contains("CARGO_"), "{output}");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_alone_in_its_session_with_clean_signals_and_descriptors() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let text = "ls /proc/self/fd | tr '\\n' ' '; echo; ulimit -n; ulimit -Hn; \
                grep -E '^Sig(Blk|Ign)' /proc/self/status; \
                cut -d' ' -f5,6 /proc/$$/stat; echo $$";
    let spec = replica(&lab.job, script("main", text));
    assert!(node.run(&spec).await.is_success());
    let output = node.output(&spec).await;
    let lines: Vec<&str> = output.lines().collect();
    // The fourth is the directory that ls reads.
    assert_eq!(lines[0].trim(), "0 1 2 3");
    assert_eq!(lines[1], lines[2], "the soft limit of open files is the hard one");
    for (line, name) in [(lines[3], "SigBlk:"), (lines[4], "SigIgn:")] {
        let mask = line.strip_prefix(name).expect("grep found it").trim();
        let mask = u64::from_str_radix(mask, 16).expect("it is a mask");
        // Signals 32 and 33 belong to the C library.
        assert_eq!(mask & !0x1_8000_0000, 0, "{line}");
    }
    let own = lines[6];
    assert_eq!(lines[5], format!("{own} {own}"), "group and session");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_before_the_replica_is_ready() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("programs");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str, mode: u32| write_program(&folder.join(name), text, mode);
    let plain = write("plain", "echo hi", 0o644);
    let orphan = write("orphan", "#!/opt/no/python -u\n", 0o755);
    let mut rank = 0;
    let mut case = |change: &dyn Fn(&mut muster_model::ContainerSpec)| {
        rank += 1;
        let mut main = container("main", &["true"]);
        change(&mut main);
        at_rank(replica(&lab.job, main), rank)
    };
    let cases = [
        (
            case(&|main| main.command = vec!["trainn".into()]),
            vec!["command not found: `trainn`", "image test", "checked: /", "node-a"],
        ),
        (
            case(&|main| main.command = vec!["./nothing.sh".into()]),
            vec!["command not found: `./nothing.sh`", "does not exist"],
        ),
        (case(&|main| main.command.clear()), vec!["has no command", "\"test\""]),
        (case(&|main| main.command = vec![plain.clone()]), vec!["is not executable", "chmod +x"]),
        (case(&|main| main.command = vec!["/tmp".into()]), vec!["/tmp is a directory"]),
        (case(&|main| main.command = vec![orphan.clone()]), vec!["/opt/no/python"]),
        (
            case(&|main| main.working_dir = Some("/no/such/dir".into())),
            vec!["workingDir /no/such/dir", "does not exist", "node-a"],
        ),
        (
            case(&|main| main.working_dir = Some(plain.clone())),
            vec!["workingDir", "is no directory"],
        ),
        (
            case(&|main| {
                main.env = vec![EnvVar {
                    name: "X".into(),
                    source: EnvSource::Field("status.phase".into()),
                }];
            }),
            vec!["env X", "status.phase"],
        ),
    ];
    for (spec, words) in &cases {
        node.runtime.prepare(spec.clone());
        let exit = node.exit(spec).await;
        let ExitStatus::StartFailed { why, permanent } = exit.status else {
            panic!("{words:?}: {:?}", exit.status)
        };
        for word in words {
            assert!(why.contains(word), "{word:?} is not in {why:?}");
        }
        assert!(permanent && !exit.after_stop, "{why}");
    }
    let broken = at_rank(replica(&lab.job, container("main", &["true"])), 50);
    let mut broken = broken;
    broken.role.pod.containers[0].image = "broken:out of disk".into();
    let (why, permanent) = node.fail(&broken).await;
    assert!(why.contains("out of disk") && !permanent, "{why}");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_that_fails_only_at_the_start_is_a_failed_start() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let program = lab.path("program");
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    let spec = replica(&lab.job, container("main", &[program.to_str().unwrap()]));
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    fs::remove_file(&program).unwrap();
    node.runtime.start(spec.id, spec.fence, opening(&spec));
    let exit = node.exit(&spec).await;
    assert!(matches!(exit.status, ExitStatus::StartFailed { .. }), "{exit:?}");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_without_a_first_line_is_run_by_the_shell() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let program = lab.path("program");
    write_program(&program, "echo from a script", 0o755);
    let spec = replica(&lab.job, container("main", &[program.to_str().unwrap()]));
    assert!(node.run(&spec).await.is_success());
    assert_eq!(node.output(&spec).await, "from a script\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_starts_where_its_manifest_or_its_submitter_was() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let submitted = lab.path("submitted");
    fs::create_dir_all(submitted.join("sub")).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (rank, working_dir, submit_dir, expected) in [
        (1, None, Some(text(&submitted)), text(&submitted)),
        (2, Some("sub".to_owned()), Some(text(&submitted)), text(&submitted.join("sub"))),
        (3, Some("/usr".to_owned()), Some(text(&submitted)), "/usr".to_owned()),
    ] {
        let mut main = container("main", &["pwd"]);
        main.working_dir = working_dir;
        let mut spec = at_rank(replica(&lab.job, main), rank);
        spec.submit_dir = submit_dir;
        assert!(node.run(&spec).await.is_success());
        assert_eq!(node.output(&spec).await.trim(), expected);
    }
    // Neither is known, or the submission directory is on another machine: a directory of its own.
    let mut spec = at_rank(replica(&lab.job, script("main", "echo > here; pwd")), 4);
    assert!(node.run(&spec).await.is_success());
    let own = node.output(&spec).await;
    assert_eq!(own.trim(), text(&node.directory(&spec).join("work")));
    spec = at_rank(spec, 5);
    spec.submit_dir = Some("/no/such/dir".into());
    assert!(node.run(&spec).await.is_success());
    assert!(node.notice(&spec).await.contains("/no/such/dir"));
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_gives_path_and_a_warning() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let folder = lab.path("bin");
    fs::create_dir(&folder).unwrap();
    write_program(&folder.join("mytool"), "#!/bin/sh\necho $PATH", 0o755);
    let mut spec = replica(&lab.job, container("main", &["mytool"]));
    spec.role.pod.containers[0].image = "unmapped:1".into();
    let prefix = folder.to_str().unwrap().to_owned();
    spec.role.pod.annotations.insert("test/path-prefix".into(), prefix.clone());
    assert!(node.run(&spec).await.is_success());
    assert!(node.output(&spec).await.starts_with(&format!("{prefix}:")));
    assert_eq!(node.notice(&spec).await, "image unmapped:1 is not mapped");
    node.finish(&lab).await;
}
