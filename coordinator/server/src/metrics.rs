//! The coordinator's metrics, in Prometheus conventions: base units in the names, finite labels only.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A job's phase as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PhaseLabel {
    pub(crate) phase: &'static str,
}

/// Everything that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    /// From the first command of an entry being decided to the entry being committed.
    pub(crate) commit_seconds: Histogram,
    /// One write and fsync of the log.
    pub(crate) fsync_seconds: Histogram,
    /// Commands that went into one entry.
    pub(crate) batch_commands: Histogram,
    /// Entries that were committed.
    pub(crate) entries: Counter,
    /// Commands that were refused.
    pub(crate) refused: Counter,
    /// How often the leader changed as far as this member saw.
    pub(crate) leader_changes: Counter,
    /// Whether this member leads.
    pub(crate) is_leader: Gauge,
    /// The index applied last.
    pub(crate) applied_index: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Commands that wait to be decided.
    pub(crate) queue_depth: Gauge,
    /// Agents with a session.
    pub(crate) sessions: Gauge,
    /// Watches.
    pub(crate) watchers: Gauge,
    /// Logs being read.
    pub(crate) log_readers: Gauge,
    /// Jobs by phase.
    pub(crate) jobs: Family<PhaseLabel, Gauge>,
    /// Gangs that wait for a place.
    pub(crate) waiting_gangs: Gauge,
    /// Restarts of gangs, as far as this leader decided them.
    pub(crate) snapshots: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("muster");
        let latency = || Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
        let metrics = Self {
            registry: Arc::new(Registry::default()),
            commit_seconds: latency(),
            fsync_seconds: latency(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            entries: Counter::default(),
            refused: Counter::default(),
            leader_changes: Counter::default(),
            is_leader: Gauge::default(),
            applied_index: Gauge::default(),
            queue_depth: Gauge::default(),
            sessions: Gauge::default(),
            watchers: Gauge::default(),
            log_readers: Gauge::default(),
            jobs: Family::default(),
            waiting_gangs: Gauge::default(),
            snapshots: Counter::default(),
        };
        let m = &metrics;
        let seconds = Unit::Seconds;
        registry.register_with_unit(
            "commit_latency",
            "Time from deciding an entry to its commit",
            seconds.clone(),
            m.commit_seconds.clone(),
        );
        registry.register_with_unit(
            "log_fsync_latency",
            "Time of one write and fsync of the log",
            seconds,
            m.fsync_seconds.clone(),
        );
        registry.register("entry_commands", "Commands in one entry", m.batch_commands.clone());
        registry.register("entries_committed", "Entries committed", m.entries.clone());
        registry.register("commands_refused", "Commands refused", m.refused.clone());
        registry.register("leader_changes", "Leader changes seen", m.leader_changes.clone());
        registry.register("is_leader", "Whether this member leads", m.is_leader.clone());
        registry.register("applied_index", "Index applied last", m.applied_index.clone());
        registry.register("queue_depth", "Commands that wait", m.queue_depth.clone());
        registry.register("agent_sessions", "Agents with a session", m.sessions.clone());
        registry.register("watchers", "Watches", m.watchers.clone());
        registry.register("log_readers", "Logs being read", m.log_readers.clone());
        registry.register("jobs", "Jobs by phase", m.jobs.clone());
        registry.register("waiting_gangs", "Gangs that wait for a place", m.waiting_gangs.clone());
        registry.register("snapshots_written", "Snapshots written", m.snapshots.clone());
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// The text that Prometheus reads.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
