//! What the tasks of the replicas share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use muster_agent_core::Observation;
use muster_model::{Exit, Fence, GenerationContext, Millis, ReplicaId, Uid};
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::warn;

use super::adopt::Error;
use super::config::Config;
use super::devices::Devices;
use super::directory::DataDirectory;
use crate::machine::cgroup::Cgroups;
use crate::runtime::contract::{Events, RuntimeEvent, Seen, Until};
use crate::runtime::images::{Images, Turns};
use crate::runtime::logs::{LogError, LogQuery, LogStream, Watcher};

/// One replica in one generation.
pub(super) type Key = (ReplicaId, Fence);

/// How long a lock may still be held by the children of an agent that was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

const LOCK_AGAIN: Duration = Duration::from_millis(20);

const LOG_CLEANER: TaskKind =
    TaskKind { name: "log-cleaner", on_stop: OnStop::Wait, on_end: OnEnd::Log };

/// What is wanted of a replica; the latest is all that counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    pub(super) start: Option<GenerationContext>,
    /// When it must have ended.
    pub(super) stop: Option<Instant>,
    /// Until when it may run, once that was said.
    pub(super) lease: Option<Option<Until>>,
    pub(super) remove: bool,
}

impl Orders {
    pub(super) fn stop_within(&mut self, grace: Millis) {
        // A hundred years are as good as any longer time, and can be added to now.
        let grace = Duration::from_millis(grace.0.min(100 * 365 * 86_400_000));
        let until = Instant::now() + grace;
        self.stop = Some(self.stop.map_or(until, |earlier| earlier.min(until)));
    }
}

#[derive(Debug)]
pub(super) struct Handle {
    orders: watch::Sender<Orders>,
    pub(super) log: PathBuf,
    pub(super) ended: watch::Receiver<bool>,
}

impl Handle {
    pub(super) fn new(
        orders: watch::Sender<Orders>,
        log: PathBuf,
        ended: watch::Receiver<bool>,
    ) -> Self {
        Self { orders, log, ended }
    }
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) data: DataDirectory,
    pub(super) cgroups: Cgroups,
    pub(super) images: Arc<dyn Images>,
    pub(super) turns: Turns,
    pub(super) tasks: Tasks,
    pub(super) starts: Arc<Semaphore>,
    devices: Mutex<Devices>,
    replicas: Mutex<BTreeMap<Key, Handle>>,
    /// Jobs that were told that limits are not enforced.
    told: Mutex<BTreeSet<Uid>>,
    events: mpsc::Sender<RuntimeEvent>,
    watcher: Watcher,
    _lock: OwnedFd,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("data", &self.data).finish_non_exhaustive()
    }
}

/// How many shims may be on their way at once.
fn starts() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

impl Shared {
    pub(super) async fn open(
        config: Config,
        images: Arc<dyn Images>,
        tasks: Tasks,
    ) -> Result<(Arc<Self>, Events), Error> {
        let data = DataDirectory::open(&config.data)
            .map_err(|source| Error::Directory { path: config.data.clone(), source })?;
        let lock = lock(&data).await?;
        let agent = fingerprint(data.path().as_os_str().as_encoded_bytes());
        let cgroups = Cgroups::open(&config.cgroups, &agent);
        if let Some(why) = cgroups.shortcoming() {
            warn!("{why}");
        }
        let watcher = Watcher::start(&tasks);
        let (events_tx, events) = Events::channel();
        let shared = Self {
            devices: Mutex::new(Devices::new(config.gpus.clone())),
            config,
            data,
            cgroups,
            images,
            turns: Turns::default(),
            tasks,
            starts: Arc::new(Semaphore::new(starts())),
            replicas: Mutex::default(),
            told: Mutex::default(),
            events: events_tx,
            watcher,
            _lock: lock,
        };
        Ok((Arc::new(shared), events))
    }

