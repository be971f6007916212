//! Follows the replicated state and keeps every object as it is shown.
//!
//! Only the leader has a feed: only it hears of every change. A member that comes to lead builds it from the state, and
//! watches that were open elsewhere find that their versions are too old, list again, and go on.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_model::{EventId, JobId, NodeId, ObjectKey, Rank, ReplicaId};
use muster_state::State;
use tokio::sync::{Notify, watch};

use super::history::{History, Key};
use super::registry::{Source, registry};
use super::render::{self, Shown};
use crate::brain::{Brain, BrainError};
use crate::hub::{Hub, Inbox, WatchChanges};
use crate::planner::Waits;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Feed {
    brain: Brain,
    hub: Arc<Hub>,
    waits: Arc<Waits>,
    cluster: String,
    /// None while this member does not lead.
    history: Mutex<Option<History>>,
    poke: Notify,
    /// What the pods of each job were shown with last. See [`render::pods_basis`].
    bases: Arc<Mutex<BTreeMap<JobId, String>>>,
    /// Counts what has been taken up. Whoever waits looks again.
    moved: watch::Sender<u64>,
}

/// The record that an object shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Job(JobId),
    Pod(ReplicaId),
    Node(NodeId),
    Event((JobId, EventId)),
    Object(ObjectKey),
}

/// Where each record was shown last.
type Memory = BTreeMap<Origin, Key>;

/// What a look at the state has found.
#[derive(Default)]
struct Look {
    applied: u64,
    /// Jobs before their pods.
    shown: Vec<(Origin, Option<Shown>)>,
    namespaces: BTreeSet<String>,
}

/// Forgets what is gone, and says where it was shown.
fn forget(memory: &mut Memory, look: &Look) -> Vec<Key> {
    let mut gone = Vec::new();
    for (origin, _) in look.shown.iter().filter(|(_, shown)| shown.is_none()) {
        gone.extend(memory.remove(origin));
        if let Origin::Job(job) = origin {
            let rank = |rank| Origin::Pod(ReplicaId { job: *job, rank: Rank(rank) });
            let pods = memory.range(rank(0)..=rank(u32::MAX)).map(|(origin, _)| origin.clone());
            let pods: Vec<Origin> = pods.collect();
            gone.extend(pods.iter().filter_map(|origin| memory.remove(origin)));
        }
    }
    gone
}

impl Feed {
    pub(crate) fn new(brain: Brain, (hub, waits): (Arc<Hub>, Arc<Waits>), cluster: String) -> Self {
        let moved = watch::Sender::new(0);
        Self {
            brain,
            hub,
            waits,
            cluster,
            history: Mutex::new(None),
            poke: Notify::new(),
            bases: Arc::default(),
            moved,
        }
    }

    /// Follows the state for ever.
    pub(crate) async fn run(&self) -> Result<Infallible, BrainError> {
        loop {
            self.brain.leads().await?;
            if let Err(error @ BrainError::Stopping) = self.lead().await {
                return Err(error);
            }
            *self.lock() = None;
            self.moved.send_modify(|count| *count += 1);
        }
    }

    async fn lead(&self) -> Result<(), BrainError> {
        let inbox = self.hub.attach_feed();
        let led = self.follow(&inbox).await;
        // Else changes would pile up in it, which are told to everybody.
        self.hub.detach_feed();
        led
    }

    async fn follow(&self, inbox: &Arc<Inbox<WatchChanges>>) -> Result<(), BrainError> {
        let mut memory = Memory::default();
        lock(&self.bases).clear();
        let everything = self.look(None).await?;
        let mut history = History::new(everything.applied);
        self.take_up(&mut history, &mut memory, everything, true);
        *self.lock() = Some(history);
        self.moved.send_modify(|count| *count += 1);
        loop {
            tokio::select! {
                () = inbox.changed() => {}
                () = self.poke.notified() => {}
                _ = self.brain.deposed() => return Ok(()),
            }
            let look = self.look(Some(Arc::clone(inbox))).await?;
            if let Some(history) = self.lock().as_mut() {
                self.take_up(history, &mut memory, look, false);
            }
            self.moved.send_modify(|count| *count += 1);
        }
    }

    /// Reads what has changed, or everything. What has changed is taken on the brain's thread, which also tells of it:
    /// then nothing is missing of what is applied.
    async fn look(&self, inbox: Option<Arc<Inbox<WatchChanges>>>) -> Result<Look, BrainError> {
        let (waits, bases) = (Arc::clone(&self.waits), Arc::clone(&self.bases));
        let read = self.brain.read(move |state| {
            let changes = inbox.map(|inbox| inbox.take_now());
            look(state, &waits, (changes, &mut lock(&bases)))
        });
        read.await
    }

