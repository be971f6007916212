//! Labels, which differ between the versions. What does not depend on the replica is put into the templates at
//! admission, so that a replica's labels tell which version its job is of.

use std::collections::BTreeMap;

use super::{LAUNCHER, WORKER};
use crate::kind::{Facts, Job};
use crate::replica::{Replica, set_label};
use crate::roles::Replicas;

const INDEX: &str = "training.kubeflow.org/replica-index";

/// What a Launcher carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launcher {
    pub(super) job_role: &'static str,
    /// Whether it counts as the first Worker.
    pub(super) is_worker: bool,
}

/// Puts the labels of a version into the templates.
pub(super) fn put_into(all: &mut [Replicas<'_>], job: &Job<'_>, facts: &Facts, launcher: Launcher) {
    for one in all {
        let is_launcher = one.role == LAUNCHER;
        let labels = &mut one.pod.labels;
        labels.remove(INDEX);
        set_label(labels, "job-name", job.name);
        set_label(labels, "operator-name", facts.operator_name);
        if is_launcher {
            set_label(labels, "job-role", launcher.job_role);
        }
        if is_launcher && launcher.is_worker {
            set_label(labels, "replica-index", "0");
        }
    }
}

/// The index of a Worker. A Launcher that is the first of them is counted.
pub(super) fn index(replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
    let gang = replica.gang;
    if gang.role(replica.role).name.0 != WORKER {
        return;
    }
    let launcher = gang.roles.iter().find(|role| role.name.0 == LAUNCHER);
    let counted = launcher.is_some_and(|launcher| launcher.pod.labels.contains_key(INDEX));
    let index = replica.index + u32::from(counted);
    set_label(labels, "replica-index", &index.to_string());
}
