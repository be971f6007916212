//! The values of `fieldRef`: what a container may ask about the replica that it belongs to.

use muster_model::LaunchSpec;

use super::environment::NodeFacts;

/// The value of a field path, `None` for a path that is not known. A label or annotation that is not
/// set has the empty value, as in Kubernetes.
///
/// Beside the labels of the template, the three that the training operators put on every pod are
/// answered: `training.kubeflow.org/job-name`, `replica-type` and `replica-index`
/// (`kubeflow/trainer` v1, `pkg/apis/kubeflow.org/v1/common_types.go`).
#[must_use]
pub fn field_value(path: &str, spec: &LaunchSpec, node: &NodeFacts) -> Option<String> {
    Some(match path {
        "metadata.name" => spec.name.clone(),
        "metadata.namespace" => spec.job.namespace.to_string(),
        "metadata.uid" => format!("{}-{}", spec.job_uid, spec.id.rank),
        "spec.nodeName" => node.name.clone(),
        "spec.serviceAccountName" => "default".into(),
        "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => {
            node.address.clone()
        }
        other => {
            let pod = &spec.role.pod;
            if let Some(key) = subscript(other, "metadata.labels") {
                let own = pod.labels.get(key).cloned();
                own.or_else(|| operator_label(key, spec)).unwrap_or_default()
            } else {
                let key = subscript(other, "metadata.annotations")?;
                pod.annotations.get(key).cloned().unwrap_or_default()
            }
        }
    })
}

/// The key in `field['key']`.
fn subscript<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']")
}

fn operator_label(key: &str, spec: &LaunchSpec) -> Option<String> {
    Some(match key.strip_prefix("training.kubeflow.org/")? {
        "job-name" => spec.job.name.to_string(),
        "replica-type" => spec.role.name.lower(),
        "replica-index" => spec.index_in_role.to_string(),
        _ => return None,
    })
}
