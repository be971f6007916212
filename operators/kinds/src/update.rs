//! Updates: what of a job may change after its creation.
//!
//! Labels and annotations may, and of the spec the policies that a running gang can follow: suspend,
//! deadline, time to live, backoff limit, clean-pod policy. Everything else describes the gang that
//! runs, and is immutable. Upstream accepts such changes and mostly ignores them.

#[cfg(test)]
mod tests;

use muster_model::{FieldError, FieldPath, JobKey, JobName, Namespace, Problem};
use serde_json::Value;

use crate::admit::{AdmitContext, Admitted, Rejection, admit};
use crate::kind::{self, Kind};
use crate::pytorch::LAUNCHER;

/// What may change below `spec` of the v1 training kinds. The last three have no effect in Muster.
pub(crate) const TRAINING: [&str; 8] = [
    "spec.runPolicy.activeDeadlineSeconds",
    "spec.runPolicy.backoffLimit",
    "spec.runPolicy.cleanPodPolicy",
    "spec.runPolicy.suspend",
    "spec.runPolicy.ttlSecondsAfterFinished",
    "spec.runPolicy.schedulingPolicy.minAvailable",
    "spec.runPolicy.schedulingPolicy.minResources",
    "spec.runPolicy.schedulingPolicy.scheduleTimeoutSeconds",
];

/// Objects that say the same when they are empty as when they are absent.
const OPTIONAL: [&str; 2] = ["spec.runPolicy", "spec.runPolicy.schedulingPolicy"];

/// An accepted update.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The new manifest is the stored one.
    Unchanged,
    /// The job changes.
    Changed {
        /// The new manifest and what it means.
        admitted: Box<Admitted>,
        /// Whether `spec` differs, and not only metadata.
        spec_changed: bool,
    },
}

/// Compares a new manifest with the stored one. A status in it is ignored.
///
/// # Errors
/// As [`admit`]; and every field that would change and cannot.
pub fn admit_update(
    stored: &Value,
    new: &Value,
    context: &AdmitContext,
) -> Result<Update, Rejection> {
    let admitted = admit(new, context)?;
    if admitted.manifest == *stored {
        return Ok(Update::Unchanged);
    }
    let mutable = kind::of_manifest(&admitted.manifest).map_or(&[][..], Kind::mutable);
    let mut errors = Vec::new();
    for names in [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "namespace"],
        &["metadata", "name"],
        &["metadata", "annotations", LAUNCHER],
        &["spec"],
    ] {
        let path = names.iter().fold(FieldPath::root(), |path, name| path.field(name));
        let (old, new) = (value_at(stored, names), value_at(&admitted.manifest, names));
        compare((old, new), &path, mutable, &mut errors);
    }
    if !errors.is_empty() {
        let key = stored_key(stored, &admitted.key);
        return Err(Rejection::Immutable { key, errors });
    }
    let spec_changed = stored.get("spec") != admitted.manifest.get("spec");
    Ok(Update::Changed { admitted: Box::new(admitted), spec_changed })
}

fn value_at<'v>(manifest: &'v Value, names: &[&str]) -> Option<&'v Value> {
    names.iter().try_fold(manifest, |value, name| value.get(name))
}

/// The key of the stored job, for messages.
fn stored_key(stored: &Value, new: &JobKey) -> JobKey {
    let text = |name: &str| stored["metadata"][name].as_str().unwrap_or_default();
    JobKey {
        kind: new.kind.clone(),
        namespace: Namespace::new(text("namespace")).unwrap_or_else(|_| new.namespace.clone()),
        name: JobName::new(text("name")).unwrap_or_else(|_| new.name.clone()),
    }
}

/// Lists the places where two values differ and may not.
fn compare(
    (old, new): (Option<&Value>, Option<&Value>),
    path: &FieldPath,
    mutable: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let empty = Value::Object(serde_json::Map::new());
    let implied = OPTIONAL.contains(&path.as_str()).then_some(&empty);
    let old = old.filter(|value| !value.is_null()).or(implied);
    let new = new.filter(|value| !value.is_null()).or(implied);
    if old == new || mutable.contains(&path.as_str()) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                compare((old.get(key), new.get(key)), &path.field(key), mutable, errors);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare((Some(old), Some(new)), &path.index(index), mutable, errors);
            }
        }
        _ => errors.push(FieldError::new(path.clone(), Problem::Forbidden, "is immutable")),
    }
}
