//! Watches: one JSON document per line, for as long as the client listens.
//!
//! A watcher has a place in the history and no queue of its own: one that is too slow finds that its place is not kept any
//! more, is told so (410), and lists again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use muster_apimachinery::{ApiStatus, Cause, StatusReason};
use muster_service::{OnEnd, OnStop, TaskKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, brain_status};
use super::history::Change;
use super::read::{Filter, Form, bad, since};
use super::serve::{Asked, RestContext};

/// How many events may be on their way to a watcher before it has to keep up.
const OUTBOUND: usize = 32;
/// How many changes are looked at together.
const BATCH: usize = 64;
/// How long a watch lasts when the client does not say.
const LASTS: Duration = Duration::from_secs(3600);
/// How often a client that wants bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_secs(60);

const WATCH: TaskKind = TaskKind { name: "rest-watch", on_stop: OnStop::Abort, on_end: OnEnd::Log };

struct Watch {
    context: RestContext,
    asked: Asked,
    filter: Filter,
    form: Form,
    /// Whether the columns of a table were told.
    told_columns: bool,
    bookmarks: bool,
    /// Everything up to here was sent.
    version: u64,
    events: mpsc::Sender<Bytes>,
}

/// Nobody listens any more.
struct Gone;

pub(super) async fn watch(context: &RestContext, asked: Asked) -> Result<Answer, ApiStatus> {
    let query = &asked.query;
    let initial = query.flag("sendInitialEvents");
    let bookmarks = query.flag("allowWatchBookmarks");
    if initial && (!bookmarks || query.get("resourceVersionMatch") != Some("NotOlderThan")) {
        return Err(ApiStatus::bad_request(
            "sendInitialEvents needs resourceVersionMatch=NotOlderThan and allowWatchBookmarks=true",
        ));
    }
    let since = since(query)?;
    let filter = Filter::of(query)?;
    let lasts = query.number("timeoutSeconds").map_err(bad)?.filter(|seconds| *seconds > 0);
    let lasts = lasts.map_or(LASTS, Duration::from_secs).min(LASTS);
    let form = Form::of(&asked.headers, query);
    // What a watch begins with is as new as a list.
    let now = context.feed.read(|history| history.version()).await;
    let now = now.map_err(|error| brain_status(&error))?;
    if let Some(since) = since.filter(|since| *since > now) {
        return Err(too_new(since, now));
    }
    let (events, stream) = mpsc::channel(OUTBOUND);
    let replays = since.is_none() || initial;
    let watch = Watch {
        context: context.clone(),
        asked,
        filter,
        form,
        told_columns: false,
        bookmarks,
        version: since.unwrap_or(now),
        events,
    };
    let follower = context.hub.follow();
    context.tasks.spawn(WATCH, async move {
        let _follower = follower;
        let end = Instant::now() + lasts;
        let _ = watch.run((replays, initial), end).await;
        Ok::<(), Infallible>(())
    });
    let lines = ReceiverStream::new(stream).map(Ok::<_, Infallible>);
    let mut answer = Response::new(Body::from_stream(lines));
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

/// A version that is not there yet. Clients know it by its cause.
fn too_new(wanted: u64, now: u64) -> ApiStatus {
    let message = format!("Too large resource version: {wanted}, current: {now}");
    let mut status = ApiStatus::new(StatusReason::Timeout, message.clone());
    status.details.causes =
        vec![Cause { reason: "ResourceVersionTooLarge".into(), message, field: String::new() }];
    status.retry_after = Some(1);
    status
}

impl Watch {
    async fn run(mut self, (replays, initial): (bool, bool), end: Instant) -> Result<(), Gone> {
        let mut moved = self.context.feed.moved();
        if replays {
            self.replay().await?;
        }
        if initial {
            self.bookmark(true).await?;
        }
        let mut next_bookmark = Instant::now() + BOOKMARKS;
        loop {
            moved.borrow_and_update();
            let (resource, version) = (self.asked.target.resource, self.version);
            let found = self.context.feed.peek(|history| history.since(resource, version, BATCH));
            let (changes, reached) = match found {
                Some(Ok(found)) => found,
                Some(Err(status)) => return self.error(&status).await,
                // Another member leads now.
                None => return Ok(()),
            };
            for change in &changes {
                self.tell(change).await?;
            }
            self.version = reached;
            if changes.len() == BATCH {
                continue;
            }
            tokio::select! {
                changed = moved.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(end) => {
                    return if self.bookmarks { self.bookmark(false).await } else { Ok(()) };
                }
                () = tokio::time::sleep_until(next_bookmark), if self.bookmarks => {
                    self.bookmark(false).await?;
                    next_bookmark = Instant::now() + BOOKMARKS;
                }
                () = self.events.closed() => return Err(Gone),
            }
        }
    }

    /// Everything that there is, the oldest change first, so that a client can go on behind any of it.
    async fn replay(&mut self) -> Result<(), Gone> {
        let target = &self.asked.target;
        let namespace = target.namespace.as_ref().map(|namespace| namespace.as_str());
        let found = self.context.feed.peek(|history| {
            let entries = history.list(target.resource, namespace);
            let wanted = entries.filter(|(_, entry)| self.wants(&entry.object));
            let mut found: Vec<(u64, Arc<Value>)> =
                wanted.map(|(_, entry)| (entry.version, Arc::clone(&entry.object))).collect();
            found.sort_by_key(|(version, _)| *version);
            (found, history.version())
        });
        let Some((found, version)) = found else { return Err(Gone) };
        for (_, object) in found {
            self.event("ADDED", &object).await?;
        }
        self.version = version;
        Ok(())
    }

    fn wants(&self, object: &Value) -> bool {
        let namespace = self.asked.target.namespace.as_ref();
        let is_there = namespace.is_none_or(|one| object["metadata"]["namespace"] == one.as_str());
        is_there && self.filter.matches(object)
    }

    /// A change, as it looks through the selectors: what does not match any more is gone.
    async fn tell(&mut self, change: &Change) -> Result<(), Gone> {
        let was = change.before.as_ref().is_some_and(|before| self.wants(before));
        let is = !change.gone && self.wants(&change.object);
        let kind = match (was, is) {
            (false, false) => return Ok(()),
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        self.event(kind, &change.object).await
    }

    async fn event(&mut self, kind: &str, object: &Value) -> Result<(), Gone> {
        let object = self.form.one(self.asked.target.info(), object, !self.told_columns);
        self.told_columns = true;
        self.send(&json!({"type": kind, "object": object})).await
    }

    async fn bookmark(&mut self, ends_initial: bool) -> Result<(), Gone> {
        let info = self.asked.target.info();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object =
            json!({"kind": info.kind, "apiVersion": info.api_version(), "metadata": metadata});
        let object = match self.form {
            Form::Whole => object,
            form => form.one(info, &object, false),
        };
        self.send(&json!({"type": "BOOKMARK", "object": object})).await
    }

    async fn error(&self, status: &ApiStatus) -> Result<(), Gone> {
        self.send(&json!({"type": "ERROR", "object": status.to_value()})).await
    }

    async fn send(&self, event: &Value) -> Result<(), Gone> {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        self.events.send(line.into()).await.map_err(|_| Gone)
    }
}
