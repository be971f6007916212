//! Jobs are created, changed and deleted.

use muster_apimachinery::{
    ApiStatus, Cause, ResourceInfo, StatusReason, json_patch, merge_patch, strategic_patch,
};
use muster_kinds::{
    AdmitContext, Admitted, JobView, Rejection, Runtimes, Update, Warning, WarningKind, admit,
    admit_update, parse_documents, show,
};
use muster_model::{
    Conditions, FieldError, JobKey, JobKind, JobName, Namespace, Problem, Reason, Timestamp, Uid,
};
use muster_state::{Accepted, Apply, Body, CreateJob, DeleteJob, Index, UpdateJob};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{self, Answer, brain_status, warn};
use super::body;
use super::history::Key;
use super::read::{Filter, found};
use super::registry::Source;
use super::render::job_selector;
use super::serve::{Asked, RestContext};
use crate::brain::BrainError;
use crate::clock::Clock;
use crate::grpc::name_suffix;
use crate::objects::{job_object, known_runtimes, may_name_runtime};

/// The content type of configurations that the server applies.
pub(super) const APPLY: &str = "application/apply-patch+yaml";
/// How often a change that was overtaken is made again.
const ATTEMPTS: usize = 5;

/// The kind of jobs that a resource shows.
fn kind(source: Source) -> &'static str {
    match source {
        Source::Jobs(facts) => facts.kind,
        _ => "Pod",
    }
}

/// What admission needs to know.
async fn context_of(
    context: &RestContext,
    (namespace, manifest): (&Namespace, &Value),
) -> Result<AdmitContext, ApiStatus> {
    let runtimes = if may_name_runtime(manifest) {
        context.brain.read(known_runtimes).await.map_err(|error| brain_status(&error))?
    } else {
        Runtimes::shipped()
    };
    Ok(AdmitContext { namespace: namespace.clone(), name_suffix: name_suffix(), runtimes })
}

/// Whether nothing shall be kept.
pub(super) fn is_dry(asked: &Asked) -> Result<bool, ApiStatus> {
    match asked.query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => {
            let cause = Cause {
                reason: "FieldValueNotSupported".into(),
                message: format!("Unsupported value: {other:?}: supported values: \"All\""),
                field: "dryRun".into(),
            };
            Err(ApiStatus::invalid(asked.target.info(), &asked.target.name, vec![cause]))
        }
    }
}

/// An object that was sent, as what its path says.
pub(super) fn sent(asked: &Asked, mut object: Value) -> Result<Value, ApiStatus> {
    let info = asked.target.info();
    if !object.is_object() {
        return Err(ApiStatus::bad_request(format!("the body must be a {}", info.kind)));
    }
    for (field, expected) in [("apiVersion", info.api_version()), ("kind", info.kind.to_owned())] {
        match object.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => object[field] = expected.into(),
            same if same == expected => {}
            other => {
                return Err(ApiStatus::bad_request(format!(
                    "the {field} in the data ({other}) does not match the {field} of the path ({expected})"
                )));
            }
        }
    }
    // It is shown, and comes back with what was read.
    let shown = job_selector(object["metadata"]["name"].as_str().unwrap_or_default());
    if info.kind == "Job"
        && object["spec"]["selector"] == shown
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.shift_remove("selector");
    }
    let namespace = asked.target.namespace_text();
    if !object.get("metadata").is_some_and(Value::is_object) {
        object["metadata"] = json!({});
    }
    match object["metadata"]["namespace"].as_str().unwrap_or_default() {
        "" => object["metadata"]["namespace"] = namespace.into(),
        same if same == namespace => {}
        other => {
            return Err(ApiStatus::bad_request(format!(
                "the namespace of the provided object ({other}) does not match the namespace of the request ({namespace})"
            )));
        }
    }
    Ok(object)
}

fn refused((info, name): (&ResourceInfo, &str), rejection: &Rejection) -> ApiStatus {
    match rejection {
        Rejection::Kind(unknown) => ApiStatus::bad_request(unknown.to_string()),
        Rejection::Invalid { errors, .. } => {
            ApiStatus::invalid(info, name, errors.iter().map(cause).collect())
        }
        Rejection::Immutable { errors, .. } => {
            let immutable = |error: &FieldError| Cause {
                message: format!("field is immutable after creation: {error}"),
                ..cause(error)
            };
            ApiStatus::invalid(info, name, errors.iter().map(immutable).collect())
        }
    }
}

