//! From commits to everyone who waits for them: agent sessions, watchers, the planner.
//!
//! Nobody gets a queue. Each subscriber has a set of what has changed since it last looked, so a slow one costs
//! memory in proportion to what exists and not to what happened, and sees the latest state when it
//! comes round. What subscribers send out they read from the state then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_model::{EventId, JobId, JobKey, NodeId, ObjectKey, ReplicaId, Uid};
use muster_state::Effect;
use tokio::sync::Notify;

/// What has changed for one subscriber since it last looked.
#[derive(Debug, Default)]
pub(crate) struct Inbox<T> {
    changed: Mutex<T>,
    wake: Notify,
}

/// What has changed for an agent's session.
#[derive(Debug, Default)]
pub(crate) struct SessionChanges {
    /// Replicas whose order may have changed.
    pub(crate) replicas: BTreeSet<ReplicaId>,
    /// Jobs that are gone.
    pub(crate) gone: BTreeSet<Uid>,
    /// Logs that somebody wants to read, or no longer does.
    pub(crate) logs: Vec<LogOrder>,
}

/// What an agent shall do about a log.
#[derive(Debug, Clone)]
pub(crate) enum LogOrder {
    /// Send it.
    Open(muster_proto::v1::LogOpen),
    /// Nobody reads it any more.
    Close(u64),
}

/// What has changed for a watcher.
#[derive(Debug, Default)]
pub(crate) struct WatchChanges {
    /// Jobs that were created or have changed.
    pub(crate) jobs: BTreeSet<JobId>,
    /// Jobs that are gone.
    pub(crate) gone: BTreeMap<JobId, (JobKey, Uid)>,
    /// Nodes that have changed.
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Replicas that have changed or are gone. Only for the feed.
    pub(crate) replicas: BTreeSet<ReplicaId>,
    /// Events that have changed or are gone. Only for the feed.
    pub(crate) events: BTreeSet<(JobId, EventId)>,
    /// Objects kept as they were sent that have changed or are gone. Only for the feed.
    pub(crate) objects: BTreeSet<ObjectKey>,
}

#[derive(Debug, Default)]
struct Subscribers {
    sessions: BTreeMap<NodeId, Arc<Inbox<SessionChanges>>>,
    watchers: BTreeMap<u64, Arc<Inbox<WatchChanges>>>,
    /// What the HTTP door keeps of all objects. Nobody's watch, and told more.
    feed: Option<Arc<Inbox<WatchChanges>>>,
    /// How many clients watch at the HTTP door.
    followers: usize,
    next_watcher: u64,
}

/// Tells subscribers what commits have changed.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    plan: Notify,
    submissions: AtomicU64,
}

/// A client that watches at the HTTP door, until it is dropped.
#[derive(Debug)]
pub(crate) struct Follower(Arc<Hub>);

/// A watcher's subscription; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    id: u64,
    hub: Arc<Hub>,
    inbox: Arc<Inbox<WatchChanges>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the data whole, so a panic elsewhere is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Inbox ===

impl<T: Default> Inbox<T> {
    /// Waits until something has changed and takes it.
    pub(crate) async fn take(&self) -> T {
        self.wake.notified().await;
        std::mem::take(&mut *lock(&self.changed))
    }

    /// Waits until something has changed, and leaves it there.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Takes what has changed, if anything has.
    pub(crate) fn take_now(&self) -> T {
        std::mem::take(&mut *lock(&self.changed))
    }

    /// Adds to what has changed.
    pub(crate) fn put(&self, add: impl FnOnce(&mut T)) {
        add(&mut lock(&self.changed));
        self.wake.notify_one();
    }
}

// === impl Hub ===

impl Hub {
    /// Spreads the effects of a commit.
    pub(crate) fn publish(&self, effects: &[Effect]) {
        let subscribers = lock(&self.subscribers);
        let to_session = |node: &NodeId, replica: ReplicaId| {
            if let Some(inbox) = subscribers.sessions.get(node) {
                inbox.put(|changes| {
                    changes.replicas.insert(replica);
                });
            }
        };
        for effect in effects {
            match effect {
                Effect::Order(node, replica) | Effect::Clear(node, replica) => {
                    to_session(node, *replica);
                }
                Effect::JobChanged(job) => subscribers.to_watchers(|changes| {
                    changes.jobs.insert(*job);
                }),
                Effect::JobGone(job, key, uid) => {
                    subscribers.to_watchers(|changes| {
                        changes.jobs.remove(job);
                        changes.gone.insert(*job, (key.clone(), uid.clone()));
                    });
                    for inbox in subscribers.sessions.values() {
                        inbox.put(|changes| {
                            changes.gone.insert(uid.clone());
                        });
                    }
                }
                Effect::NodeChanged(node) => subscribers.to_watchers(|changes| {
                    changes.nodes.insert(*node);
                }),
                Effect::ReplicaChanged(replica) => subscribers.to_feed(|changes| {
                    changes.replicas.insert(*replica);
                }),
                Effect::ObjectChanged(key) => subscribers.to_feed(|changes| {
                    changes.objects.insert(key.clone());
                }),
                Effect::EventChanged(job, event) => subscribers.to_feed(|changes| {
                    changes.events.insert((*job, *event));
                }),
                // The address book follows the state itself.
                Effect::MembersChanged => {}
                Effect::Plan => self.plan.notify_one(),
            }
        }
    }

    /// Something that only this leader knows of a job has changed, such as why it waits.
    pub(crate) fn job_detail_changed(&self, job: JobId) {
        lock(&self.subscribers).to_watchers(|changes| {
            changes.jobs.insert(job);
        });
    }

