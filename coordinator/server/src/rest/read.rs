//! GET of objects and of lists.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use muster_apimachinery::{
    ApiStatus, FieldSelector, Include, LabelSelector, Query, ResourceInfo, table,
};
use serde_json::{Value, json};

use super::answer::{self, Answer, brain_status};
use super::history::{Entry, History, Key};
use super::registry::Source;
use super::serve::{Asked, RestContext};
use crate::access::Caller;
use crate::clock::Clock;

/// What objects a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
}

/// How objects are to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// Only their metadata.
    Metadata,
    /// As rows, each with as much of its object.
    Table(Include),
}

pub(super) fn bad(error: impl std::fmt::Display) -> ApiStatus {
    ApiStatus::bad_request(error.to_string())
}

impl Filter {
    pub(super) fn of(query: &Query) -> Result<Self, ApiStatus> {
        Ok(Self {
            labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
                .map_err(bad)?,
            fields: FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
                .map_err(bad)?,
        })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

/// The media types that a client accepts, in its order, each with its parameters.
pub(super) fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Vec<&str>> {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let types = accepts.unwrap_or_default().split(',');
    types.map(|one| one.split(';').map(str::trim).collect())
}

impl Form {
    /// What a client asks for, in the first type that it accepts.
    pub(super) fn of(headers: &HeaderMap, query: &Query) -> Self {
        for parameters in accepted(headers) {
            let has = |wanted: &str| parameters.contains(&wanted);
            if !has("g=meta.k8s.io") || !has("v=v1") {
                continue;
            }
            if has("as=Table") {
                return Self::Table(match query.get("includeObject") {
                    Some("None") => Include::None,
                    Some("Object") => Include::Object,
                    _ => Include::Metadata,
                });
            }
            if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
                return Self::Metadata;
            }
        }
        Self::Whole
    }

    /// One object in this form. The columns of a table are told once.
    pub(super) fn one(self, info: &ResourceInfo, object: &Value, with_columns: bool) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => metadata(object),
            Self::Table(include) => {
                let mut table = table(info.kind, &[object], now_s(), (include, with_columns));
                let version = object["metadata"]["resourceVersion"].clone();
                table["metadata"] = json!({"resourceVersion": version});
                table
            }
        }
    }

    fn list(self, info: &ResourceInfo, objects: &[Arc<Value>], about: Value) -> Value {
        match self {
            Self::Whole => json!({
                "kind": info.list_kind(),
                "apiVersion": info.api_version(),
                "metadata": about,
                "items": objects.iter().map(|object| &**object).collect::<Vec<_>>(),
            }),
            Self::Metadata => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": about,
                "items": objects.iter().map(|object| metadata(object)).collect::<Vec<_>>(),
            }),
            Self::Table(include) => {
                let objects: Vec<&Value> = objects.iter().map(|object| &**object).collect();
                let mut table = table(info.kind, &objects, now_s(), (include, true));
                table["metadata"] = about;
                table
            }
        }
    }
}

fn metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn now_s() -> u64 {
    Clock.now().0 / 1000
}

/// What there is of a name in the collection that a path names.
pub(super) async fn named(
    context: &RestContext,
    (asked, name): (&Asked, &str),
) -> Result<Option<Entry>, ApiStatus> {
    let target = &asked.target;
    let key: Key = (target.resource, target.namespace_text().into(), name.to_owned());
    let entry = context.feed.read(|history| history.get(&key).cloned()).await;
    entry.map_err(|error| brain_status(&error))
}

/// What a path names.
pub(super) async fn entry(context: &RestContext, asked: &Asked) -> Result<Entry, ApiStatus> {
    let name = &asked.target.name;
    let found = named(context, (asked, name)).await?;
    found.ok_or_else(|| ApiStatus::not_found(asked.target.info(), name))
}

/// The object that a path names.
pub(super) async fn found(context: &RestContext, asked: &Asked) -> Result<Arc<Value>, ApiStatus> {
    Ok(entry(context, asked).await?.object)
}