fn cause(error: &FieldError) -> Cause {
    let reason = match error.problem {
        Problem::Required => "FieldValueRequired",
        Problem::Invalid { .. } => "FieldValueInvalid",
        Problem::WrongType { .. } => "FieldValueTypeInvalid",
        Problem::NotSupported { .. } => "FieldValueNotSupported",
        Problem::Forbidden => "FieldValueForbidden",
        Problem::Duplicate { .. } => "FieldValueDuplicate",
        Problem::TooLong { .. } => "FieldValueTooLong",
    };
    let (field, whole) = (error.path.to_string(), error.to_string());
    let message =
        whole.strip_prefix(&field).map_or(whole.as_str(), |rest| rest.trim_start_matches(": "));
    Cause { reason: reason.into(), message: message.to_owned(), field }
}

/// What the author of a manifest should know, as strictly as a client wants it (`fieldValidation`; without a word fields
/// that are not known are worth a warning).
fn validated(asked: &Asked, job: &Admitted) -> Result<Vec<String>, ApiStatus> {
    let is_unknown = |warning: &&Warning| matches!(warning.kind, WarningKind::UnknownField { .. });
    let unknown: Vec<String> =
        job.warnings.iter().filter(is_unknown).map(ToString::to_string).collect();
    let validation = asked.query.get("fieldValidation").unwrap_or("Warn");
    match validation {
        "Strict" if !unknown.is_empty() => {
            let info = asked.target.info();
            Err(ApiStatus::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                unknown.join(", "),
                kind = info.kind,
                version = info.version,
            )))
        }
        "Strict" | "Warn" => Ok(job.warnings.iter().map(ToString::to_string).collect()),
        "Ignore" => {
            let known = job.warnings.iter().filter(|warning| !is_unknown(warning));
            Ok(known.map(ToString::to_string).collect())
        }
        other => {
            let cause = Cause {
                reason: "FieldValueNotSupported".into(),
                message: format!(
                    "Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                ),
                field: "fieldValidation".into(),
            };
            Err(ApiStatus::invalid(asked.target.info(), &asked.target.name, vec![cause]))
        }
    }
}

/// A new job as it will look.
fn preview(job: &Admitted, uid: &Uid) -> Value {
    let mut object = show(&JobView {
        key: &job.key,
        manifest: &job.manifest,
        uid,
        created: Timestamp(Clock.now().0),
        deleting: None,
        resource_version: 0,
        spec_generation: 1,
        conditions: &Conditions::default(),
        started: None,
        completed: None,
        roles: Vec::new(),
    });
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    object
}

pub(super) async fn create(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let object = sent(asked, body::object(&asked.headers, &asked.bytes)?)?;
    create_object(context, asked, &object).await
}

