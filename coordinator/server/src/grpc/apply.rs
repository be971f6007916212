//! Apply: manifests become jobs, all of them or none.
//!
//! The manifests are parsed, checked and compared with what exists on a snapshot; what comes out is
//! one command, so that the brain accepts or refuses it as a whole. A change that somebody else makes between
//! the snapshot and the decision is noticed by the version that each update names, and the comparison is
//! made again.

use std::collections::{BTreeMap, BTreeSet};

use muster_kinds::{
    AdmitContext, Admitted, Document, Rejection, SUBMIT_DIR, Update, admit, admit_update,
    parse_documents,
};
use muster_model::{
    AccessRole, FieldError, JobId, JobKey, Namespace, Problem, Reason, RequestId, Uid,
};
use muster_proto::v1 as wire;
use muster_proto::v1::applied::Outcome;
use muster_state::{Accepted, Apply, Body, Index, State};
use serde_json::Value;
use tonic::{Code, Status};

use super::status::{status_of, with_code};
use crate::access::Caller;
use crate::brain::{Brain, BrainError};
use crate::objects::job_ref;
use crate::submission::{self, name_suffix, new_uid, runtimes_for};

/// How often an apply that was overtaken is tried again.
const ATTEMPTS: usize = 5;

/// A job as it exists.
#[derive(Debug, Clone)]
struct Existing {
    manifest: Value,
    version: Index,
    uid: Uid,
    deleting: bool,
}

/// One document and what is to be done about it.
struct Planned {
    key: JobKey,
    uid: Uid,
    outcome: Outcome,
    warnings: Vec<String>,
    apply: Option<Apply>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// What this member has applied, which may be old.
    Applied,
    /// What was committed last, by the word of a majority.
    Latest,
}

/// Applies a request's manifests.
pub(super) async fn apply(
    brain: &Brain,
    caller: &Caller,
    request: wire::ApplyRequest,
) -> Result<wire::ApplyReply, Status> {
    let id = request_id(&request.request_id)?;
    if let Some(done) = answered_before(brain, id).await? {
        return Ok(done);
    }
    let documents = parse_documents(&request.manifest).map_err(|error| {
        with_code(Code::InvalidArgument, "M1003", format!("the manifest cannot be read: {error}"))
    })?;
    if documents.is_empty() {
        let message = "the manifest is empty: it has no document with a kind";
        return Err(with_code(Code::InvalidArgument, "M1003", message));
    }
    let runtimes = runtimes_for(brain, documents.iter().map(|document| &document.value)).await;
    let context = AdmitContext {
        namespace: namespace(&request.namespace)?,
        name_suffix: name_suffix(),
        runtimes: runtimes.map_err(|error| status_of(&error))?,
    };
    // Before anything is looked up: a refusal shall not tell what there is.
    for document in &documents {
        let named = document.value.pointer("/metadata/namespace").and_then(Value::as_str);
        let named = named.and_then(|named| Namespace::new(named.to_owned()).ok());
        let namespace = named.as_ref().unwrap_or(&context.namespace);
        caller.require(AccessRole::Editor, Some(namespace), "submit jobs")?;
    }
    for attempt in 0..ATTEMPTS {
        // What comes to be decided is checked again by the brain, so that a first look need not ask a majority.
        let with = (&request, &context);
        let sight = if attempt == 0 { Sight::Applied } else { Sight::Latest };
        let mut made = plan(brain, &documents, with, sight).await?;
        let changes = |plan: &Vec<Planned>| plan.iter().any(|planned| planned.apply.is_some());
        if sight == Sight::Applied && (request.dry_run || !made.as_ref().is_ok_and(changes)) {
            made = plan(brain, &documents, with, Sight::Latest).await?;
        }
        let plan = match made {
            Ok(plan) => plan,
            Err(refused) => return Ok(wire::ApplyReply { applied: Vec::new(), refused }),
        };
        if request.dry_run {
            return Ok(reply(plan));
        }
        let applies: Vec<Apply> = plan.iter().filter_map(|planned| planned.apply.clone()).collect();
        if applies.is_empty() {
            return Ok(reply(plan));
        }
        match brain.submit(id, Body::Apply(applies)).await {
            Ok(Accepted::Applied(jobs)) => return Ok(reply(confirmed(brain, plan, jobs).await?)),
            Ok(_) => return Err(Status::internal("an apply was answered as something else")),
            Err(BrainError::Rejected(
                Reason::StalePlan { .. }
                | Reason::AlreadyExists { .. }
                | Reason::JobNotFound { .. },
            )) => {}
            Err(error) => return Err(status_of(&error)),
        }
    }
    let message = "the jobs were changed again and again by somebody else; try once more";
    Err(with_code(Code::Aborted, "M2002", message))
}