    /// Changes what is wanted of a replica, if it is known.
    pub(super) fn order(&self, key: Key, change: impl FnOnce(&mut Orders)) {
        if let Some(handle) = self.replicas().get(&key) {
            handle.orders.send_modify(change);
        }
    }

    pub(super) fn replicas(&self) -> MutexGuard<'_, BTreeMap<Key, Handle>> {
        self.replicas.lock().expect("nothing panics while it is held")
    }

    pub(super) fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().expect("nothing panics while it is held")
    }

    pub(super) async fn tell(&self, (id, fence): Key, seen: Seen) {
        // Nobody listens any more: the agent is on its way down, and the next one will ask.
        let _ = self.events.send(RuntimeEvent { id, fence, seen }).await;
    }

    pub(super) async fn observe(&self, key: Key, observation: Observation) {
        self.tell(key, Seen::State(observation)).await;
    }

    /// Tells what goes on, unless there is too much to tell already or the replica has ended meanwhile.
    pub(super) fn mention(&self, (id, fence): Key, text: String) {
        let replicas = self.replicas();
        if replicas.get(&(id, fence)).is_some_and(|handle| !*handle.ended.borrow()) {
            let seen = Seen::Progress { text };
            let _ = self.events.try_send(RuntimeEvent { id, fence, seen });
        }
    }

    /// Tells the end. Nothing is told of the replica after it.
    pub(super) async fn tell_end(&self, key: Key, ended: &watch::Sender<bool>, exit: Exit) {
        {
            let _nobody_mentions = self.replicas();
            ended.send_replace(true);
        }
        self.tell(key, Seen::State(Observation::Exited(exit))).await;
    }

    /// Whether the job is yet to be told that limits are not enforced.
    pub(super) fn is_first_to_tell(&self, job: &Uid) -> bool {
        let mut told = self.told.lock().expect("nothing panics while it is held");
        told.insert(job.clone())
    }

    /// The jobs whose logs are kept. A folder that cannot be read has none.
    pub(super) fn jobs_with_logs(&self) -> Vec<Uid> {
        let entries = fs::read_dir(self.data.logs()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).map(Uid).collect()
    }

    pub(super) fn forget_logs(&self, job: &Uid) {
        self.told.lock().expect("nothing panics while it is held").remove(job);
        if !super::directory::is_plain(&job.0) {
            return;
        }
        let folder = self.data.logs_of(job);
        self.tasks.spawn(LOG_CLEANER, async move {
            let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("cannot delete {}: {error}", folder.display()))
                }
                _ => Ok(()),
            });
            removed.await.unwrap_or_else(|panic| Err(panic.to_string()))
        });
    }

    pub(super) fn logs(&self, query: &LogQuery) -> Result<LogStream, LogError> {
        let plain = super::directory::is_plain;
        if !plain(&query.job.0) || !plain(&query.short_name) {
            return Err(LogError::NotFound { name: query.short_name.clone() });
        }
        let folder = self.data.logs_of(&query.job);
        let live = |path: &std::path::Path| {
            let replicas = self.replicas();
            let handle = replicas.values().find(|handle| handle.log == path);
            handle.map(|handle| handle.ended.clone())
        };
        let newest_known = {
            let replicas = self.replicas();
            let of_this = replicas
                .iter()
                .filter(|((_, fence), handle)| {
                    handle.log == self.data.log(&query.job, &query.short_name, fence.generation)
                })
                .map(|((_, fence), _)| fence.generation);
            of_this.max()
        };
        LogStream::open(query, &folder, newest_known, live, &self.watcher)
    }
}

async fn lock(data: &DataDirectory) -> Result<OwnedFd, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let held = data
            .lock()
            .map_err(|source| Error::Directory { path: data.path().to_owned(), source })?;
        match held {
            Some(lock) => return Ok(lock),
            None if Instant::now() >= deadline => {
                return Err(Error::InUse { path: data.path().to_owned() });
            }
            None => tokio::time::sleep(LOCK_AGAIN).await,
        }
    }
}

/// A short name for a path (FNV-1a), the same at every start.
fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
