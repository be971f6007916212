//! Admission: a manifest is accepted with everything it means, or rejected with everything that is
//! wrong with it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_model::{FieldError, FieldPath, GangSpec, JobKey, Namespace, Problem, Reason};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::findings::{Findings, Warning};
use crate::kind::{self, Hint, Job, Kind, UnknownKind};
use crate::metadata::{self, Metadata};
use crate::node::Node;
use crate::schema;
use crate::trainjob::Runtimes;

/// The annotation with the directory that a manifest was submitted from. Relative paths of its
/// containers start there, as with Slurm's submission directory.
pub const SUBMIT_DIR: &str = "muster.dev/submit-dir";

/// What admission needs to know besides the manifest.
#[derive(Debug, Clone)]
pub struct AdmitContext {
    /// The namespace of a job whose manifest names none.
    pub namespace: Namespace,
    /// What is appended to `generateName`: five random lower-case letters or digits.
    pub name_suffix: String,
    /// What a TrainJob may refer to.
    pub runtimes: Runtimes,
}

/// An accepted manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The job's kind, namespace and name.
    pub key: JobKey,
    /// The manifest as it is stored: with name and namespace, without status and without what only
    /// a server writes. Defaults are not filled in.
    pub manifest: Value,
    /// What it means.
    pub gang: GangSpec,
    /// What its author should know.
    pub warnings: Vec<Warning>,
    /// The job's labels.
    pub labels: BTreeMap<String, String>,
    /// The job's annotations.
    pub annotations: BTreeMap<String, String>,
    /// See [`SUBMIT_DIR`].
    pub submit_dir: Option<String>,
    /// Whether another controller manages the job: it is stored and never acted on.
    pub managed_by_other: bool,
}

/// Why a manifest was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It is of no known kind.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// Its fields are wrong.
    #[error("{object} is invalid:{}", list(errors))]
    Invalid {
        /// What it is about, as `Kind name`.
        object: String,
        /// All problems.
        errors: Vec<FieldError>,
    },
    /// It would change what cannot change.
    #[error(
        "{key} cannot be changed in these fields after its creation; delete it and create it anew:{}",
        list(errors)
    )]
    Immutable {
        /// The job.
        key: JobKey,
        /// The fields.
        errors: Vec<FieldError>,
    },
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Kind(unknown) => {
                let field = match unknown.hint {
                    Hint::ApiVersion(_) => "apiVersion",
                    Hint::None | Hint::Kind(_) => "kind",
                };
                let path = FieldPath::root().field(field);
                let value = match unknown.hint {
                    Hint::ApiVersion(_) => &unknown.api_version,
                    Hint::None | Hint::Kind(_) => &unknown.kind,
                };
                let value = format!("{value:?}");
                let problem = Problem::Invalid { value };
                Self::Invalid {
                    object: "the manifest".to_owned(),
                    errors: vec![FieldError::new(path, problem, unknown.to_string())],
                }
            }
            Rejection::Invalid { object, errors } => Self::Invalid { object, errors },
            Rejection::Immutable { key, errors } => Self::Immutable { job: key, errors },
        }
    }
}

/// Reads and checks a manifest.
///
/// # Errors
/// An unknown kind, or every problem of its fields at once.
pub fn admit(manifest: &Value, context: &AdmitContext) -> Result<Admitted, Rejection> {
    let mut to = Findings::default();
    if !manifest.is_object() {
        to.wrong_type(&FieldPath::root(), "an object", manifest);
        let errors = to.finish().err().unwrap_or_default();
        let object = "the manifest".to_owned();
        return Err(Rejection::Invalid { object, errors });
    }
    let kind = kind::of_manifest(manifest)?;
    let root = Node::root(manifest);
    check_top(&root, &mut to);
    let metadata = metadata::read(&root.field("metadata"), context, &mut to);
    let spec = root.field("spec");
    match spec.value() {
        Some(value) => schema::check(value, kind.spec(), spec.path(), &mut to),
        None => to.required(spec.path(), "describe the job"),
    }
    let policies = kind.policies(&spec, &mut to);
    let job = Job {
        name: metadata.name.as_ref().map_or("", |name| name.as_str()),
        namespace: metadata.namespace.as_ref().map_or("", |namespace| namespace.as_str()),
        metadata: root.field("metadata"),
        spec,
        policies: &policies,
        runtimes: &context.runtimes,
    };
    let gang = kind.expand(&job, &mut to);
    if let Some(gang) = &gang {
        check_replica_names(gang, &metadata, &mut to);
    }
    let accepted = to.finish().and_then(|warnings| {
        // Without errors there are a name, a namespace and a gang.
        let complete = (metadata.name, metadata.namespace, gang);
        match complete {
            (Some(name), Some(namespace), Some(gang)) => Ok((warnings, name, namespace, gang)),
            _ => Err(Vec::new()),
        }
    });
    let (warnings, name, namespace, gang) = accepted.map_err(|errors| Rejection::Invalid {
        object: format!("{} {}", kind.facts().kind, metadata.shown_name),
        errors,
    })?;
    Ok(Admitted {
        key: JobKey { namespace, kind: kind.facts().job_kind(), name },
        manifest: stored(manifest, kind, metadata.stored),
        gang,
        warnings,
        submit_dir: metadata.annotations.get(SUBMIT_DIR).cloned(),
        labels: metadata.labels,
        annotations: metadata.annotations,
        managed_by_other: policies.managed_by_other,
    })
}

fn check_top(root: &Node<'_>, to: &mut Findings) {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for (key, node) in root.entries() {
        if !KNOWN.contains(&key) {
            to.unknown_field(node.path(), key, KNOWN);
        }
    }
}

/// Replica names are host names, so the longest must be a DNS label, too. Upstream accepts the job
/// and fails later, when it creates the Service of that name.
fn check_replica_names(gang: &GangSpec, metadata: &Metadata, to: &mut Findings) {
    const LONGEST: usize = 63;
    let Some(name) = &metadata.name else { return };
    let longest = gang
        .roles
        .iter()
        .map(|role| role.replica_name(name, role.replicas.saturating_sub(1)))
        .max_by_key(String::len);
    let Some(longest) = longest.filter(|longest| longest.len() > LONGEST) else {
        return;
    };
    to.invalid(
        &FieldPath::root().field("metadata").field("name"),
        name.as_str(),
        format!(
            "its replica {longest} has {} characters and may have {LONGEST}; shorten the name by {}",
            longest.len(),
            longest.len() - LONGEST
        ),
    );
}

/// The manifest in the order of its author, with clean metadata and no status.
fn stored(manifest: &Value, kind: &dyn Kind, metadata: Map<String, Value>) -> Value {
    let mut stored = Map::new();
    let facts = kind.facts();
    stored.insert("apiVersion".into(), facts.api_version.into());
    stored.insert("kind".into(), facts.kind.into());
    stored.insert("metadata".into(), Value::Object(metadata));
    for (key, value) in manifest.as_object().into_iter().flatten() {
        if key != "status" {
            stored.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(stored)
}