async fn create_object(
    context: &RestContext,
    asked: &Asked,
    object: &Value,
) -> Result<Answer, ApiStatus> {
    let info = asked.target.info();
    let dry = is_dry(asked)?;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(ApiStatus::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let namespace = asked.target.namespace.clone().unwrap_or_else(Namespace::default_namespace);
    let named = object["metadata"]["name"].as_str().unwrap_or_default();
    let job = admit(object, &context_of(context, (&namespace, object)).await?)
        .map_err(|why| refused((info, named), &why))?;
    let warnings = validated(asked, &job)?;
    let uid = Uid(Uuid::new_v4().to_string());
    let name = job.key.name.to_string();
    let key: Key = (asked.target.resource, job.key.namespace.to_string(), name.clone());
    let expected = preview(&job, &uid);
    if dry {
        let exists = context.feed.read(|history| history.get(&key).is_some()).await;
        if exists.map_err(|error| brain_status(&error))? {
            return Err(ApiStatus::already_exists(info, &name));
        }
        let mut answer = answer::json(201, &expected);
        warn(&mut answer, &warnings);
        return Ok(answer);
    }
    let create = CreateJob {
        key: job.key,
        uid,
        manifest: job.manifest.to_string(),
        gang: job.gang,
        submit_dir: job.submit_dir,
        external: job.managed_by_other,
        warnings: warnings.clone(),
    };
    context.hub.submitted();
    let apply = Body::Apply(vec![Apply::Create(Box::new(create))]);
    match context.brain.submit(None, apply).await {
        Ok(_) => {}
        Err(BrainError::Rejected(Reason::AlreadyExists { .. })) => {
            return Err(ApiStatus::already_exists(info, &name));
        }
        Err(BrainError::Rejected(Reason::BeingDeleted { .. })) => {
            let mut status = ApiStatus::already_exists(info, &name);
            status.message = format!("object is being deleted: {}", status.message);
            return Err(status);
        }
        Err(error) => return Err(brain_status(&error)),
    }
    let made =
        context.feed.read(|history| history.get(&key).map(|entry| entry.object.clone())).await;
    let made = made.map_err(|error| brain_status(&error))?;
    let mut answer = answer::json(201, made.as_deref().unwrap_or(&expected));
    warn(&mut answer, &warnings);
    Ok(answer)
}

/// A job as it is, for a change.
struct Existing {
    object: Value,
    manifest: Value,
    version: Index,
    uid: Uid,
}

async fn existing(context: &RestContext, key: JobKey) -> Result<Option<Existing>, ApiStatus> {
    let read = context.brain.read(move |state| {
        let id = state.job_id(&key)?;
        let job = state.job(id)?;
        Some(Existing {
            object: job_object(state, id)?,
            manifest: serde_json::from_str(&job.manifest).unwrap_or(Value::Null),
            version: state.tables().jobs.version(&id)?,
            uid: job.uid.clone(),
        })
    });
    read.await.map_err(|error| brain_status(&error))
}

fn key_of(asked: &Asked) -> Result<JobKey, ApiStatus> {
    let name = JobName::new(asked.target.name.as_str())
        .map_err(|_| ApiStatus::not_found(asked.target.info(), &asked.target.name))?;
    let namespace = asked.target.namespace.clone().unwrap_or_else(Namespace::default_namespace);
    Ok(JobKey { namespace, kind: JobKind(kind(asked.target.source()).into()), name })
}

/// A configuration that is applied by the server. Fields have no managers here: what is applied is merged, nothing
/// conflicts, and what an earlier configuration had and this one has not stays.
pub(super) fn applied(asked: &Asked) -> Result<Value, ApiStatus> {
    if asked.query.get("fieldManager").is_none() {
        return Err(ApiStatus::bad_request("fieldManager is required for apply patch"));
    }
    let mut documents = parse_documents(&asked.bytes)
        .map_err(|error| ApiStatus::bad_request(format!("the body is no YAML: {error}")))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(one), true) if one.value.is_object() => Ok(one.value),
        _ => Err(ApiStatus::bad_request("the body must be one object")),
    }
}

/// What a request makes of an object.
pub(super) fn changed(asked: &Asked, verb: &str, object: &Value) -> Result<Value, ApiStatus> {
    let info = asked.target.info();
    if verb == "update" {
        return sent(asked, body::object(&asked.headers, &asked.bytes)?);
    }
    let kind = body::media_type(&asked.headers);
    let invalid = |error: &dyn std::fmt::Display| {
        ApiStatus::bad_request(format!("the patch cannot be applied: {error}"))
    };
    let new = match &*kind {
        "application/merge-patch+json" => {
            let patch = body::json(&asked.bytes)?;
            if !patch.is_object() {
                return Err(invalid(&"a merge patch is a JSON object"));
            }
            let mut new = object.clone();
            merge_patch(&mut new, &patch);
            new
        }
        APPLY => {
            let mut new = object.clone();
            merge_patch(&mut new, &applied(asked)?);
            new
        }
        "application/json-patch+json" => {
            json_patch(object, &body::json(&asked.bytes)?).map_err(|error| invalid(&error))?
        }
        "application/strategic-merge-patch+json" if info.is_builtin => {
            strategic_patch(object, &body::json(&asked.bytes)?).map_err(|error| invalid(&error))?
        }
        other => {
            let mut accepted =
                vec!["application/json-patch+json", "application/merge-patch+json", APPLY];
            if info.is_builtin {
                accepted.push("application/strategic-merge-patch+json");
            }
            return Err(body::unsupported(other, &accepted));
        }
    };
    sent(asked, new)
}

/// Refuses what was made from another object than the one that is there, as in Kubernetes.
pub(super) fn preconditions(asked: &Asked, new: &Value, current: &Value) -> Result<(), ApiStatus> {
    let (info, name) = (asked.target.info(), &*asked.target.name);
    let given = |field: &str| new["metadata"][field].as_str().filter(|text| !text.is_empty());
    if given("name").is_some_and(|given| given != name) {
        return Err(ApiStatus::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            given("name").unwrap_or_default()
        )));
    }
    let is = |field: &str| current["metadata"][field].as_str().unwrap_or_default();
    if given("uid").is_some_and(|given| given != is("uid")) {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            given("uid").unwrap_or_default(),
            is("uid")
        );
        return Err(ApiStatus::conflict(info, name, &why));
    }
    if given("resourceVersion").is_some_and(|given| given != is("resourceVersion")) {
        return Err(ApiStatus::modified(info, name));
    }
    Ok(())
}

