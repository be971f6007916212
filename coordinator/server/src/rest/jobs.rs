//! Jobs are created, changed and deleted.

use muster_apimachinery::{ApiStatus, Cause, ResourceInfo, StatusReason};
use muster_kinds::{
    AdmitContext, Admitted, JobView, Rejection, Update, Warning, WarningKind, admit, admit_update,
    show,
};
use muster_model::{
    Conditions, FieldError, JobKey, JobKind, JobName, Namespace, Reason, Timestamp, Uid,
};
use muster_state::{Accepted, Body, DeleteJob, Index};
use serde_json::{Value, json};

use super::answer::{self, Answer, brain_status, warn};
use super::body;
use super::history::Key;
use super::read::{deleted_all, found, matching};
use super::registry::Source;
use super::serve::{Asked, RestContext};
use super::write::{
    APPLY, ATTEMPTS, applied, cause, changed, deletion, is_dry, preconditions, sent, uid,
    unsupported_value,
};
use crate::brain::BrainError;
use crate::clock::Clock;
use crate::objects::job_object;
use crate::submission::{self, name_suffix, new_uid, runtimes_for};

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
    let runtimes = runtimes_for(&context.brain, std::iter::once(manifest)).await;
    let runtimes = runtimes.map_err(|error| brain_status(&error))?;
    Ok(AdmitContext { namespace: namespace.clone(), name_suffix: name_suffix(), runtimes })
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
            let known = ["Ignore", "Strict", "Warn"];
            Err(unsupported_value(asked, "fieldValidation", (other, &known)))
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
    let uid = new_uid();
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
    context.hub.submitted();
    let apply = Body::Apply(vec![submission::create(job, uid, warnings.clone())]);
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
        let current = found(context, asked).await?;
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
        let update = submission::update(key.clone(), old.version, (*admitted, spec_changed));
        context.hub.submitted();
        match context.brain.submit(None, Body::Apply(vec![update])).await {
            Ok(_) => {
                let object = found(context, asked).await?;
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

pub(super) async fn delete(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let (info, name) = (asked.target.info(), &asked.target.name);
    let deletion = deletion(asked)?;
    let object = found(context, asked).await?;
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
    deletion.check(asked, &object)?;
    if !deletion.dry {
        submit_delete(context, (key, Some(Uid(uid(&object).to_owned()))), info).await?;
    }
    Ok(answer::json(200, &answer::deleted(info, name, uid(&object))))
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
    let dry = deletion(asked)?.dry;
    let kind = JobKind(kind(asked.target.source()).into());
    let mut found = matching(context, asked).await?;
    found.retain(|(_, entry)| entry.replica.is_none());
    for ((_, namespace, name), entry) in found.iter().filter(|_| !dry) {
        let (Ok(namespace), Ok(name)) =
            (Namespace::new(namespace.as_str()), JobName::new(name.as_str()))
        else {
            continue;
        };
        let key = JobKey { namespace, kind: kind.clone(), name };
        let uid = Some(Uid(uid(&entry.object).to_owned()));
        match submit_delete(context, (key, uid), info).await {
            Ok(()) => {}
            Err(status) if status.reason == StatusReason::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok(deleted_all(info, found.into_iter().map(|(_, entry)| entry.object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_only_shown_is_not_written_back_and_what_was_changed_is() {
        let stored = json!({"a": 1, "policy": {"x": 1}});
        let shown = json!({"a": 1, "default": 5, "other": 6, "policy": {"x": 1, "y": 2}});
        let mut new = json!({"a": 2, "default": 5, "other": 7, "policy": {"x": 1, "y": 2, "z": 3}});
        without_shown(&mut new, &shown, &stored);
        assert_eq!(new, json!({"a": 2, "other": 7, "policy": {"x": 1, "z": 3}}));
    }
}
