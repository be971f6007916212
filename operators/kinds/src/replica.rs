//! Names and labels of replicas, as the v1 training operators give them to their pods
//! (`kubeflow.org/v1` `common_types.go`, `pkg/common/util`).

use std::collections::BTreeMap;

use muster_model::{GangSpec, JobKey, JobName, Rank, RoleName};

use crate::kind;

const PREFIX: &str = "training.kubeflow.org";

/// A replica's name: `<job>-<type>-<index>`, the type in lower case.
#[must_use]
pub fn replica_name(job: &JobName, role: &RoleName, index: u32) -> String {
    format!("{job}-{}-{index}", role.lower()).replace('/', "-")
}

/// The labels that every replica of a role carries.
#[must_use]
pub fn role_labels(job: &JobKey, role: &RoleName) -> BTreeMap<String, String> {
    let operator = kind::facts(&job.kind).map_or("", |facts| facts.operator_name);
    [
        ("job-name", job.name.as_str().to_owned()),
        ("operator-name", operator.to_owned()),
        ("replica-type", role.lower()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{PREFIX}/{key}"), value))
    .collect()
}

/// All labels of one replica: those of its template and, winning over them, those of its role, its
/// index and its part in the job. Empty beyond the last rank.
#[must_use]
pub fn replica_labels(job: &JobKey, gang: &GangSpec, rank: Rank) -> BTreeMap<String, String> {
    let Some((role, index)) = gang.place(rank) else {
        return BTreeMap::new();
    };
    let spec = gang.role(role);
    let mut labels = spec.pod.labels.clone();
    labels.append(&mut role_labels(job, &spec.name));
    labels.insert(format!("{PREFIX}/replica-index"), index.to_string());
    if kind::by_name(&job.kind).is_some_and(|kind| kind.is_master(gang, role, index)) {
        labels.insert(format!("{PREFIX}/job-role"), "master".to_owned());
    }
    labels
}

/// Labels as a selector: `a=1,b=2`.
#[must_use]
pub fn selector(labels: &BTreeMap<String, String>) -> String {
    let terms: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.join(",")
}
