//! Objects that are kept as they were sent: config maps, runtimes.

use muster_apimachinery::{ApiStatus, Cause, StatusReason};
use muster_kinds::rfc3339;
use muster_model::{ObjectKey, Reason, Timestamp, Uid};
use muster_state::{Body, DeleteObject, Index, PutObject};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{self, Answer, brain_status};
use super::body;
use super::jobs::{APPLY, Deletion, applied, changed, deletion, is_dry, preconditions, sent};
use super::read::{Filter, found};
use super::serve::{Asked, RestContext};
use crate::brain::BrainError;
use crate::clock::Clock;
use crate::grpc::name_suffix;

/// How often a change that was overtaken is made again.
const ATTEMPTS: usize = 5;
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

/// Whether a name is a DNS subdomain (RFC 1123), as Kubernetes wants it.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
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
    if !is_name(&name) {
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
    let key = (asked.target.resource, asked.target.namespace_text().to_owned(), name.to_owned());
    let object = context.feed.read(|history| history.get(&key).map(|entry| entry.object.clone()));
    let object = object.await.map_err(|error| brain_status(&error))?;
    let object = object.ok_or_else(|| ApiStatus::not_found(asked.target.info(), name))?;
    Ok(answer::json(code, &object))
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
        let (current, _) = found(context, asked).await?;
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
    let Deletion { uid, dry } = deletion(asked)?;
    let (object, _) = found(context, asked).await?;
    let is = object["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(uid) = uid.filter(|uid| uid.0 != is) {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {is}");
        return Err(ApiStatus::conflict(info, name, &why));
    }
    if existing(context, key_of(asked, name)).await?.is_none() {
        let message =
            format!("{} {name:?} comes with Muster and cannot be deleted", info.qualified());
        return Err(ApiStatus::new(StatusReason::MethodNotAllowed, message).about(info, name));
    }
    if !dry {
        let delete = DeleteObject { key: key_of(asked, name), uid: Some(Uid(is.to_owned())) };
        let done = context.brain.submit(None, Body::DeleteObject(delete)).await;
        done.map_err(|error| refused(asked, (name, &error)))?;
    }
    Ok(answer::json(200, &answer::deleted(info, name, is)))
}

/// Deletes what a list would show, except for what comes with Muster.
pub(super) async fn delete_all(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let info = asked.target.info();
    let Deletion { dry, .. } = deletion(asked)?;
    let filter = Filter::of(&asked.query)?;
    let namespace = asked.target.namespace.as_ref().map(|namespace| namespace.as_str());
    let found = context.feed.read(|history| {
        let all = history.list(asked.target.resource, namespace);
        let wanted = all.filter(|(_, entry)| filter.matches(&entry.object));
        wanted.map(|(key, entry)| (key.clone(), entry.object.clone())).collect::<Vec<_>>()
    });
    let found = found.await.map_err(|error| brain_status(&error))?;
    let mut items = Vec::new();
    for ((_, namespace, name), object) in found {
        let key = ObjectKey { resource: info.qualified(), namespace, name };
        let uid = object["metadata"]["uid"].as_str().map(|uid| Uid(uid.to_owned()));
        if !dry {
            match context.brain.submit(None, Body::DeleteObject(DeleteObject { key, uid })).await {
                Ok(_) => {}
                // It is gone already, or comes with Muster.
                Err(BrainError::Rejected(Reason::ObjectNotFound { .. })) => continue,
                Err(error) => return Err(brain_status(&error)),
            }
        }
        items.push((*object).clone());
    }
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
    use super::*;

    #[test]
    fn names_are_dns_subdomains() {
        for name in ["a", "a-b.c", "kubeflow-trainer-public", "1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", &*"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
