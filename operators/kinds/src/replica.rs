//! Labels of replicas, as the v1 training operators give them to their pods
//! (`kubeflow.org/v1` `common_types.go`, `pkg/common/util`).

use std::collections::BTreeMap;

use muster_model::{GangSpec, JobKey, Rank, RoleIndex, RoleName};

use crate::kind::{self, Facts};

const PREFIX: &str = "training.kubeflow.org";

/// One replica of a gang.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica<'g> {
    pub(crate) gang: &'g GangSpec,
    pub(crate) role: RoleIndex,
    pub(crate) index: u32,
}

/// All labels of one replica: those of its template and, winning over them, those of its kind. Empty
/// beyond the last rank.
#[must_use]
pub fn replica_labels(job: &JobKey, gang: &GangSpec, rank: Rank) -> BTreeMap<String, String> {
    let Some((role, index)) = gang.place(rank) else {
        return BTreeMap::new();
    };
    let mut labels = gang.role(role).pod.labels.clone();
    if let Some(kind) = kind::by_name(&job.kind) {
        kind.label(job, Replica { gang, role, index }, &mut labels);
    }
    labels
}

/// The labels that every replica of a role carries.
pub(crate) fn role_labels(
    facts: &Facts,
    job: &JobKey,
    role: &RoleName,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    set_label(&mut labels, "job-name", job.name.as_str());
    set_label(&mut labels, "operator-name", facts.operator_name);
    set_label(&mut labels, "replica-type", &role.lower());
    labels
}

/// The labels of a replica of a v1 training kind, except its part in the job.
pub(crate) fn training_labels(
    facts: &Facts,
    job: &JobKey,
    replica: Replica<'_>,
    labels: &mut BTreeMap<String, String>,
) {
    let role = &replica.gang.role(replica.role).name;
    labels.append(&mut role_labels(facts, job, role));
    set_label(labels, "replica-index", &replica.index.to_string());
}

/// Sets a label of the training operators.
pub(crate) fn set_label(labels: &mut BTreeMap<String, String>, name: &str, value: &str) {
    labels.insert(format!("{PREFIX}/{name}"), value.to_owned());
}

/// Labels as a selector: `a=1,b=2`.
#[must_use]
pub fn selector(labels: &BTreeMap<String, String>) -> String {
    let terms: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.join(",")
}
