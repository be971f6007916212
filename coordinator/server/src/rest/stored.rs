//! Objects that are kept as they were sent: config maps, runtimes.

use muster_apimachinery::{ApiStatus, Cause, StatusReason};
use muster_kinds::rfc3339;
use muster_model::{ObjectKey, Reason, Timestamp, Uid, is_dns1123_subdomain};
use muster_state::{Body, DeleteObject, Index, PutObject};
use serde_json::Value;
use uuid::Uuid;

use super::answer::{self, Answer, brain_status};
use super::body;
use super::read::{deleted_all, found, matching, named};
use super::serve::{Asked, RestContext};
use super::write::{APPLY, ATTEMPTS, applied, changed, deletion, is_dry, preconditions, sent, uid};
use crate::brain::BrainError;
use crate::clock::Clock;
use crate::submission::name_suffix;

/// The largest object. That of a config map in Kubernetes.
const MOST: usize = 1024 * 1024;
/// What only a server writes.
const WRITTEN: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
];

fn key_of(asked: &Asked, name: &str) -> ObjectKey {
    ObjectKey {
        resource: asked.target.info().qualified(),
        namespace: asked.target.namespace_text().into(),
        name: name.into(),
    }
}

/// An object as it is kept, with its name, or all that is wrong with it.
fn kept(asked: &Asked, mut object: Value) -> Result<(String, Value), ApiStatus> {
    let info = asked.target.info();
    let mut wrong = Vec::new();
    let mut invalid = |field: &str, message: String| {
        wrong.push(Cause { reason: "FieldValueInvalid".into(), message, field: field.into() });
    };
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let name = match (text("name"), text("generateName")) {
        ("", "") => String::new(),
        ("", start) => format!("{start}{}", name_suffix()),
        (name, _) => name.to_owned(),
    };
    if !is_dns1123_subdomain(&name) {
        let rule = "must be lower-case letters, digits, '-' or '.', and begin and end with a letter or digit";
        invalid("metadata.name", format!("Invalid value: {name:?}: {rule}"));
    }
    if info.kind == "ConfigMap" {
        for field in ["data", "binaryData"] {
            let entries = match &object[field] {
                Value::Null => continue,
                Value::Object(entries) => entries,
                other => {
                    invalid(field, format!("Invalid value: {other}: must be an object of texts"));
                    continue;
                }
            };
            for (key, value) in entries {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                if key.is_empty() || !key.chars().all(plain) {
                    let at = format!("{field}[{key}]");
                    invalid(
                        &at,
                        "Invalid value: a key has only letters, digits, '-', '_' and '.'".into(),
                    );
                }
                if !value.is_string() {
                    invalid(
                        &format!("{field}.{key}"),
                        format!("Invalid value: {value}: must be a text"),
                    );
                }
            }
        }
    } else if !object["spec"].is_object() {
        invalid("spec", "Required value: describe the runtime".into());
    }
    if !wrong.is_empty() {
        return Err(ApiStatus::invalid(info, &name, wrong));
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, value| {
            !WRITTEN.contains(&&**field) && field != "generateName" && !value.is_null()
        });
        metadata.insert("name".into(), name.as_str().into());
        if asked.target.namespace.is_none() {
            metadata.shift_remove("namespace");
        }
    }
    if object.to_string().len() > MOST {
        let message = format!("{name:?} is larger than {MOST} bytes");
        return Err(ApiStatus::new(StatusReason::RequestEntityTooLarge, message).about(info, &name));
    }
    Ok((name, object))
}

/// What the brain would not do, about an object of this name.
fn refused(asked: &Asked, (name, error): (&str, &BrainError)) -> ApiStatus {
    let info = asked.target.info();
    match error {
        BrainError::Rejected(Reason::ObjectExists { .. }) => ApiStatus::already_exists(info, name),
        BrainError::Rejected(Reason::ObjectNotFound { .. }) => ApiStatus::not_found(info, name),
        other => brain_status(other),
    }
}

pub(super) async fn create(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let object = sent(asked, body::object(&asked.headers, &asked.bytes)?)?;
    create_object(context, asked, object).await
}

async fn create_object(
    context: &RestContext,
    asked: &Asked,
    object: Value,
) -> Result<Answer, ApiStatus> {
    let dry = is_dry(asked)?;
    let (name, object) = kept(asked, object)?;
    let key = key_of(asked, &name);
    if dry {
        let looked = key.clone();
        let exists = context.brain.read(move |state| state.tables().objects.get(&looked).is_some());
        if exists.await.map_err(|error| brain_status(&error))? {
            return Err(ApiStatus::already_exists(asked.target.info(), &name));
        }
        let mut shown = object;
        shown["metadata"]["uid"] = Uuid::new_v4().to_string().into();
        shown["metadata"]["creationTimestamp"] = rfc3339(Timestamp(Clock.now().0)).into();
        return Ok(answer::json(201, &shown));
    }
    let put = PutObject {
        key,
        based_on: None,
        uid: Uid(Uuid::new_v4().to_string()),
        json: object.to_string(),
    };
    let done = context.brain.submit(None, Body::PutObject(put)).await;
    done.map_err(|error| refused(asked, (&name, &error)))?;
    shown(context, asked, (&name, 201)).await
}