/// The answer to a request that was accepted before and whose answer got lost.
async fn answered_before(
    brain: &Brain,
    id: Option<RequestId>,
) -> Result<Option<wire::ApplyReply>, Status> {
    let Some(id) = id else { return Ok(None) };
    // What is not seen here is seen by the brain when it decides, which answers in the same way.
    let refs = brain
        .peek(move |state| {
            let done = state.tables().requests.get(&id)?;
            let jobs = done.jobs.iter().filter_map(|job| state.job(*job));
            Some(jobs.map(|job| job_ref(&job.key, &job.uid)).collect::<Vec<_>>())
        })
        .await
        .map_err(|error| status_of(&error))?;
    let applied = |reference| wire::Applied {
        r#ref: Some(reference),
        outcome: Outcome::Created.into(),
        warnings: Vec::new(),
    };
    Ok(refs.map(|refs| wire::ApplyReply {
        applied: refs.into_iter().map(applied).collect(),
        refused: Vec::new(),
    }))
}

/// With the uids that the jobs really have: a request that was accepted before has made them then.
async fn confirmed(
    brain: &Brain,
    mut plan: Vec<Planned>,
    jobs: Vec<JobId>,
) -> Result<Vec<Planned>, Status> {
    let uids = brain
        .peek(move |state| {
            let uid = |id| state.job(id).map(|job| job.uid.clone());
            jobs.into_iter().map(uid).collect::<Vec<_>>()
        })
        .await
        .map_err(|error| status_of(&error))?;
    let submitted = plan.iter_mut().filter(|planned| planned.apply.is_some());
    for (planned, uid) in submitted.zip(uids) {
        // One that is gone again keeps the uid that it was to have.
        planned.uid = uid.unwrap_or_else(|| planned.uid.clone());
    }
    Ok(plan)
}

fn reply(plan: Vec<Planned>) -> wire::ApplyReply {
    let applied = plan.into_iter().map(|planned| wire::Applied {
        r#ref: Some(job_ref(&planned.key, &planned.uid)),
        outcome: planned.outcome.into(),
        warnings: planned.warnings,
    });
    wire::ApplyReply { applied: applied.collect(), refused: Vec::new() }
}

/// A client's request id: 16 bytes, or nothing from a client that does not retry.
pub(crate) fn request_id(bytes: &[u8]) -> Result<Option<RequestId>, Status> {
    match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => Ok(Some(RequestId::from_u128(u128::from_be_bytes(bytes)))),
        Err(_) if bytes.is_empty() => Ok(None),
        Err(_) => Err(Status::invalid_argument("request_id must have 16 bytes")),
    }
}

/// A namespace that a request names; the default one when it names none.
pub(super) fn namespace(text: &str) -> Result<Namespace, Status> {
    if text.is_empty() {
        return Ok(Namespace::default_namespace());
    }
    Namespace::new(text)
        .map_err(|error| with_code(Code::InvalidArgument, "M1001", format!("namespace: {error}")))
}