/// What a list without pages would show.
pub(super) async fn matching(
    context: &RestContext,
    asked: &Asked,
) -> Result<Vec<(Key, Entry)>, ApiStatus> {
    let filter = Filter::of(&asked.query)?;
    let target = &asked.target;
    let namespace = target.namespace.as_ref().map(|namespace| namespace.as_str());
    let found = context.feed.read(|history| {
        let all = history.list(target.resource, namespace);
        let wanted = all.filter(|(_, entry)| filter.matches(&entry.object));
        wanted.map(|(key, entry)| (key.clone(), entry.clone())).collect()
    });
    found.await.map_err(|error| brain_status(&error))
}

/// The answer to the deletion of a collection: what is gone, or on its way.
pub(super) fn deleted_all(
    info: &ResourceInfo,
    objects: impl Iterator<Item = Arc<Value>>,
) -> Answer {
    let objects: Vec<Arc<Value>> = objects.collect();
    answer::json(200, &Form::Whole.list(info, &objects, json!({})))
}

pub(super) async fn get(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let object = found(context, asked).await?;
    let form = Form::of(&asked.headers, &asked.query);
    Ok(answer::json(200, &form.one(asked.target.info(), &object, true)))
}

/// One page of a list, and where the next begins.
struct Page {
    objects: Vec<Arc<Value>>,
    next: Option<Key>,
    remaining: usize,
    version: u64,
}

/// The objects that a request is about, as far as its caller may see them.
fn page(
    history: &History,
    (asked, filter): (&Asked, &Filter),
    (limit, after): (usize, Option<&Key>),
) -> Page {
    let target = &asked.target;
    let namespace = target.namespace.as_ref().map(|namespace| namespace.as_str());
    let all = history.list(target.resource, namespace);
    let mut page =
        Page { objects: Vec::new(), next: None, remaining: 0, version: history.version() };
    let wanted = all.filter(|(key, entry)| {
        after.is_none_or(|after| *key > after) && filter.matches(&entry.object)
    });
    for (key, entry) in wanted {
        if page.objects.len() < limit {
            page.next = Some(key.clone());
            page.objects.push(Arc::clone(&entry.object));
        } else {
            page.remaining += 1;
        }
    }
    if page.remaining == 0 {
        page.next = None;
    }
    page
}

/// Where a list goes on: the version of its first page, and the last object of the page before.
fn go_on(text: &str, resource: usize) -> Option<(u64, Key)> {
    let mut parts = text.splitn(3, '/');
    let version = parts.next()?.parse().ok()?;
    Some((version, (resource, parts.next()?.into(), parts.next()?.into())))
}

pub(super) async fn list(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let filter = Filter::of(&asked.query)?;
    let form = Form::of(&asked.headers, &asked.query);
    let limit = asked.query.number("limit").map_err(bad)?.filter(|limit| *limit > 0);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let after = match asked.query.get("continue") {
        None => None,
        Some(text) => Some(go_on(text, asked.target.resource).ok_or_else(|| {
            ApiStatus::bad_request("continue: this is no token that a list of Muster gave")
        })?),
    };
    let read = context.feed.read(|history| {
        page(history, (asked, &filter), (limit, after.as_ref().map(|(_, key)| key)))
    });
    let page = read.await.map_err(|error| brain_status(&error))?;
    let version = after.map_or(page.version, |(version, _)| version);
    let mut about = json!({"resourceVersion": version.to_string()});
    if let Some((_, namespace, name)) = &page.next {
        about["continue"] = format!("{version}/{namespace}/{name}").into();
        about["remainingItemCount"] = page.remaining.into();
    }
    let value = form.list(asked.target.info(), &visible(&asked.caller, asked, page.objects), about);
    Ok(answer::json(200, &value))
}

/// Without those namespaces that a caller may not know of.
fn visible(caller: &Caller, asked: &Asked, objects: Vec<Arc<Value>>) -> Vec<Arc<Value>> {
    if asked.target.source() != Source::Namespaces {
        return objects;
    }
    let may = |object: &Arc<Value>| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = muster_model::Namespace::new(name).ok();
        caller.require(muster_model::AccessRole::Viewer, namespace.as_ref(), "get").is_ok()
    };
    objects.into_iter().filter(may).collect()
}

/// The version that a watch begins behind; `None`: with everything that there is.
pub(super) fn since(query: &Query) -> Result<Option<u64>, ApiStatus> {
    let version = query.number("resourceVersion").map_err(bad)?;
    Ok(version.filter(|version| *version > 0))
}
