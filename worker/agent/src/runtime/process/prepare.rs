//! From a launch specification to a shim that runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use muster_model::{ContainerSpec, LaunchSpec, PodSpec, ResourceName};

use super::directory;
use super::shared::{Key, Shared};
use super::sweep;
use crate::machine::cgroup::Limits;
use crate::runtime::contract::Seen;
use crate::runtime::images::ExecutionEnvironment;
use crate::runtime::logs::forget_old;
use crate::shim::Failure;
use crate::shim::record::{self, ContainerPlan, LAUNCH, LAYERS, Launch, LogPlan, SHIM_LOG};

/// A shim that was started.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) launch: Launch,
    pub(super) stream: UnixStream,
    pub(super) child: Child,
    /// Keeps the environments, until the shim has noted that it uses them.
    pub(super) environments: Environments,
}

/// The environments of a pod's images.
pub(super) type Environments = BTreeMap<String, ExecutionEnvironment>;

/// The containers of a pod, in the order of their plans.
fn containers(pod: &PodSpec) -> impl Iterator<Item = &ContainerSpec> {
    pod.init_containers.iter().chain(&pod.containers)
}

/// Finds the environments of all images of a pod.
pub(super) async fn environments(
    shared: &Arc<Shared>,
    key: Key,
    pod: &PodSpec,
) -> Result<Environments, Failure> {
    let mut found = BTreeMap::new();
    for container in containers(pod) {
        let image = &container.image;
        if found.contains_key(image) {
            continue;
        }
        let environment = environment(shared, key, image, pod).await?;
        if let Some(warning) = &environment.warning {
            let text = warning.clone();
            shared.tell(key, Seen::Notice { text }).await;
        }
        found.insert(image.clone(), environment);
    }
    Ok(found)
}

async fn environment(
    shared: &Arc<Shared>,
    key: Key,
    image: &str,
    pod: &PodSpec,
) -> Result<ExecutionEnvironment, Failure> {
    let turn = shared.turns.of(image, &pod.annotations);
    let turn = match Arc::clone(&turn).try_lock_owned() {
        Ok(turn) => turn,
        Err(_) => {
            shared.mention(key, format!("waiting for the environment of image {image}"));
            turn.lock_owned().await
        }
    };
    let (asker, image, annotations) =
        (Arc::clone(shared), image.to_owned(), pod.annotations.clone());
    let asked = tokio::task::spawn_blocking(move || {
        // Held here, so that the turn is not over when the replica is stopped and the work goes on.
        let _turn = turn;
        let mut progress = |text: String| asker.mention(key, text);
        asker.images.environment_for(&image, &annotations, &mut progress)
    });
    match asked.await {
        Ok(Ok(environment)) => Ok(environment),
        Ok(Err(error)) => Err(Failure { why: error.why, permanent: error.permanent }),
        Err(panic) => Err(Failure::passing(format!(
            "finding the environment of an image has failed: {panic}"
        ))),
    }
}

/// How many GPUs a pod needs: the sum over its containers, or the most that an init container needs.
pub(super) fn gpus_needed(pod: &PodSpec) -> usize {
    let sum: usize = pod.containers.iter().map(gpus_of).sum();
    let most = pod.init_containers.iter().map(gpus_of).max();
    sum.max(most.unwrap_or(0))
}

fn gpus_of(container: &ContainerSpec) -> usize {
    let gpu = ResourceName::nvidia_gpu();
    let amount = container.requests.get(&gpu).max(container.limits.get(&gpu));
    usize::try_from(amount).unwrap_or(usize::MAX)
}

