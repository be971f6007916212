//! A draft: the state as it would be after the changes that a decision has made so far.
//!
//! decide() reads the state through a draft and writes into it; what was written leaves it as the
//! list of changes, in an order that apply() relies on: puts table by table, jobs before their replicas,
//! then deletes the other way round.

use std::collections::BTreeMap;

use muster_model::{
    Event, EventId, EventReason, JobId, JobKey, MemberId, NodeId, ObjectKey, Rank, ReplicaId,
    RequestId, Severity, Timestamp, TokenId,
};

use crate::change::{Change, Changes};
use crate::policy::Policy;
use crate::record::{
    Gang, Job, JobStatus, Member, Meta, Node, Object, Replica, RequestRecord, Revocation, Timer,
    TimerKey, TimerKind, Token,
};
use crate::state::State;
use crate::table::Table;

/// Changed records of one table over the table itself.
#[derive(Debug)]
struct Overlay<'a, K, V> {
    base: &'a Table<K, V>,
    changed: BTreeMap<K, Option<V>>,
}

impl<'a, K: Ord + Clone, V: Clone + Eq> Overlay<'a, K, V> {
    fn new(base: &'a Table<K, V>) -> Self {
        Self { base, changed: BTreeMap::new() }
    }

    fn get(&self, key: K) -> Option<&V> {
        match self.changed.get(&key) {
            Some(changed) => changed.as_ref(),
            None => self.base.get(&key),
        }
    }

    fn set(&mut self, key: K, value: Option<V>) {
        self.changed.insert(key, value);
    }

    /// What really differs from the base, by key.
    fn differences(self) -> impl DoubleEndedIterator<Item = (K, Option<Box<V>>)> {
        let base = self.base;
        self.changed
            .into_iter()
            .filter(move |(key, value)| base.get(key) != value.as_ref())
            .map(|(key, value)| (key, value.map(Box::new)))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// The state that the decision started from.
    pub(crate) base: &'a State,
    /// The leader's numbers.
    pub(crate) policy: &'a Policy,
    /// The time of the decision.
    pub(crate) now: Timestamp,
    meta: Meta,
    nodes: Overlay<'a, NodeId, Node>,
    jobs: Overlay<'a, JobId, Job>,
    statuses: Overlay<'a, JobId, JobStatus>,
    gangs: Overlay<'a, JobId, Gang>,
    replicas: Overlay<'a, ReplicaId, Replica>,
    timers: Overlay<'a, TimerKey, Timer>,
    requests: Overlay<'a, RequestId, RequestRecord>,
    events: Overlay<'a, (JobId, EventId), Event>,
    members: Overlay<'a, MemberId, Member>,
    tokens: Overlay<'a, TokenId, Token>,
    objects: Overlay<'a, ObjectKey, Object>,
    revocations: Overlay<'a, String, Revocation>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(base: &'a State, policy: &'a Policy, at: Timestamp) -> Self {
        let tables = base.tables();
        let mut meta = base.meta();
        meta.now = meta.now.max(at);
        Self {
            base,
            policy,
            now: meta.now,
            meta,
            nodes: Overlay::new(&tables.nodes),
            jobs: Overlay::new(&tables.jobs),
            statuses: Overlay::new(&tables.statuses),
            gangs: Overlay::new(&tables.gangs),
            replicas: Overlay::new(&tables.replicas),
            timers: Overlay::new(&tables.timers),
            requests: Overlay::new(&tables.requests),
            events: Overlay::new(&tables.events),
            members: Overlay::new(&tables.members),
            tokens: Overlay::new(&tables.tokens),
            objects: Overlay::new(&tables.objects),
            revocations: Overlay::new(&tables.revocations),
        }
    }

    /// How many records were written.
    pub(crate) fn size(&self) -> usize {
        self.jobs.changed.len() + self.replicas.changed.len() + self.events.changed.len()
    }

