//! A node in a temporary directory: its runtime, and what it told so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_agent::runtime::{
    Adopted, Entry, Events, LogQuery, LogStream, Observation, ProcessRuntime, Runtime, Seen,
};
use muster_model::{Exit, ExitStatus, Fence, LaunchSpec, Millis, ReplicaId, Uid};
use muster_service::Supervisor;
use tempfile::TempDir;

use crate::remote::Options;
use crate::replica::opening;
use crate::traces::{self, PATIENCE};

pub(crate) type Key = (ReplicaId, Fence);

pub(crate) fn key(spec: &LaunchSpec) -> Key {
    (spec.id, spec.fence)
}

/// A data directory, and what runtimes are opened with on it.
pub(crate) struct Lab {
    pub(crate) options: Options,
    pub(crate) job: Uid,
    _folder: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        Self {
            options: Options {
                data: folder.path().join("data"),
                environments: None,
                shim: env!("CARGO_BIN_EXE_muster-agent-testbed").into(),
                gpus: Vec::new(),
                log_limit: 64 << 20,
                cgroups: true,
                stop_patience: 60_000,
            },
            job: crate::replica::fresh_uid(),
            _folder: folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self._folder.path().join(name)
    }

    pub(crate) async fn open(&self) -> Node {
        self.try_open().await.expect("the data directory is usable")
    }

    pub(crate) async fn try_open(&self) -> Result<Node, String> {
        let supervisor = Supervisor::new();
        let tasks = supervisor.tasks().clone();
        let opened = ProcessRuntime::open(self.options.config(), self.options.images(), tasks)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Node {
            runtime: Box::new(opened.runtime),
            adopted: opened.adopted,
            events: opened.events,
            told: BTreeMap::new(),
            job: self.job.clone(),
            data: self.options.data.clone(),
            supervisor,
        })
    }
}

/// An opened runtime, known by its trait only.
pub(crate) struct Node {
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) adopted: Vec<Adopted>,
    events: Events,
    told: BTreeMap<Key, Vec<Seen>>,
    job: Uid,
    data: PathBuf,
    supervisor: Supervisor,
}

impl Node {
    /// Closes the runtime, as an agent that ends; replicas go on.
    pub(crate) async fn close(self) {
        drop(self.runtime);
        assert!(self.supervisor.stop(Duration::from_secs(5)).await);
    }

    /// Closes the runtime and checks that nothing of the job is left. To be called at the end of each test.
    pub(crate) async fn finish(self, lab: &Lab) {
        let told: Vec<Key> = self.told.keys().copied().collect();
        for (id, fence) in told {
            self.runtime.remove(id, fence);
        }
        let replicas = lab.options.data.join("replicas");
        until("the replicas' directories to go", || {
            std::fs::read_dir(&replicas).is_ok_and(|mut entries| entries.next().is_none())
        })
        .await;
        self.close().await;
        until("the shims to go", || traces::shims(&lab.options.data).is_empty()).await;
        assert_eq!(traces::processes(&lab.job), Vec::<i32>::new());
        assert_eq!(traces::groups(&lab.job), Vec::<PathBuf>::new());
        assert_eq!(traces::mounts(&lab.options.data), Vec::<String>::new());
    }

    async fn take(&mut self, what: &str) {
        let event = tokio::time::timeout(PATIENCE, self.events.next())
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}; told so far: {:#?}", self.told))
            .expect("the runtime is alive");
        let told = self.told.entry((event.id, event.fence)).or_default();
        let ended = told.iter().any(|seen| matches!(seen, Seen::State(Observation::Exited(_))));
        assert!(!ended, "{:?} came after the end: {told:?}", event.seen);
        if let Seen::State(_) = &event.seen {
            assert!(!told.contains(&event.seen), "{:?} came twice", event.seen);
        }
        told.push(event.seen);
    }

