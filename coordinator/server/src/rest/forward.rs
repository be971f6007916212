//! Requests that come to a member that does not lead go on to the one that does, and its answers come back: clients
//! know one address.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use muster_apimachinery::ApiStatus;
use muster_proto::v1 as wire;
use muster_service::{OnEnd, OnStop, TaskKind};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::answer::{self, Answer};
use super::serve::{Received, RestContext, respond};
use crate::access::Caller;
use crate::brain::BrainError;

/// How many pieces of an answer may be on their way.
const OUTBOUND: usize = 64;

/// What of a request's head the leader needs.
const TOLD: [HeaderName; 2] = [header::ACCEPT, header::CONTENT_TYPE];

const FORWARD: TaskKind =
    TaskKind { name: "rest-forward", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// Where the leader is, when that is another member.
pub(super) fn leader(context: &RestContext) -> Option<String> {
    match context.brain.led_by_another()? {
        BrainError::NotLeader { address, .. } => address,
        _ => None,
    }
}

/// Asks the leader.
pub(super) async fn to_leader(
    context: &RestContext,
    address: &str,
    received: Received,
) -> Result<Answer, ApiStatus> {
    let unreachable = |why: &dyn std::fmt::Display| {
        ApiStatus::unavailable(format!("the leader at {address} cannot be reached: {why}"), 1)
    };
    let user = match &received.caller {
        Caller::Owner => String::new(),
        Caller::User { name, .. } => name.clone(),
        other => return Err(ApiStatus::bad_request(format!("{other} has no business here"))),
    };
    let text = |name: &HeaderName| {
        let value = received.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    let request = wire::ForwardRequest {
        user,
        method: received.method.to_string(),
        path: received.target.clone(),
        headers: TOLD.iter().filter_map(text).collect(),
        body: received.bytes,
    };
    let mut client = context.dial.client(address).map_err(|error| unreachable(&error))?;
    let answers = client.forward(request).await.map_err(|status| unreachable(&status.message()))?;
    let mut answers = answers.into_inner();
    let first = answers.message().await.map_err(|status| unreachable(&status.message()))?;
    let head = first.and_then(|first| first.head).ok_or_else(|| unreachable(&"it said nothing"))?;
    // One that breaks off ends, as it would if the connection were the leader's own.
    let pieces =
        answers.map_while(Result::ok).map(|answer| Ok::<_, Infallible>(Bytes::from(answer.body)));
    let mut answer = Response::new(Body::from_stream(pieces));
    let status = u16::try_from(head.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
    *answer.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    for one in head.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(one.name), HeaderValue::from_bytes(&one.value))
        {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// Answers another member's client.
///
/// # Errors
/// When the request makes no sense.
pub(crate) async fn forwarded(
    context: &RestContext,
    request: wire::ForwardRequest,
) -> Result<ReceiverStream<Result<wire::ForwardAnswer, Status>>, Status> {
    let invalid = |_| Status::invalid_argument("this is no request");
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let name = HeaderName::try_from(name).map_err(|_| invalid(()))?;
        headers.insert(name, HeaderValue::try_from(value).map_err(|_| invalid(()))?);
    }
    let received = Received {
        caller: context.guard.vouched(&request.user),
        method: Method::try_from(&*request.method).map_err(|_| invalid(()))?,
        target: request.path,
        headers,
        bytes: request.body,
        is_forwarded: true,
    };
    let answer = respond(context, received).await;
    let answer = answer.unwrap_or_else(|status| answer::refusal(&status));
    let (parts, body) = answer.into_parts();
    let headers = parts.headers.iter().map(|(name, value)| wire::ForwardHeader {
        name: name.to_string(),
        value: value.as_bytes().to_vec(),
    });
    let head =
        wire::ForwardHead { status: parts.status.as_u16().into(), headers: headers.collect() };
    let (answers, stream) = mpsc::channel(OUTBOUND);
    context.tasks.spawn(FORWARD, async move {
        let first = wire::ForwardAnswer { head: Some(head), body: Bytes::new().into() };
        let mut pieces = body.into_data_stream();
        if answers.send(Ok(first)).await.is_err() {
            return Ok::<(), Infallible>(());
        }
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = answers.closed() => return Ok(()),
            };
            let Some(Ok(piece)) = piece else { return Ok(()) };
            let next = wire::ForwardAnswer { head: None, body: piece.into() };
            if answers.send(Ok(next)).await.is_err() {
                return Ok(());
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}
