//! What a submission is made of, at whichever door it came in.

use muster_kinds::{Admitted, Runtimes};
use muster_model::{JobKey, Uid};
use muster_state::{Apply, CreateJob, Index, UpdateJob};
use serde_json::Value;
use uuid::Uuid;

use crate::brain::{Brain, BrainError};
use crate::objects::known_runtimes;

/// Five random letters and digits, as Kubernetes appends to `generateName`.
pub(crate) fn name_suffix() -> String {
    const ALPHABET: &[u8; 32] = b"bcdfghjklmnpqrstvwxz2456789aeiou";
    let random = Uuid::new_v4();
    random.as_bytes()[..5].iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

/// A uid for something new.
pub(crate) fn new_uid() -> Uid {
    Uid(Uuid::new_v4().to_string())
}

/// The runtimes that manifests may refer to. Only a TrainJob refers to any.
pub(crate) async fn runtimes_for(
    brain: &Brain,
    mut manifests: impl Iterator<Item = &Value>,
) -> Result<Runtimes, BrainError> {
    if manifests.any(|manifest| manifest["kind"] == "TrainJob") {
        brain.read(known_runtimes).await
    } else {
        Ok(Runtimes::shipped())
    }
}

/// Makes a job.
pub(crate) fn create(job: Admitted, uid: Uid, warnings: Vec<String>) -> Apply {
    Apply::Create(Box::new(CreateJob {
        key: job.key,
        uid,
        manifest: job.manifest.to_string(),
        gang: job.gang,
        submit_dir: job.submit_dir,
        external: job.managed_by_other,
        warnings,
    }))
}

/// Changes the job that was there at a version.
pub(crate) fn update(
    key: JobKey,
    based_on: Index,
    (admitted, spec_changed): (Admitted, bool),
) -> Apply {
    Apply::Update(Box::new(UpdateJob {
        key,
        based_on,
        manifest: admitted.manifest.to_string(),
        gang: admitted.gang,
        spec_changed,
    }))
}