/// Takes away what only the object is shown with, so that what was read can be written back: defaults are not stored.
fn without_shown(new: &mut Value, shown: &Value, stored: &Value) {
    let (Value::Object(new), Value::Object(shown)) = (new, shown) else { return };
    new.retain(|name, value| stored.get(name).is_some() || shown.get(name) != Some(value));
    for (name, value) in new {
        if let (Some(shown), Some(stored)) = (shown.get(name), stored.get(name)) {
            without_shown(value, shown, stored);
        }
    }
}

pub(super) async fn update(
    context: &RestContext,
    asked: &Asked,
    verb: &str,
) -> Result<Answer, ApiStatus> {
    let (info, name) = (asked.target.info(), asked.target.name.clone());
    let dry = is_dry(asked)?;
    let key = key_of(asked)?;
    let namespace = key.namespace.clone();
    let applies = verb == "patch" && body::media_type(&asked.headers) == APPLY;
    for _ in 0..ATTEMPTS {
        let Some(old) = existing(context, key.clone()).await? else {
            if !applies {
                return Err(ApiStatus::not_found(info, &name));
            }
            let mut object = sent(asked, applied(asked)?)?;
            if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
                object["metadata"]["name"] = name.as_str().into();
            }
            preconditions(asked, &object, &json!({"metadata": {}}))?;
            return create_object(context, asked, &object).await;
        };
        let (current, _) = found(context, asked).await?;
        let mut base = old.object;
        base["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        let mut new = changed(asked, verb, &base)?;
        preconditions(asked, &new, &current)?;
        new["metadata"]["name"] = name.as_str().into();
        without_shown(&mut new["spec"], &base["spec"], &old.manifest["spec"]);
        let admitted =
            admit_update(&old.manifest, &new, &context_of(context, (&namespace, &new)).await?)
                .map_err(|why| refused((info, &name), &why))?;
        let Update::Changed { admitted, spec_changed } = admitted else {
            return Ok(answer::json(200, &current));
        };
        let warnings = validated(asked, &admitted)?;
        if dry {
            let mut shown = preview(&admitted, &old.uid);
            for field in ["resourceVersion", "creationTimestamp", "generation"] {
                shown["metadata"][field] = current["metadata"][field].clone();
            }
            shown["status"] = current["status"].clone();
            return Ok(answer::json(200, &shown));
        }
        let update = UpdateJob {
            key: key.clone(),
            based_on: old.version,
            manifest: admitted.manifest.to_string(),
            gang: admitted.gang,
            spec_changed,
        };
        context.hub.submitted();
        match context.brain.submit(None, Body::Apply(vec![Apply::Update(Box::new(update))])).await {
            Ok(_) => {
                let (object, _) = found(context, asked).await?;
                let mut answer = answer::json(200, &object);
                warn(&mut answer, &warnings);
                return Ok(answer);
            }
            // Somebody else was faster. Whoever named a version finds that it is not the current one any more.
            Err(BrainError::Rejected(Reason::StalePlan { .. })) => {}
            Err(BrainError::Rejected(
                reason @ (Reason::BeingDeleted { .. } | Reason::Finished { .. }),
            )) => {
                return Err(ApiStatus::conflict(info, &name, &reason.to_string()));
            }
            Err(error) => return Err(brain_status(&error)),
        }
    }
    Err(ApiStatus::modified(info, &name))
}

/// What a deletion asks for, from its body or its query.
pub(super) struct Deletion {
    pub(super) uid: Option<Uid>,
    pub(super) dry: bool,
}

pub(super) fn deletion(asked: &Asked) -> Result<Deletion, ApiStatus> {
    let options = body::object(&asked.headers, &asked.bytes)?;
    let policy = options["propagationPolicy"].as_str().or(asked.query.get("propagationPolicy"));
    if policy == Some("Orphan") {
        return Err(ApiStatus::bad_request(
            "propagationPolicy Orphan: replicas do not outlive their job; use Background or Foreground",
        ));
    }
    let dry = options["dryRun"].as_array().is_some_and(|values| !values.is_empty());
    Ok(Deletion {
        uid: options["preconditions"]["uid"].as_str().map(|uid| Uid(uid.to_owned())),
        dry: dry || is_dry(asked)?,
    })
}

