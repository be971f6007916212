//! Launch specifications for tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use muster_model::{
    Attempt, ContainerSpec, EnvSource, EnvVar, Fence, Generation, GenerationContext, JobId, JobKey,
    JobKind, JobName, LaunchSpec, Millis, Namespace, Naming, PodSpec, Rank, ReplicaId,
    RestartPolicy, RoleIndex, RoleName, RoleSpec, Uid,
};

/// A job's uid that no other test, of this run or another, has.
pub(crate) fn fresh_uid() -> Uid {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.expect("the clock is past 1970").as_nanos();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Uid(format!("t{nanos:x}-{}-{number}", std::process::id()))
}

/// A container that runs this command.
pub(crate) fn container(name: &str, command: &[&str]) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        image: "test".into(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..ContainerSpec::default()
    }
}

/// A container that runs this shell script, in which `$$` is the shell's own pid (Kubernetes would make one
/// `$` of it).
pub(crate) fn script(name: &str, text: &str) -> ContainerSpec {
    container(name, &["sh", "-c", &text.replace("$$", "$$$$")])
}

/// A variable with this value.
pub(crate) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), source: EnvSource::Value(value.into()) }
}

/// Rank 1 of a job in its first generation, with this main container.
pub(crate) fn replica(job: &Uid, main: ContainerSpec) -> LaunchSpec {
    LaunchSpec {
        id: ReplicaId { job: JobId(1), rank: Rank(1) },
        fence: Fence { attempt: Attempt(1), generation: Generation(1) },
        job_uid: job.clone(),
        job: JobKey {
            namespace: Namespace::default_namespace(),
            kind: JobKind("PyTorchJob".into()),
            name: JobName::new("test").expect("a valid name"),
        },
        name: "test-worker-1".into(),
        short_name: "worker-1".into(),
        role_index: RoleIndex(0),
        index_in_role: 1,
        role: RoleSpec {
            name: RoleName("Worker".into()),
            replicas: 2,
            restart: RestartPolicy::Never,
            pod: PodSpec {
                containers: vec![main],
                termination_grace: Millis(30_000),
                ..PodSpec::default()
            },
            env: Vec::new(),
            main_env: Vec::new(),
            files: Vec::new(),
            processes: 1,
            naming: Naming::default(),
        },
        gang_size: 2,
        replicas_on_node: 1,
        holds_store: false,
        reserves_port: false,
        witnesses: Vec::new(),
        submit_dir: None,
    }
}

/// The same replica at another rank.
pub(crate) fn at_rank(mut spec: LaunchSpec, rank: u32) -> LaunchSpec {
    spec.id.rank = Rank(rank);
    spec.index_in_role = rank;
    spec.name = format!("test-worker-{rank}");
    spec.short_name = format!("worker-{rank}");
    spec
}

/// The same replica in another generation.
pub(crate) fn in_generation(mut spec: LaunchSpec, generation: u32) -> LaunchSpec {
    spec.fence.generation = Generation(generation);
    spec
}

/// What is known when a replica's generation opens.
pub(crate) fn opening(spec: &LaunchSpec) -> GenerationContext {
    GenerationContext {
        generation: spec.fence.generation,
        leader_address: "127.0.0.1".into(),
        store_port: Some(29_500),
        free_port: Some(29_501),
        peers: Vec::new(),
    }
}