async fn plan(
    brain: &Brain,
    documents: &[Document],
    (request, context): (&wire::ApplyRequest, &AdmitContext),
    sight: Sight,
) -> Result<Result<Vec<Planned>, Vec<wire::Refused>>, Status> {
    let mut refused = Vec::new();
    let mut admitted: Vec<(&Document, Admitted)> = Vec::new();
    let mut seen: BTreeMap<JobKey, String> = BTreeMap::new();
    for document in documents {
        let value = with_submit_dir(document.value.clone(), &request.submit_dir);
        match admit(&value, context) {
            Ok(job) => {
                if let Some(first) = seen.insert(job.key.clone(), document.describe()) {
                    refused.push(twice(document, &job.key, &first));
                }
                admitted.push((document, job));
            }
            Err(rejection) => refused.push(refusal(document, rejection)),
        }
    }
    let keys: BTreeSet<JobKey> = admitted.iter().map(|(_, job)| job.key.clone()).collect();
    let existing = existing(brain, keys, sight).await?;
    let mut plan = Vec::new();
    for (document, job) in admitted {
        let planned = match existing.get(&job.key) {
            None if request.update_only => {
                let why = Reason::JobNotFound { job: job.key.clone() };
                let gone = job_ref(&job.key, &Uid(String::new()));
                Err(Box::new(reason(document, why, gone)))
            }
            None => Ok(create(job)),
            Some(old) if overtaken(&document.value, old).is_some() => {
                let why = overtaken(&document.value, old).unwrap_or_default();
                let why = Reason::Conflict { job: job.key.clone(), why };
                Err(Box::new(reason(document, why, job_ref(&job.key, &old.uid))))
            }
            Some(old) if old.deleting => {
                let why = Reason::BeingDeleted { job: job.key.clone() };
                Err(Box::new(reason(document, why, job_ref(&job.key, &old.uid))))
            }
            Some(old) if request.create_only => {
                let why = Reason::AlreadyExists { job: job.key.clone() };
                Err(Box::new(reason(document, why, job_ref(&job.key, &old.uid))))
            }
            Some(old) => update(document, (job, old), context),
        };
        match planned {
            Ok(planned) => plan.push(planned),
            Err(problem) => refused.push(*problem),
        }
    }
    Ok(if refused.is_empty() { Ok(plan) } else { Err(refused) })
}

/// Why a document that names the object which it was made from must not change what there is now, as in Kubernetes
/// (`metadata.uid` and `metadata.resourceVersion` are preconditions). A version is as good as new as long as nobody
/// has changed the manifest: the status alone moves on by itself.
fn overtaken(document: &Value, old: &Existing) -> Option<String> {
    let given = |field: &str| document["metadata"][field].as_str().filter(|text| !text.is_empty());
    if given("uid").is_some_and(|uid| uid != old.uid.0) {
        return Some("it was deleted and created anew since".into());
    }
    let version = given("resourceVersion").and_then(|version| version.parse::<u64>().ok());
    version.is_some_and(|version| version < old.version.0).then(|| {
        "somebody else has changed it since; get it again, or leave metadata.resourceVersion out to change it all \
         the same"
            .into()
    })
}

/// Records where the manifest was submitted from, unless it says so itself.
fn with_submit_dir(mut manifest: Value, submit_dir: &str) -> Value {
    if submit_dir.is_empty() {
        return manifest;
    }
    let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) else {
        return manifest;
    };
    let annotations =
        metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
    if annotations.is_null() {
        *annotations = Value::Object(Default::default());
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.entry(SUBMIT_DIR).or_insert_with(|| submit_dir.into());
    }
    manifest
}

async fn existing(
    brain: &Brain,
    keys: BTreeSet<JobKey>,
    sight: Sight,
) -> Result<BTreeMap<JobKey, Existing>, Status> {
    let look = move |state: &State| {
        let find = |key: JobKey| {
            let id = state.job_id(&key)?;
            let job = state.job(id)?;
            let version = state.tables().jobs.version(&id)?;
            Some((key, job.manifest.clone(), version, job.uid.clone(), job.deleting.is_some()))
        };
        keys.into_iter().filter_map(find).collect::<Vec<_>>()
    };
    let found = match sight {
        Sight::Applied => brain.peek(look).await,
        Sight::Latest => brain.read(look).await,
    };
    let found = found.map_err(|error| status_of(&error))?;
    let existing = found.into_iter().map(|(key, manifest, version, uid, deleting)| {
        // Only manifests that parsed are stored.
        let manifest = serde_json::from_str(&manifest).unwrap_or(Value::Null);
        (key, Existing { manifest, version, uid, deleting })
    });
    Ok(existing.collect())
}

