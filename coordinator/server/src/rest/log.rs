//! `pods/log`.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use muster_apimachinery::{ApiStatus, Query, StatusReason};
use muster_model::{NodeId, ReplicaPhase, Timestamp};
use muster_proto::v1::LogLine;
use muster_service::{OnEnd, OnStop, TaskKind};
use muster_state::State;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, brain_status};
use super::read::{bad, entry};
use super::serve::{Asked, RestContext};
use super::write::uid;
use crate::clock::Clock;
use crate::logs::{LogReader, LogRequest};

/// How many pieces may be on their way before the agent has to wait.
const OUTBOUND: usize = 64;

const LOG: TaskKind = TaskKind { name: "rest-log", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// What of a log is wanted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    timestamps: bool,
    /// Lines before this are left out, in nanoseconds since the Unix epoch.
    since_ns: u64,
    /// So many bytes at most.
    limit: Option<u64>,
    /// The containers that it is not about. Their lines are in the same log.
    others: Vec<String>,
}

/// A log that can be read.
struct Place {
    job_uid: String,
    replica: String,
    generation: u32,
    node: NodeId,
    ordered: bool,
    containers: Vec<String>,
}

pub(super) async fn log(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let (query, name) = (&asked.query, &asked.target.name);
    let mut options = Options::of(query)?;
    let tail = query.number("tailLines").map_err(bad)?;
    let entry = entry(context, asked).await?;
    let uid = uid(&entry.object).to_owned();
    let replica = entry.replica;
    let place = context.brain.read(move |state| place(state, replica, &uid)).await;
    let place = place.map_err(|error| brain_status(&error))?;
    let containers: Vec<&str> = entry.object["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let first = containers.first().copied().unwrap_or("main").to_owned();
    let container = query.get("container").unwrap_or(&first);
    let waiting = |why: &str| {
        ApiStatus::bad_request(format!(
            "container {container:?} in pod {name:?} is waiting to start: {why}"
        ))
    };
    let place = place.ok_or_else(|| waiting("the pod has no place yet"))?;
    if !place.containers.iter().any(|known| known == container) {
        return Err(ApiStatus::bad_request(format!(
            "container {container} is not valid for pod {name}; it has: {}",
            place.containers.join(", ")
        )));
    }
    options.others = place.containers.iter().filter(|one| *one != container).cloned().collect();
    let generation = if query.flag("previous") {
        place.generation.checked_sub(1).filter(|generation| *generation > 0).ok_or_else(|| {
            ApiStatus::bad_request(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            ))
        })?
    } else if place.ordered {
        place.generation
    } else {
        return Err(waiting("ContainerCreating"));
    };
    let follow = query.flag("follow");
    let request =
        LogRequest { job_uid: place.job_uid, replica: place.replica, generation, follow, tail };
    let mut reader = context.logs.open(Some(place.node), request);
    // The first lines say whether there is a log at all.
    let first = reader.next().await.map_err(|error| ApiStatus {
        // Clients would try again for long, and the node may never come back: only whoever follows waits.
        retry_after: follow.then_some(1),
        ..ApiStatus::new(
            StatusReason::ServiceUnavailable,
            format!("the log of pod {name:?} cannot be read: {error}"),
        )
    })?;
    let (pieces, stream) = mpsc::channel(OUTBOUND);
    context.tasks.spawn(LOG, async move {
        send(first, reader, (options, pieces)).await;
        Ok::<(), Infallible>(())
    });
    let mut answer =
        Response::new(Body::from_stream(ReceiverStream::new(stream).map(Ok::<_, Infallible>)));
    let kind = HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

fn place(state: &State, replica: Option<muster_model::ReplicaId>, uid: &str) -> Option<Place> {
    // A job that is a pod has one replica.
    let replica = replica.or_else(|| {
        let job = state.job_by_uid(&muster_model::Uid(uid.to_owned()))?;
        state.replicas_of(job).next().map(|(id, _)| id)
    })?;
    let (job, record) = (state.job(replica.job)?, state.replica(replica)?);
    let pod = &job.gang.role(record.role).pod;
    let all = pod.init_containers.iter().chain(&pod.containers);
    Some(Place {
        job_uid: job.uid.to_string(),
        replica: job.gang.rank_name(replica.rank),
        generation: record.fence.generation.0,
        node: record.node,
        ordered: !matches!(record.phase, ReplicaPhase::Assigned),
        containers: all.map(|container| container.name.clone()).collect(),
    })
}

async fn send(
    mut lines: Option<Vec<LogLine>>,
    mut reader: LogReader,
    (options, pieces): (Options, mpsc::Sender<Bytes>),
) {
    let mut left = options.limit.unwrap_or(u64::MAX);
    while let Some(batch) = lines {
        let mut text = Vec::new();
        batch.iter().for_each(|line| options.write(line, &mut text));
        let fits = usize::try_from(left).unwrap_or(usize::MAX);
        text.truncate(fits);
        left -= text.len() as u64;
        if !text.is_empty() && pieces.send(text.into()).await.is_err() {
            return;
        }
        if left == 0 {
            return;
        }
        let next = tokio::select! {
            next = reader.next() => next,
            () = pieces.closed() => return,
        };
        // One that breaks off ends, as a container's log does when its node goes away; clients ask again.
        lines = next.unwrap_or_default();
    }
}

impl Options {
    fn of(query: &Query) -> Result<Self, ApiStatus> {
        let now_ns = Clock.now().0.saturating_mul(1_000_000);
        let seconds = query.number("sinceSeconds").map_err(bad)?;
        let by_span =
            seconds.map(|seconds| now_ns.saturating_sub(seconds.saturating_mul(1_000_000_000)));
        let by_time = match query.get("sinceTime") {
            None => None,
            Some(text) => Some(time_ns(text).ok_or_else(|| {
                ApiStatus::bad_request(format!(
                    "sinceTime must be a time such as 2026-11-23T09:35:06Z, and {text:?} is none"
                ))
            })?),
        };
        if by_span.is_some() && by_time.is_some() {
            let message = "at most one of sinceTime or sinceSeconds may be specified";
            return Err(ApiStatus::bad_request(message));
        }
        Ok(Self {
            timestamps: query.flag("timestamps"),
            since_ns: by_span.or(by_time).unwrap_or(0),
            limit: query.number("limitBytes").map_err(bad)?,
            others: Vec::new(),
        })
    }

    fn write(&self, line: &LogLine, text: &mut Vec<u8>) {
        if line.time_ns < self.since_ns || self.others.contains(&line.source) {
            return;
        }
        if self.timestamps {
            let whole = muster_kinds::rfc3339(Timestamp(line.time_ns / 1_000_000));
            let seconds = whole.trim_end_matches('Z');
            let fraction = line.time_ns % 1_000_000_000;
            text.extend_from_slice(format!("{seconds}.{fraction:09}Z ").as_bytes());
        }
        text.extend_from_slice(&line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
}

/// A time of RFC 3339 in nanoseconds since the Unix epoch.
fn time_ns(text: &str) -> Option<u64> {
    let seconds = muster_apimachinery::parse_time(text)?;
    seconds.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_asked_for() {
        let line = |time_ns, text: &str, source: &str| LogLine {
            time_ns,
            text: text.as_bytes().to_vec().into(),
            source: source.into(),
            ..LogLine::default()
        };
        let second = 1_700_000_000_000_000_000;
        let lines = [
            line(second - 1, "early", ""),
            line(second, "setup", "init"),
            line(second + 5, "rank", "1"),
            LogLine { partial: true, ..line(second + 6, "half ", "") },
            line(second + 7, "whole", ""),
        ];
        let options = Options {
            timestamps: false,
            since_ns: second,
            limit: None,
            others: vec!["init".into()],
        };
        let written = |options: &Options| {
            let mut text = Vec::new();
            lines.iter().for_each(|line| options.write(line, &mut text));
            String::from_utf8(text).unwrap()
        };
        assert_eq!(written(&options), "rank\nhalf whole\n");
        let dated = Options { timestamps: true, others: Vec::new(), ..options };
        assert!(
            written(&dated).starts_with(
                "2023-11-14T22:13:20.000000000Z setup\n2023-11-14T22:13:20.000000005Z rank\n"
            ),
            "{}",
            written(&dated)
        );
    }
}