pub(super) async fn delete(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let (info, name) = (asked.target.info(), &asked.target.name);
    let Deletion { uid, dry } = deletion(asked)?;
    let (object, _) = found(context, asked).await?;
    let key = key_of(asked)?;
    if asked.target.source() == Source::Pods && existing(context, key.clone()).await?.is_none() {
        let owner = &object["metadata"]["ownerReferences"][0];
        return Err(ApiStatus::new(
            StatusReason::MethodNotAllowed,
            format!(
                "pod {name:?} is a replica of {} {}, whose gang lives and dies together: delete that, or suspend it",
                owner["kind"].as_str().unwrap_or("a job"),
                owner["name"].as_str().unwrap_or_default(),
            ),
        )
        .about(info, name));
    }
    let is = object["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(uid) = uid.as_ref().filter(|uid| uid.0 != is) {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {is}");
        return Err(ApiStatus::conflict(info, name, &why));
    }
    if !dry {
        submit_delete(context, (key, Some(Uid(is.to_owned()))), info).await?;
    }
    Ok(answer::json(200, &answer::deleted(info, name, is)))
}

async fn submit_delete(
    context: &RestContext,
    (key, uid): (JobKey, Option<Uid>),
    info: &ResourceInfo,
) -> Result<(), ApiStatus> {
    let name = key.name.to_string();
    match context.brain.submit(None, Body::DeleteJob(DeleteJob { key, uid })).await {
        Ok(Accepted::Deleted(_)) | Err(BrainError::Rejected(Reason::BeingDeleted { .. })) => Ok(()),
        Ok(_) => Err(ApiStatus::new(
            StatusReason::InternalError,
            "a deletion was answered as something else",
        )),
        Err(BrainError::Rejected(Reason::JobNotFound { .. })) => {
            Err(ApiStatus::not_found(info, &name))
        }
        Err(error) => Err(brain_status(&error)),
    }
}

/// Deletes what a list would show. What is gone meanwhile is gone.
pub(super) async fn delete_all(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let info = asked.target.info();
    let Deletion { dry, .. } = deletion(asked)?;
    let filter = Filter::of(&asked.query)?;
    let kind = JobKind(kind(asked.target.source()).into());
    let namespace = asked.target.namespace.as_ref().map(|namespace| namespace.as_str());
    let found = context.feed.read(|history| {
        let all = history.list(asked.target.resource, namespace);
        let jobs =
            all.filter(|(_, entry)| entry.replica.is_none() && filter.matches(&entry.object));
        jobs.map(|(key, entry)| (key.clone(), entry.object.clone())).collect::<Vec<_>>()
    });
    let found = found.await.map_err(|error| brain_status(&error))?;
    for ((_, namespace, name), object) in found.iter().filter(|_| !dry) {
        let (Ok(namespace), Ok(name)) =
            (Namespace::new(namespace.as_str()), JobName::new(name.as_str()))
        else {
            continue;
        };
        let key = JobKey { namespace, kind: kind.clone(), name };
        let uid = object["metadata"]["uid"].as_str().map(|uid| Uid(uid.to_owned()));
        match submit_delete(context, (key, uid), info).await {
            Ok(()) => {}
            Err(status) if status.reason == StatusReason::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    let items: Vec<&Value> = found.iter().map(|(_, object)| &**object).collect();
    Ok(answer::json(
        200,
        &json!({
            "kind": info.list_kind(),
            "apiVersion": info.api_version(),
            "metadata": {},
            "items": items,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use muster_model::FieldPath;

    use super::*;

    #[test]
    fn what_was_only_shown_is_not_written_back_and_what_was_changed_is() {
        let stored = json!({"a": 1, "policy": {"x": 1}});
        let shown = json!({"a": 1, "default": 5, "other": 6, "policy": {"x": 1, "y": 2}});
        let mut new = json!({"a": 2, "default": 5, "other": 7, "policy": {"x": 1, "y": 2, "z": 3}});
        without_shown(&mut new, &shown, &stored);
        assert_eq!(new, json!({"a": 2, "other": 7, "policy": {"x": 1, "z": 3}}));
    }

    #[test]
    fn a_cause_says_the_field_once() {
        let path = FieldPath::root().field("spec").field("x");
        let error =
            FieldError::new(path, Problem::Invalid { value: "-1".into() }, "must be at least 0");
        let cause = cause(&error);
        assert_eq!(cause.field, "spec.x");
        assert!(!cause.message.contains("spec.x"), "{}", cause.message);
        assert!(cause.message.contains("must be at least 0"));
    }
}