fn sentences(job: &Admitted) -> Vec<String> {
    job.warnings.iter().map(ToString::to_string).collect()
}

fn create(job: Admitted) -> Planned {
    let (key, uid, warnings) = (job.key.clone(), new_uid(), sentences(&job));
    let apply = submission::create(job, uid.clone(), warnings.clone());
    Planned { key, uid, outcome: Outcome::Created, warnings, apply: Some(apply) }
}

fn update(
    document: &Document,
    (job, old): (Admitted, &Existing),
    context: &AdmitContext,
) -> Result<Planned, Box<wire::Refused>> {
    // Applied from another directory, the job keeps the one that it was created from.
    let mut manifest = job.manifest.clone();
    let from = old.manifest.pointer("/metadata/annotations/muster.dev~1submit-dir").cloned();
    let written = document.value.pointer("/metadata/annotations/muster.dev~1submit-dir");
    if let (Some(from), None) = (from, written)
        && let Some(annotations) = manifest.pointer_mut("/metadata/annotations")
    {
        annotations[SUBMIT_DIR] = from;
    }
    let warnings = sentences(&job);
    let update = admit_update(&old.manifest, &manifest, context)
        .map_err(|rejection| Box::new(refusal(document, rejection)))?;
    let planned = |outcome, apply| Planned {
        key: job.key.clone(),
        uid: old.uid.clone(),
        outcome,
        warnings,
        apply,
    };
    Ok(match update {
        Update::Unchanged => planned(Outcome::Unchanged, None),
        Update::Changed { admitted, spec_changed } => {
            let update =
                submission::update(job.key.clone(), old.version, (*admitted, spec_changed));
            planned(Outcome::Configured, Some(update))
        }
    })
}

fn twice(document: &Document, key: &JobKey, first: &str) -> wire::Refused {
    wire::Refused {
        document: document.describe(),
        code: "M1001".into(),
        message: format!("{key} stands in {first} already; give one of them another name"),
        fields: Vec::new(),
        r#ref: None,
    }
}

fn refusal(document: &Document, rejection: Rejection) -> wire::Refused {
    let code = match &rejection {
        Rejection::Kind(_) => "M1002",
        Rejection::Invalid { .. } => "M1001",
        Rejection::Immutable { .. } => "M1006",
    };
    let fields = match &rejection {
        Rejection::Kind(_) => Vec::new(),
        Rejection::Invalid { errors, .. } | Rejection::Immutable { errors, .. } => {
            errors.iter().map(field).collect()
        }
    };
    wire::Refused {
        document: document.describe(),
        code: code.into(),
        message: rejection.to_string(),
        fields,
        r#ref: None,
    }
}

fn reason(document: &Document, reason: Reason, job: wire::Ref) -> wire::Refused {
    wire::Refused {
        document: document.describe(),
        code: reason.code().to_string(),
        message: reason.to_string(),
        fields: Vec::new(),
        r#ref: Some(job),
    }
}

fn field(error: &FieldError) -> wire::FieldProblem {
    let problem = match error.problem {
        Problem::Required => "Required",
        Problem::Invalid { .. } => "Invalid",
        Problem::WrongType { .. } => "WrongType",
        Problem::NotSupported { .. } => "NotSupported",
        Problem::Forbidden => "Forbidden",
        Problem::Duplicate { .. } => "Duplicate",
        Problem::TooLong { .. } => "TooLong",
    };
    wire::FieldProblem {
        path: error.path.to_string(),
        problem: problem.into(),
        message: error.to_string(),
    }
}