    /// The changes in the order in which they apply. The clock alone is no change.
    pub(crate) fn finish(self) -> Changes {
        let mut puts = Vec::new();
        let mut deletes = Vec::new();
        macro_rules! collect {
            ($($table:ident => $variant:ident),*) => {$(
                for (key, value) in self.$table.differences() {
                    let list = if value.is_some() { &mut puts } else { &mut deletes };
                    list.push(Change::$variant(key, value));
                }
            )*};
        }
        collect!(
            nodes => Node, jobs => Job, statuses => Status, gangs => Gang, replicas => Replica,
            timers => Timer, requests => Request, events => Event, members => Member,
            tokens => Token, revocations => Revocation, objects => Object
        );
        deletes.reverse();
        puts.append(&mut deletes);
        if !puts.is_empty() && self.meta != self.base.meta() {
            puts.insert(0, Change::Meta((), Some(Box::new(self.meta))));
        }
        Changes::new(puts)
    }

    pub(crate) fn new_job_id(&mut self) -> JobId {
        let id = self.meta.next_job;
        self.meta.next_job = id.next();
        id
    }

    pub(crate) fn new_node_id(&mut self) -> NodeId {
        let id = self.meta.next_node;
        self.meta.next_node = id.next();
        id
    }

    /// The id of a new member.
    pub(crate) fn new_member_id(&mut self) -> MemberId {
        let id = self.meta.last_member.next();
        self.meta.last_member = id;
        id
    }