    fn take_up(&self, history: &mut History, memory: &mut Memory, look: Look, first: bool) {
        history.reached(look.applied);
        // First: what is new may have the name of something that is gone.
        forget(memory, &look).iter().for_each(|key| history.remove(key));
        let mut put = |shown: Shown| {
            let Shown { key, object, index, replica } = shown;
            if first {
                history.load(key.clone(), (object, index), replica);
            } else {
                history.put(key.clone(), object, replica);
            }
            key
        };
        if first {
            // Before those of the same name that were made.
            render::runtimes().into_iter().for_each(|shown| {
                put(shown);
            });
        }
        for (origin, shown) in look.shown {
            if let Some(shown) = shown {
                memory.insert(origin, put(shown));
            }
        }
        let resource = registry().of(Source::Namespaces);
        for name in look.namespaces {
            let key = (resource, String::new(), name);
            let object = render::namespace(&key.2, &self.cluster);
            put(Shown { key, object, index: 0, replica: None });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<History>> {
        lock(&self.history)
    }

    /// Looks at the objects; everything that was acknowledged before is in.
    ///
    /// # Errors
    /// When this member does not lead.
    pub(super) async fn read<T>(&self, read: impl FnOnce(&History) -> T) -> Result<T, BrainError> {
        let index = self.brain.read(|state| state.applied().0).await?;
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            if let Some(history) = self.lock().as_ref().filter(|history| history.applied() >= index)
            {
                return Ok(read(history));
            }
            // What was applied may have changed nothing that is shown: then nobody else tells.
            self.poke.notify_one();
            tokio::select! {
                // The sender lives as long as this.
                _ = moved.changed() => {}
                deposed = self.brain.deposed() => return Err(deposed),
            }
        }
    }

    /// Looks at the objects as they are here; none while this member does not lead.
    pub(super) fn peek<T>(&self, read: impl FnOnce(&History) -> T) -> Option<T> {
        self.lock().as_ref().map(read)
    }

    /// Tells whenever something may have changed.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the data whole, so a panic elsewhere is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(
    state: &State,
    waits: &Waits,
    (changes, bases): (Option<WatchChanges>, &mut BTreeMap<JobId, String>),
) -> Look {
    let tables = state.tables();
    let all = changes.is_none();
    let changes = changes.unwrap_or_else(|| WatchChanges {
        jobs: tables.jobs.iter().map(|(id, _)| *id).collect(),
        gone: BTreeMap::new(),
        nodes: tables.nodes.iter().map(|(id, _)| *id).collect(),
        replicas: BTreeSet::new(),
        events: tables.events.iter().map(|(id, _)| *id).collect(),
        objects: tables.objects.iter().map(|(key, _)| key.clone()).collect(),
    });
    let mut look = Look { applied: state.applied().0, ..Look::default() };
    if all {
        look.namespaces.insert("default".into());
    }
    let mut replicas = changes.replicas;
    for id in changes.jobs.into_iter().chain(changes.gone.into_keys()) {
        let shown = render::job(state, id);
        let basis = render::pods_basis(state, waits, id);
        if let Some((job, basis)) = shown.as_ref().zip(basis) {
            look.namespaces.insert(job.key.1.clone());
            if bases.get(&id) != Some(&basis) {
                let ranks = state.job(id).map(|job| job.gang.ranks().collect::<Vec<_>>());
                let ranks = ranks.unwrap_or_default().into_iter();
                replicas.extend(ranks.map(|(rank, ..)| ReplicaId { job: id, rank }));
                bases.insert(id, basis);
            }
        } else {
            bases.remove(&id);
        }
        look.shown.push((Origin::Job(id), shown));
    }
    let pods = replicas.into_iter().map(|id| (Origin::Pod(id), render::pod(state, waits, id)));
    look.shown.extend(pods);
    let nodes = changes.nodes.into_iter().map(|id| (Origin::Node(id), render::node(state, id)));
    look.shown.extend(nodes);
    let events = changes.events.into_iter().map(|id| (Origin::Event(id), render::event(state, id)));
    look.shown.extend(events);
    for key in changes.objects {
        let shown = render::object(state, &key).or_else(|| render::shipped(&key));
        if shown.is_some() && !key.namespace.is_empty() {
            look.namespaces.insert(key.namespace.clone());
        }
        look.shown.push((Origin::Object(key), shown));
    }
    look
}