    /// Waits until planning may find something.
    pub(crate) async fn plan_needed(&self) {
        self.plan.notified().await;
    }

    /// Counts a submission by a client.
    pub(crate) fn submitted(&self) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
    }

    /// How many submissions by clients there were since the start.
    pub(crate) fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    /// Asks for planning.
    pub(crate) fn ask_for_plan(&self) {
        self.plan.notify_one();
    }

    /// Makes the inbox of a node's session, replacing that of an earlier one.
    pub(crate) fn attach_session(&self, node: NodeId) -> Arc<Inbox<SessionChanges>> {
        let inbox = Arc::new(Inbox::default());
        lock(&self.subscribers).sessions.insert(node, Arc::clone(&inbox));
        inbox
    }

    /// Ends a session's inbox, unless a later session has replaced it; answers whether it did.
    pub(crate) fn detach_session(&self, node: NodeId, inbox: &Arc<Inbox<SessionChanges>>) -> bool {
        let mut subscribers = lock(&self.subscribers);
        let current = subscribers.sessions.get(&node);
        let ours = current.is_some_and(|current| Arc::ptr_eq(current, inbox));
        if ours {
            subscribers.sessions.remove(&node);
        }
        ours
    }

    /// The inboxes of sessions, of one node or of all.
    pub(crate) fn sessions(&self, node: Option<NodeId>) -> Vec<Arc<Inbox<SessionChanges>>> {
        let subscribers = lock(&self.subscribers);
        let wanted = subscribers.sessions.iter().filter(|(id, _)| node.is_none_or(|n| n == **id));
        wanted.map(|(_, inbox)| Arc::clone(inbox)).collect()
    }

    /// The nodes whose agents have a session.
    pub(crate) fn connected(&self) -> BTreeSet<NodeId> {
        lock(&self.subscribers).sessions.keys().copied().collect()
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        lock(&self.subscribers).sessions.len()
    }

    /// How many watchers there are.
    pub(crate) fn watcher_count(&self) -> usize {
        let subscribers = lock(&self.subscribers);
        subscribers.watchers.len() + subscribers.followers
    }

    /// A client begins to watch at the HTTP door.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        lock(&self.subscribers).followers += 1;
        Follower(Arc::clone(self))
    }

    /// The inbox of what the HTTP door keeps. Replaces an earlier one.
    pub(crate) fn attach_feed(&self) -> Arc<Inbox<WatchChanges>> {
        let inbox = Arc::new(Inbox::default());
        lock(&self.subscribers).feed = Some(Arc::clone(&inbox));
        inbox
    }

    /// Nobody keeps what the HTTP door shows any more.
    pub(crate) fn detach_feed(&self) {
        lock(&self.subscribers).feed = None;
    }

    /// Starts a watch.
    pub(crate) fn watch(self: &Arc<Self>) -> Watcher {
        let mut subscribers = lock(&self.subscribers);
        let id = subscribers.next_watcher;
        subscribers.next_watcher += 1;
        let inbox = Arc::new(Inbox::default());
        subscribers.watchers.insert(id, Arc::clone(&inbox));
        drop(subscribers);
        Watcher { id, hub: Arc::clone(self), inbox }
    }
}

impl Subscribers {
    fn to_watchers(&self, mut add: impl FnMut(&mut WatchChanges)) {
        for inbox in self.watchers.values().chain(&self.feed) {
            inbox.put(&mut add);
        }
    }

    fn to_feed(&self, add: impl FnOnce(&mut WatchChanges)) {
        if let Some(feed) = &self.feed {
            feed.put(add);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.0.subscribers).followers -= 1;
    }
}

// === impl Watcher ===

impl Watcher {
    /// Waits until something has changed and takes it.
    pub(crate) async fn take(&self) -> WatchChanges {
        self.inbox.take().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        lock(&self.hub.subscribers).watchers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{JobKind, JobName, Namespace, Rank};

    use super::*;

    #[tokio::test]
    async fn a_slow_session_finds_everything_that_changed_once() {
        let hub = Hub::default();
        let inbox = hub.attach_session(NodeId(1));
        let replica = |rank| ReplicaId { job: JobId(1), rank: Rank(rank) };
        for _ in 0..3 {
            hub.publish(&[
                Effect::Order(NodeId(1), replica(0)),
                Effect::Order(NodeId(2), replica(1)),
            ]);
        }
        hub.publish(&[Effect::Clear(NodeId(1), replica(2))]);
        let changes = inbox.take().await;
        assert_eq!(changes.replicas, BTreeSet::from([replica(0), replica(2)]));
        let other = hub.attach_session(NodeId(1));
        hub.detach_session(NodeId(1), &inbox);
        assert_eq!(hub.session_count(), 1, "a replaced session does not detach its successor");
        hub.detach_session(NodeId(1), &other);
        assert_eq!(hub.session_count(), 0);
    }

    #[tokio::test]
    async fn a_watcher_hears_of_jobs_and_their_ends_and_is_gone_when_dropped() {
        let hub = Arc::new(Hub::default());
        let watcher = hub.watch();
        let key = JobKey {
            namespace: Namespace::default_namespace(),
            kind: JobKind("PyTorchJob".into()),
            name: JobName::new("a").unwrap(),
        };
        hub.publish(&[Effect::JobChanged(JobId(1)), Effect::JobChanged(JobId(2))]);
        hub.publish(&[Effect::JobGone(JobId(1), key, Uid("u".into()))]);
        let changes = watcher.take().await;
        assert_eq!(changes.jobs, BTreeSet::from([JobId(2)]));
        assert!(changes.gone.contains_key(&JobId(1)));
        drop(watcher);
        assert_eq!(hub.watcher_count(), 0);
    }
}