    /// An id that a member brings along counts as given.
    pub(crate) fn member_id_is_taken(&mut self, id: MemberId) {
        self.meta.last_member = self.meta.last_member.max(id);
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    pub(crate) fn set_member(&mut self, id: MemberId, member: Option<Member>) {
        self.members.set(id, member);
    }

    pub(crate) fn token(&self, id: &TokenId) -> Option<&Token> {
        self.tokens.get(id.clone())
    }

    pub(crate) fn set_token(&mut self, id: TokenId, token: Option<Token>) {
        self.tokens.set(id, token);
    }

    pub(crate) fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key.clone())
    }

    pub(crate) fn set_object(&mut self, key: ObjectKey, object: Option<Object>) {
        self.objects.set(key, object);
    }

    pub(crate) fn revoke(&mut self, subject: String, revocation: Revocation) {
        self.revocations.set(subject, Some(revocation));
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(crate) fn set_node(&mut self, id: NodeId, node: Option<Node>) {
        self.nodes.set(id, node);
    }

    /// Whether any node is tainted.
    pub(crate) fn any_taint(&self) -> bool {
        let drafted = self.nodes.changed.values().flatten();
        let stored = self.nodes.base.iter().map(|(_, node)| node);
        drafted.chain(stored).any(|node| !node.taints.is_empty())
    }

    /// The id of a job by its key, also of one that this draft creates.
    pub(crate) fn job_id(&self, key: &JobKey) -> Option<JobId> {
        let drafted = self.jobs.changed.values().flatten().find(|job| job.key == *key);
        drafted.map(|job| job.id).or_else(|| self.base.job_id(key))
    }

    /// A job that is known to be there.
    pub(crate) fn the_job(&self, id: JobId) -> &Job {
        self.jobs.get(id).expect("every gang, status and timer belongs to a job that exists")
    }

    pub(crate) fn set_job(&mut self, id: JobId, job: Option<Job>) {
        self.jobs.set(id, job);
    }

    /// The status of a job that is known to be there.
    pub(crate) fn the_status(&self, id: JobId) -> &JobStatus {
        self.statuses.get(id).expect("every job has a status from its creation to its end")
    }

    pub(crate) fn set_status(&mut self, id: JobId, status: Option<JobStatus>) {
        self.statuses.set(id, status);
    }

    /// The gang of a job that is known to be there.
    pub(crate) fn the_gang(&self, id: JobId) -> &Gang {
        self.gangs.get(id).expect("every job has a gang from its creation to its end")
    }

    pub(crate) fn gang(&self, id: JobId) -> Option<&Gang> {
        self.gangs.get(id)
    }

    pub(crate) fn set_gang(&mut self, id: JobId, gang: Option<Gang>) {
        self.gangs.set(id, gang);
    }

    pub(crate) fn replica(&self, id: ReplicaId) -> Option<&Replica> {
        self.replicas.get(id)
    }

    pub(crate) fn set_replica(&mut self, id: ReplicaId, replica: Option<Replica>) {
        self.replicas.set(id, replica);
    }

    /// The ids of all replicas that a job has, in the order of ranks.
    pub(crate) fn replica_ids(&self, job: JobId) -> Vec<ReplicaId> {
        let size = self.the_job(job).gang.size();
        (0..size)
            .map(|rank| ReplicaId { job, rank: Rank(rank) })
            .filter(|id| self.replica(*id).is_some())
            .collect()
    }

    pub(crate) fn set_timer(&mut self, job: JobId, kind: TimerKind, at: Timestamp) {
        self.timers.set(TimerKey { job, kind }, Some(Timer { at }));
    }

    pub(crate) fn cancel_timer(&mut self, job: JobId, kind: TimerKind) {
        self.timers.set(TimerKey { job, kind }, None);
    }

    pub(crate) fn timer(&self, key: TimerKey) -> Option<Timer> {
        self.timers.get(key).copied()
    }

    pub(crate) fn request(&self, id: RequestId) -> Option<&RequestRecord> {
        self.requests.get(id)
    }

    /// Remembers what a request was about and forgets the oldest ones whose time has passed.
    pub(crate) fn remember(&mut self, id: RequestId, jobs: Vec<JobId>) {
        let now = self.now;
        self.requests.set(id, Some(RequestRecord { at: now, jobs }));
        let memory = self.policy.request_memory;
        let old = self.base.indexes().request_times.iter();
        for (_, id) in old.take_while(|(at, _)| now.since(*at) > memory).take(8) {
            self.requests.set(*id, None);
        }
    }

    /// Adds an event to a job, or counts it when it repeats the job's last one.
    pub(crate) fn event(
        &mut self,
        job: JobId,
        (severity, reason): (Severity, EventReason),
        message: String,
    ) {
        let now = self.now;
        if let Some(last) = self.last_event(job)
            && (last.severity, &last.reason, &last.message) == (severity, &reason, &message)
        {
            let repeated = Event { last: now, count: last.count + 1, ..last.clone() };
            self.events.set((job, repeated.id), Some(repeated));
            return;
        }
        let id = self.meta.next_event;
        self.meta.next_event = id.next();
        let event = Event { id, job, severity, reason, message, first: now, last: now, count: 1 };
        self.events.set((job, id), Some(event));
        self.drop_old_events(job);
    }

    fn last_event(&self, job: JobId) -> Option<&Event> {
        let range = (job, EventId(0))..=(job, EventId(u64::MAX));
        let newest_drafted =
            self.events.changed.range(range.clone()).rev().find_map(|(_, event)| event.as_ref());
        newest_drafted.or_else(|| self.events.base.range(range).next_back().map(|(_, event)| event))
    }

    /// Keeps the newest events of a job, also when one decision makes many: a gang of ten thousand ranks that fail at
    /// once.
    fn drop_old_events(&mut self, job: JobId) {
        let range = (job, EventId(0))..=(job, EventId(u64::MAX));
        let is_gone = |key: &(JobId, EventId)| matches!(self.events.changed.get(key), Some(None));
        let stored = self.events.base.range(range.clone()).map(|(key, _)| *key);
        let mut all: Vec<_> = stored.filter(|key| !is_gone(key)).collect();
        let drafted = self.events.changed.range(range).filter(|(_, event)| event.is_some());
        let base = self.events.base;
        all.extend(drafted.map(|(key, _)| *key).filter(|key| base.get(key).is_none()));
        let surplus = all.len().saturating_sub(self.policy.events_per_job);
        for key in all.into_iter().take(surplus) {
            if base.get(&key).is_some() {
                self.events.set(key, None);
            } else {
                self.events.changed.remove(&key);
            }
        }
    }

    /// Deletes a job and everything that belongs to it.
    pub(crate) fn purge(&mut self, job: JobId) {
        for id in self.replica_ids(job) {
            self.set_replica(id, None);
        }
        for kind in [
            TimerKind::Deadline,
            TimerKind::TimeToLive,
            TimerKind::Backoff,
            TimerKind::Drain,
            TimerKind::Evict,
        ] {
            self.cancel_timer(job, kind);
        }
        let range = (job, EventId(0))..=(job, EventId(u64::MAX));
        let stored: Vec<_> = self.events.base.range(range.clone()).map(|(key, _)| *key).collect();
        let drafted: Vec<_> = self.events.changed.range(range).map(|(key, _)| *key).collect();
        for key in stored.into_iter().chain(drafted) {
            self.events.set(key, None);
        }
        self.set_gang(job, None);
        self.set_status(job, None);
        self.set_job(job, None);
    }
}
