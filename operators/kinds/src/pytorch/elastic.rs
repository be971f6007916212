//! `spec.elasticPolicy`.

use super::{MASTER, SPECS, WORKER};
use crate::findings::Findings;
use crate::node::Node;
use crate::roles::Replicas;
use crate::schema::{
    Object,
    Type::{Any, Flag, Int32, List, Object as Obj, Text},
    instead, used,
};

pub(super) static SCHEMA: Object = Object {
    name: "ElasticPolicy",
    fields: &[
        used("minReplicas", Int32),
        used("maxReplicas", Int32),
        used("maxRestarts", Int32),
        used("nProcPerNode", Int32),
        used("rdzvBackend", Text),
        used("rdzvConf", List(&Obj(&CONF))),
        used("rdzvHost", Text),
        used("rdzvId", Text),
        used("rdzvPort", Int32),
        used("standalone", Flag),
        instead("metrics", List(&Any), "the number of replicas stays as it is"),
    ],
};

static CONF: Object =
    Object { name: "RDZVConf", fields: &[used("key", Text), used("value", Text)] };

/// The elastic policy of a job, with its defaults.
#[derive(Debug)]
pub(super) struct Elastic<'m> {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) max_restarts: Option<i64>,
    /// Deprecated form of `spec.nprocPerNode`.
    pub(super) nproc: Option<i64>,
    pub(super) backend: Option<&'m str>,
    pub(super) conf: Vec<(&'m str, &'m str)>,
    pub(super) host: Option<&'m str>,
    pub(super) id: Option<&'m str>,
    pub(super) port: Option<i64>,
    pub(super) standalone: bool,
}

impl Elastic<'_> {
    /// Whether it says where or how to rendezvous.
    pub(super) fn chooses_rendezvous(&self) -> bool {
        self.backend.is_some_and(|backend| backend != "c10d")
            || self.host.is_some()
            || self.port.is_some()
            || self.standalone
    }
}

/// Reads the policy; `None` when the job has none.
pub(super) fn read<'m>(
    spec: &Node<'m>,
    all: &[Replicas<'_>],
    to: &mut Findings,
) -> Option<Elastic<'m>> {
    let node = spec.field("elasticPolicy");
    node.value()?;
    let worker = all.iter().find(|one| one.role == WORKER);
    if worker.is_none() {
        to.required(
            spec.field(SPECS).field(WORKER).path(),
            "must be configured if elasticPolicy is used",
        );
    }
    let (min, max) = range(&node, worker, to);
    if let Some(worker) = worker {
        warn_of_count(worker, all, (min, max), to);
    }
    let port = node.field("rdzvPort");
    if let Some(value) = port.int().filter(|value| !(1..=65_535).contains(value)) {
        to.invalid(port.path(), value, "a port is between 1 and 65535");
    }
    let restarts = node.field("maxRestarts");
    if let Some(value) = restarts.int().filter(|value| *value < 0) {
        to.invalid(restarts.path(), value, "must not be negative");
    }
    let standalone = node.field("standalone");
    if standalone.flag() {
        to.note(standalone.path(), "every replica trains alone, without the others");
    }
    Some(Elastic {
        min,
        max,
        max_restarts: restarts.int(),
        nproc: node.field("nProcPerNode").int(),
        backend: node.field("rdzvBackend").nonempty(),
        conf: conf(&node.field("rdzvConf"), to),
        host: node.field("rdzvHost").nonempty(),
        id: node.field("rdzvId").nonempty(),
        port: port.int(),
        standalone: standalone.flag(),
    })
}

/// Minimum and maximum: one stands for the other, and the number of Workers for both.
fn range(node: &Node<'_>, worker: Option<&Replicas<'_>>, to: &mut Findings) -> (i64, i64) {
    let (low, high) = (node.field("minReplicas"), node.field("maxReplicas"));
    let workers = worker.map_or(1, |worker| i64::from(worker.count()));
    let min = low.int().or(high.int()).unwrap_or(workers);
    let max = high.int().unwrap_or(min);
    if let Some(value) = low.int().filter(|value| *value < 1) {
        to.invalid(low.path(), value, "must be at least 1");
    }
    if let Some(value) = high.int().filter(|value| *value < min.max(1)) {
        let advice = format!("must be at least minReplicas, {}", min.max(1));
        to.invalid(high.path(), value, advice);
    }
    (min, max)
}

/// torchrun waits for the minimum, and lets nodes beyond the maximum wait.
fn warn_of_count(
    worker: &Replicas<'_>,
    all: &[Replicas<'_>],
    (min, max): (i64, i64),
    to: &mut Findings,
) {
    let total: i64 = all.iter().map(|one| i64::from(one.count())).sum();
    if (min..=max).contains(&total) {
        return;
    }
    let with = match all.iter().any(|one| one.role == MASTER) {
        true => "the Master and the Workers are",
        false => "the Workers are",
    };
    to.note(
        worker.node.field("replicas").path(),
        format!("{with} {total} nodes to torchrun, but elasticPolicy allows {min} to {max}"),
    );
}

fn conf<'m>(list: &Node<'m>, to: &mut Findings) -> Vec<(&'m str, &'m str)> {
    let mut pairs = Vec::new();
    for entry in list.items() {
        let (key, value) = (entry.field("key"), entry.field("value"));
        let Some(name) = key.nonempty() else {
            if key.text().is_some() || !key.is_set() {
                to.required(key.path(), "name the setting");
            }
            continue;
        };
        let text = value.text().unwrap_or_default();
        for (node, part, marks) in [(&key, name, [',', '=']), (&value, text, [',', ','])] {
            if part.contains(marks) {
                to.invalid(
                    node.path(),
                    part,
                    "torchrun splits its settings at ',' and '=', so they cannot be part of one",
                );
            }
        }
        pairs.push((name, text));
    }
    pairs
}
