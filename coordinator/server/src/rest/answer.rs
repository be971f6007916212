//! What goes back: JSON, tables, and refusals as `Status` objects.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use muster_apimachinery::{ApiStatus, ResourceInfo, StatusReason};
use serde_json::Value;

use crate::brain::BrainError;

/// An answer.
pub(super) type Answer = Response<Body>;

/// JSON with a status code.
pub(super) fn json(code: u16, value: &Value) -> Answer {
    bytes(code, "application/json", value.to_string().into_bytes())
}

/// What says that an object is gone, or on its way.
pub(super) fn deleted(info: &ResourceInfo, name: &str, uid: &str) -> Value {
    serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": info.group, "kind": info.plural, "uid": uid},
    })
}

/// Bytes of some type.
pub(super) fn bytes(code: u16, kind: &'static str, bytes: Vec<u8>) -> Answer {
    let mut answer = Response::new(Body::from(bytes));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A refusal.
pub(super) fn refusal(status: &ApiStatus) -> Answer {
    let mut answer = json(status.code(), &status.to_value());
    if let Some(seconds) = status.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status.reason == StatusReason::Unauthorized {
        let asks = HeaderValue::from_static("Bearer realm=\"muster\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
    }
    answer
}

/// Adds what the caller should know (RFC 9111 calls 299 "miscellaneous persistent warning"; `kubectl` prints it).
pub(super) fn warn(answer: &mut Answer, warnings: &[String]) {
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

/// What the brain would not do. Clients try again by themselves where that may help.
pub(super) fn brain_status(error: &BrainError) -> ApiStatus {
    match error {
        BrainError::Rejected(reason) => ApiStatus::new(StatusReason::Conflict, reason.to_string()),
        BrainError::Overloaded | BrainError::DiskFull(_) => {
            let mut status = ApiStatus::new(StatusReason::TooManyRequests, error.to_string());
            status.retry_after = Some(1);
            status
        }
        BrainError::NotLeader { .. } | BrainError::Stopping => {
            ApiStatus::unavailable(error.to_string(), 1)
        }
    }
}