/// Decides what each container gets, and makes the layers, in `layers`.
fn plans(
    pod: &PodSpec,
    environments: &Environments,
    gpus: &[u32],
    layers: &Path,
) -> Result<Vec<ContainerPlan>, Failure> {
    let mut given = 0;
    let first = pod.init_containers.len();
    let plan = |(index, container): (usize, &ContainerSpec)| {
        let count = gpus_of(container);
        // Init containers run before the others and may use the same devices.
        let from = if index < first { 0 } else { given };
        if index >= first {
            given += count;
        }
        let environment = &environments[&container.image];
        let toolbox = environment.source.toolbox(&layers.join(index.to_string()));
        Ok(ContainerPlan {
            toolbox: toolbox.map_err(|error| Failure::passing(error.to_string()))?,
            described: environment.description.clone(),
            gpus: gpus.iter().skip(from).take(count).copied().collect(),
        })
    };
    containers(pod).enumerate().map(plan).collect()
}

/// Makes the replica's directory and control groups and starts its shim. Blocks.
pub(super) fn begin(
    shared: &Shared,
    spec: LaunchSpec,
    environments: Environments,
    gpus: &[u32],
) -> Result<Begun, Failure> {
    let name = directory::name(&spec);
    let path = shared.data.replica(&name);
    let result = build(shared, spec, environments, gpus);
    if result.is_err() {
        shared.cgroups.named(&name).remove();
        let _ = sweep::remove_directory(&path);
    }
    result
}

fn build(
    shared: &Shared,
    spec: LaunchSpec,
    environments: Environments,
    gpus: &[u32],
) -> Result<Begun, Failure> {
    let name = directory::name(&spec);
    let path = shared.data.replica(&name);
    let failed = |what: &str, error: &io::Error| {
        Failure::passing(format!("cannot make {what} on node {}: {error}", shared.config.node.name))
    };
    // What an agent that was killed had begun is worth nothing.
    sweep::remove_directory(&path)
        .and_then(|()| directory::make(&path))
        .map_err(|error| failed("the replica's directory", &error))?;
    directory::make(&shared.data.logs_of(&spec.job_uid))
        .map_err(|error| failed("the job's log directory", &error))?;
    forget_old(&shared.data.logs_of(&spec.job_uid), &spec.short_name);
    let limits: Vec<Limits> = containers(&spec.role.pod).map(Limits::of).collect();
    let groups = shared
        .cgroups
        .create(&name, &limits)
        .map_err(|error| failed("the replica's control groups", &error))?;
    let log = shared.data.log(&spec.job_uid, &spec.short_name, spec.fence.generation);
    let launch = Launch {
        marker: marker().map_err(|error| failed("a random marker", &error))?,
        node: shared.config.node.clone(),
        containers: plans(&spec.role.pod, &environments, gpus, &path.join(LAYERS))?,
        environments: environments.values().filter_map(|one| one.source.users()).collect(),
        groups,
        log: LogPlan { file: log, limit: shared.config.log_limit },
        spec,
    };
    record::write(&path, LAUNCH, &launch)
        .map_err(|error| failed("the replica's launch file", &error))?;
    let (child, stream) =
        start(shared, &path).map_err(|error| failed("the replica's shim", &error))?;
    Ok(Begun { launch, stream, child, environments })
}

/// 128 random bits.
fn marker() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Starts the shim and connects to it.
///
/// The shim inherits its listening socket as standard input. So there is no moment at which it runs and cannot
/// be reached: whether a replica has a shim is told by whether its socket is listened on, even right after
/// this agent was killed. The connection is made before the shim is, so that one that ends at once is heard out.
fn start(shared: &Shared, path: &Path) -> io::Result<(Child, UnixStream)> {
    let listener = directory::listen(path)?;
    let stream = directory::connect(path)?;
    let complaints = File::create(path.join(SHIM_LOG))?;
    let shim = &shared.config.shim;
    let child = Command::new(&shim.program)
        .arg0("muster")
        .args(&shim.arguments)
        .arg(path)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(complaints))
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", shim.program.display()))
        })?;
    Ok((child, stream))
}

/// What a shim that failed has to say for itself.
pub(super) fn complaint(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path.join(SHIM_LOG)).ok()?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(last.to_owned())
}