/// The object as it is now.
async fn shown(
    context: &RestContext,
    asked: &Asked,
    (name, code): (&str, u16),
) -> Result<Answer, ApiStatus> {
    let entry = named(context, (asked, name)).await?;
    let entry = entry.ok_or_else(|| ApiStatus::not_found(asked.target.info(), name))?;
    Ok(answer::json(code, &entry.object))
}

/// What is kept under a name, and since which index.
async fn existing(
    context: &RestContext,
    key: ObjectKey,
) -> Result<Option<(Value, Index)>, ApiStatus> {
    let read = context.brain.read(move |state| {
        let object = state.tables().objects.get(&key)?;
        let value = serde_json::from_str(&object.json).unwrap_or(Value::Null);
        Some((value, state.tables().objects.version(&key)?))
    });
    read.await.map_err(|error| brain_status(&error))
}

pub(super) async fn update(
    context: &RestContext,
    asked: &Asked,
    verb: &str,
) -> Result<Answer, ApiStatus> {
    let (info, name) = (asked.target.info(), &*asked.target.name);
    let dry = is_dry(asked)?;
    let key = key_of(asked, name);
    for _ in 0..ATTEMPTS {
        let Some((old, version)) = existing(context, key.clone()).await? else {
            if verb == "patch" && body::media_type(&asked.headers) == APPLY {
                let mut object = sent(asked, applied(asked)?)?;
                object["metadata"]["name"] = name.into();
                return create_object(context, asked, object).await;
            }
            found(context, asked).await?;
            let message = format!(
                "{} {name:?} comes with Muster and cannot be changed; create one of the same name, which is used instead",
                info.qualified()
            );
            return Err(ApiStatus::new(StatusReason::MethodNotAllowed, message).about(info, name));
        };
        let current = found(context, asked).await?;
        let new = changed(asked, verb, &current)?;
        preconditions(asked, &new, &current)?;
        let (_, mut new) = kept(asked, new)?;
        new["metadata"]["name"] = name.into();
        if new == old {
            return Ok(answer::json(200, &current));
        }
        let is_fixed = old["immutable"] == true;
        let differs =
            ["data", "binaryData", "immutable"].iter().any(|field| old[*field] != new[*field]);
        if is_fixed && differs {
            let message = "Forbidden: field is immutable when `immutable` is set".into();
            let cause =
                Cause { reason: "FieldValueForbidden".into(), message, field: "data".into() };
            return Err(ApiStatus::invalid(info, name, vec![cause]));
        }
        if dry {
            for field in WRITTEN {
                if let Some(value) = current["metadata"].get(field) {
                    new["metadata"][field] = value.clone();
                }
            }
            return Ok(answer::json(200, &new));
        }
        let put = PutObject {
            key: key.clone(),
            based_on: Some(version),
            uid: Uid(String::new()),
            json: new.to_string(),
        };
        match context.brain.submit(None, Body::PutObject(put)).await {
            Ok(_) => return shown(context, asked, (name, 200)).await,
            Err(BrainError::Rejected(Reason::StalePlan { .. })) => {}
            Err(error) => return Err(refused(asked, (name, &error))),
        }
    }
    Err(ApiStatus::modified(info, name))
}

pub(super) async fn delete(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let (info, name) = (asked.target.info(), &*asked.target.name);
    let deletion = deletion(asked)?;
    let object = found(context, asked).await?;
    deletion.check(asked, &object)?;
    if existing(context, key_of(asked, name)).await?.is_none() {
        let message =
            format!("{} {name:?} comes with Muster and cannot be deleted", info.qualified());
        return Err(ApiStatus::new(StatusReason::MethodNotAllowed, message).about(info, name));
    }
    if !deletion.dry {
        let uid = Some(Uid(uid(&object).to_owned()));
        let delete = DeleteObject { key: key_of(asked, name), uid };
        let done = context.brain.submit(None, Body::DeleteObject(delete)).await;
        done.map_err(|error| refused(asked, (name, &error)))?;
    }
    Ok(answer::json(200, &answer::deleted(info, name, uid(&object))))
}

/// Deletes what a list would show, except for what comes with Muster.
pub(super) async fn delete_all(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let info = asked.target.info();
    let dry = deletion(asked)?.dry;
    let mut gone = Vec::new();
    for ((_, namespace, name), entry) in matching(context, asked).await? {
        let key = ObjectKey { resource: info.qualified(), namespace, name };
        let uid = Some(Uid(uid(&entry.object).to_owned()));
        if !dry {
            match context.brain.submit(None, Body::DeleteObject(DeleteObject { key, uid })).await {
                Ok(_) => {}
                // It is gone already, or comes with Muster.
                Err(BrainError::Rejected(Reason::ObjectNotFound { .. })) => continue,
                Err(error) => return Err(brain_status(&error)),
            }
        }
        gone.push(entry.object);
    }
    Ok(deleted_all(info, gone.into_iter()))
}