    /// Everything that was told of a replica so far.
    pub(crate) fn told(&self, key: Key) -> &[Seen] {
        self.told.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Waits until something was told of a replica.
    pub(crate) async fn until<T>(
        &mut self,
        key: Key,
        what: &str,
        find: impl Fn(&Seen) -> Option<T>,
    ) -> T {
        loop {
            if let Some(found) = self.told(key).iter().find_map(&find) {
                return found;
            }
            self.take(what).await;
        }
    }

    pub(crate) async fn ready(&mut self, spec: &LaunchSpec) -> (Option<u16>, Option<u16>) {
        self.until(key(spec), "ready", |seen| match seen {
            Seen::State(Observation::Ready { store_port, free_port }) => {
                Some((*store_port, *free_port))
            }
            Seen::State(Observation::Exited(exit)) => panic!("it ended instead: {exit:?}"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn running(&mut self, spec: &LaunchSpec) {
        self.until(key(spec), "running", |seen| match seen {
            Seen::State(Observation::Running) => Some(()),
            Seen::State(Observation::Exited(exit)) => panic!("it ended instead: {exit:?}"),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn exit(&mut self, spec: &LaunchSpec) -> Exit {
        self.until(key(spec), "its end", |seen| match seen {
            Seen::State(Observation::Exited(exit)) => Some(exit.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn notice(&mut self, spec: &LaunchSpec) -> String {
        self.until(key(spec), "a notice", |seen| match seen {
            Seen::Notice { text } => Some(text.clone()),
            _ => None,
        })
        .await
    }

    /// Prepares and starts a replica, and waits until its processes run.
    pub(crate) async fn start(&mut self, spec: &LaunchSpec) {
        self.runtime.prepare(spec.clone());
        self.ready(spec).await;
        self.runtime.start(spec.id, spec.fence, opening(spec));
        self.running(spec).await;
    }

    /// Prepares and starts a replica, and waits for its end.
    pub(crate) async fn run(&mut self, spec: &LaunchSpec) -> ExitStatus {
        self.runtime.prepare(spec.clone());
        self.runtime.start(spec.id, spec.fence, opening(spec));
        self.exit(spec).await.status
    }

    /// Runs a replica that cannot be started, and answers why.
    pub(crate) async fn fail(&mut self, spec: &LaunchSpec) -> (String, bool) {
        match self.run(spec).await {
            ExitStatus::StartFailed { why, permanent } => (why, permanent),
            other => panic!("it was started: {other:?}"),
        }
    }

    pub(crate) fn stop(&self, spec: &LaunchSpec, grace: u64) {
        self.runtime.stop(spec.id, spec.fence, Millis(grace));
    }

    pub(crate) fn remove(&self, spec: &LaunchSpec) {
        self.runtime.remove(spec.id, spec.fence);
    }

    pub(crate) fn log(&self, query: &LogQuery) -> LogStream {
        self.runtime.logs(query).expect("there is such a log")
    }

    /// Everything that a replica has written so far.
    pub(crate) async fn entries(&self, spec: &LaunchSpec) -> Vec<Entry> {
        let query = LogQuery {
            generation: Some(spec.fence.generation),
            ..LogQuery::whole(self.job.clone(), spec.short_name.clone())
        };
        read(&mut self.log(&query)).await
    }

    /// The same as text, both streams together.
    pub(crate) async fn output(&self, spec: &LaunchSpec) -> String {
        text(&self.entries(spec).await)
    }

    /// A replica's directory.
    pub(crate) fn directory(&self, spec: &LaunchSpec) -> PathBuf {
        let name = format!("{}-{}-{}", spec.job_uid, spec.id.rank, spec.fence);
        self.data.join("replicas").join(name)
    }

    /// The pid of a replica's shim.
    pub(crate) fn shim(&self, spec: &LaunchSpec) -> i32 {
        let file = self.directory(spec).join("shim.json");
        let text = std::fs::read_to_string(file).expect("it has a shim");
        let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let pid = json["pid"].as_i64().expect("it names its pid");
        i32::try_from(pid).expect("pids are small")
    }
}

/// Waits until a condition holds, without holding a thread up.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Everything from a log, to its end.
pub(crate) async fn read(stream: &mut LogStream) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let chunk = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .expect("a log ends when its replica has");
        match chunk.expect("the log can be read") {
            Some(chunk) => entries.extend(chunk.entries),
            None => return entries,
        }
    }
}

/// Entries as the program wrote them.
pub(crate) fn text(entries: &[Entry]) -> String {
    let mut text = Vec::new();
    for entry in entries {
        text.extend_from_slice(&entry.text);
        if entry.whole {
            text.push(b'\n');
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The pid that a process wrote into a file.
pub(crate) async fn pid_in(file: &Path) -> i32 {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    until("a pid", || read().ends_with('\n')).await;
    read().trim().parse().expect("it is a pid")
}

/// Whether there is a process with this pid that is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("pids are positive");
    let _ = rustix::process::kill_process(pid, signal);
}
