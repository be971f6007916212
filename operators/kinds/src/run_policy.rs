//! `spec.runPolicy`, which all training kinds share.

use muster_model::{CleanPodPolicy, Millis, RunPolicy, SchedulingPolicy};

use crate::findings::Findings;
use crate::node::Node;

/// Kueue's MultiKueue, which runs the job in another cluster.
pub(crate) const MULTI_KUEUE: &str = "kueue.x-k8s.io/multikueue";

/// Who may manage a job of the v1 training operators.
pub(crate) const TRAINING_MANAGERS: [&str; 2] = ["kubeflow.org/training-operator", MULTI_KUEUE];

/// Where the policies of a kind stand.
#[derive(Debug)]
pub(crate) struct Places<'n, 'm> {
    /// The object that has them.
    pub(crate) policy: &'n Node<'m>,
    /// An object that has some of them in older manifests. Those of `policy` win.
    pub(crate) older: Option<&'n Node<'m>>,
    /// Who may manage the job.
    pub(crate) managers: &'static [&'static str],
}

impl<'m> Places<'_, 'm> {
    fn field(&self, name: &str) -> Node<'m> {
        let field = self.policy.field(name);
        let older = self.older.map(|older| older.field(name)).filter(Node::is_set);
        match (field.is_set(), older) {
            (false, Some(older)) => older,
            _ => field,
        }
    }
}

/// A read run policy.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) run: RunPolicy,
    pub(crate) scheduling: SchedulingPolicy,
    /// Whether `managedBy` names another controller: then the job is stored and never acted on.
    pub(crate) managed_by_other: bool,
}

/// Those of a kind of the v1 training operators whose older manifests have some of them in `spec` itself.
pub(crate) fn read_with_older(spec: &Node<'_>, to: &mut Findings) -> Policies {
    let policy = &spec.field("runPolicy");
    read(&Places { policy, older: Some(spec), managers: &TRAINING_MANAGERS }, to)
}

/// Reads the policies.
pub(crate) fn read(node: &Places<'_, '_>, to: &mut Findings) -> Policies {
    let managed_by = node.field("managedBy");
    if let Some(manager) = managed_by.text().filter(|name| !node.managers.contains(name)) {
        to.not_supported(managed_by.path(), manager, node.managers);
    }
    let mut seconds = |name: &str| {
        let field = node.field(name);
        not_negative(&field, to).map(Millis::from_secs)
    };
    let active_deadline = seconds("activeDeadlineSeconds");
    let ttl_after_finished = seconds("ttlSecondsAfterFinished");
    let scheduling = node.field("schedulingPolicy");
    let word = |name: &str| scheduling.field(name).nonempty().map(str::to_owned);
    Policies {
        run: RunPolicy {
            backoff_limit: not_negative(&node.field("backoffLimit"), to)
                .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            active_deadline,
            ttl_after_finished,
            clean_pod_policy: clean_pod_policy(&node.field("cleanPodPolicy"), to),
            suspend: node.field("suspend").flag(),
        },
        scheduling: SchedulingPolicy {
            queue: word("queue"),
            priority_class: word("priorityClass"),
        },
        managed_by_other: managed_by.text() == Some(MULTI_KUEUE),
    }
}

fn not_negative(field: &Node<'_>, to: &mut Findings) -> Option<u64> {
    let value = field.int()?;
    let unsigned = u64::try_from(value).ok();
    if unsigned.is_none() {
        to.invalid(field.path(), value, "must not be negative");
    }
    unsigned
}

fn clean_pod_policy(field: &Node<'_>, to: &mut Findings) -> CleanPodPolicy {
    match field.text() {
        None | Some("None") => CleanPodPolicy::None,
        Some("Running") => CleanPodPolicy::Running,
        Some("All") => CleanPodPolicy::All,
        Some(other) => {
            to.not_supported(field.path(), other, &["None", "Running", "All"]);
            CleanPodPolicy::None
        }
    }
}
