//! Replicas in environments that they share: what one installs stays its own, and what one uses stays there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_environments::{EnvironmentStore, Machine, PruneRule, Pruned};
use muster_model::{ContainerSpec, LaunchSpec, Millis};
use tempfile::TempDir;

use crate::lab::{Lab, until};
use crate::remote::{Call, News, Told};
use crate::replica::{at_rank, container, fresh_uid, opening, replica, script};
use crate::testbed::Testbed;

/// An image that stands for Python and pip alone, so that no index is needed.
const IMAGE: &str = "python";

/// A lab whose images are environments in a folder of the test's own.
fn lab() -> (Lab, TempDir) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let mut lab = Lab::new();
    lab.options.environments = Some(folder.path().join("environments"));
    (lab, folder)
}

fn store(folder: &TempDir) -> EnvironmentStore {
    let root = folder.path().join("environments");
    EnvironmentStore::open_on(&root, Machine::from_process()).expect("a store")
}

fn prune(folder: &TempDir) -> Pruned {
    store(folder).prune(PruneRule::AllUnused, false).expect("a prune")
}

fn python(name: &str, text: &str) -> ContainerSpec {
    ContainerSpec { image: IMAGE.into(), ..script(name, text) }
}

/// Every file of an environment, bytecode too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a file").is_dir() {
            true => all.extend(files(&entry.path())),
            false => all.push(entry.path()),
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_installs_is_its_own_and_the_environment_stays_as_it_was() {
    let (lab, folder) = lab();
    let mut node = lab.open().await;
    let wheel = crate::wheel::write(folder.path());
    let install = format!("pip install --no-index --quiet {}", wheel.display());
    let where_is = "python -c 'import tinypkg; print(tinypkg.__file__)'";
    let missing = "python -c 'import tinypkg' 2>/dev/null && exit 7";

    let first = replica(&lab.job, python("main", "python -m pip --version"));
    assert!(node.run(&first).await.is_success());
    let environment = store(&folder).list().expect("a list")[0].path.clone();
    let before = files(&environment);

    // An init container and a main container have one image, and a layer each, as in Kubernetes.
    let text = format!(
        "{missing}; {install} && {where_is} && tiny && echo $VIRTUAL_ENV; command -v python"
    );
    let mut second = at_rank(replica(&lab.job, python("main", &text)), 2);
    second.role.pod.init_containers =
        vec![python("init", &text.replace("pip install", "python3 -m pip install"))];
    assert!(node.run(&second).await.is_success(), "{}", node.output(&second).await);
    let output = node.output(&second).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 8, "{output}");
    let replica_folder = std::fs::canonicalize(node.directory(&second)).expect("it is there");
    for (index, container) in lines.chunks(4).enumerate() {
        let layer = replica_folder.join("layers").join(index.to_string());
        assert!(Path::new(container[0]).starts_with(&layer), "{output}");
        assert_eq!(container[1..3], [layer.display().to_string(), layer.display().to_string()]);
        assert_eq!(container[3], layer.join("bin/python").display().to_string());
    }

    // Another replica knows nothing of it, nor does the same one in its next generation.
    let third = at_rank(replica(&lab.job, python("main", missing)), 3);
    assert!(matches!(node.run(&third).await, muster_model::ExitStatus::Code(1)));
    assert_eq!(files(&environment), before);
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_kept_as_long_as_a_replica_uses_it_whoever_started_the_replica() {
    let (lab, folder) = lab();
    let spec = replica(&fresh_uid(), python("main", "sleep 1000"));
    let mut agent = Testbed::start(&lab.options, None);
    agent.call(&Call::Prepare(Box::new(spec.clone())));
    agent.call(&Call::Start(spec.id, spec.fence, opening(&spec)));
    told(&agent, &spec, &Told::Running);
    assert_kept(&folder, "the agent lives");

    agent.kill();
    assert_kept(&folder, "nobody but the shim lives");

    let mut agent = Testbed::start(&lab.options, None);
    while agent.next().expect("the agent opens") != News::Open {}
    assert_kept(&folder, "another agent has taken it over");

    agent.call(&Call::Stop(spec.id, spec.fence, Millis(100)));
    loop {
        match agent.next().expect("the agent lives") {
            News::Seen(_, _, Told::Exited(_)) => break,
            _ => continue,
        }
    }
    agent.call(&Call::Remove(spec.id, spec.fence));
    let replicas = lab.options.data.join("replicas");
    until("the replica's directory to go", || {
        std::fs::read_dir(&replicas).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
    // An agent that has nothing to run holds no environment.
    let pruned = prune(&folder);
    assert_eq!((pruned.removed.len(), pruned.in_use.len()), (1, 0), "{pruned:?}");
    agent.kill();
}

fn told(agent: &Testbed, spec: &LaunchSpec, wanted: &Told) {
    loop {
        match agent.next().expect("the agent lives") {
            News::Seen(id, _, seen) if id == spec.id && seen == *wanted => return,
            News::Seen(_, _, Told::Exited(exit)) => panic!("it ended instead: {exit:?}"),
            _ => {}
        }
    }
}

fn assert_kept(folder: &TempDir, when: &str) {
    let pruned = prune(folder);
    assert_eq!((pruned.removed.len(), pruned.in_use.len()), (0, 1), "{when}: {pruned:?}");
    assert_eq!(pruned.in_use[0].users.len(), 1, "{when}: {pruned:?}");
    assert!(!pruned.in_use[0].held, "{when}: it is the shim that keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_somebody_deleted_is_built_again() {
    let (lab, folder) = lab();
    let mut node = lab.open().await;
    let first = replica(&lab.job, python("main", "true"));
    assert!(node.run(&first).await.is_success());
    // By hand, as no prune would do it.
    std::fs::remove_dir_all(&store(&folder).list().expect("a list")[0].path).expect("it is there");
    let second = at_rank(replica(&lab.job, python("main", "python -c 'print(1)'")), 2);
    assert!(node.run(&second).await.is_success(), "it is built again");
    node.finish(&lab).await;
}

/// What a layer costs is between the order to prepare and the word that the replica is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_in_an_environment_of_its_own_is_ready_as_soon_as_one_without() {
    let (lab, _folder) = lab();
    let mut node = lab.open().await;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..31 {
        for (which, image) in ["host-tools", IMAGE].into_iter().enumerate() {
            let mut main = container("main", &["true"]);
            main.image = image.into();
            let mut spec = at_rank(replica(&lab.job, main), round);
            if which == 0 {
                let host = ("muster.dev/environment".to_owned(), "host".to_owned());
                spec.role.pod.annotations.extend([host]);
            }
            spec.fence.attempt.0 += u32::try_from(which).expect("0 or 1");
            let began = Instant::now();
            node.runtime.prepare(spec.clone());
            node.ready(&spec).await;
            times[which].push(began.elapsed());
            node.runtime.start(spec.id, spec.fence, opening(&spec));
            node.exit(&spec).await;
        }
    }
    let medians = times.map(|mut times| {
        // The first one built the environment.
        times.remove(0);
        times.sort();
        times[times.len() / 2]
    });
    eprintln!("prepare to ready: {:?} on the machine, {:?} in a layer", medians[0], medians[1]);
    assert!(medians[1] < medians[0] + Duration::from_millis(50));
    node.finish(&lab).await;
}
