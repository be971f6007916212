//! What comes in: JSON, YAML or protobuf, up to a limit.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use muster_apimachinery::{ApiStatus, StatusReason, decode_protobuf};
use muster_kinds::parse_documents;
use serde_json::Value;
use tokio_stream::StreamExt;

/// The largest body. `kube-apiserver` takes as much.
const MOST: usize = 3 * 1024 * 1024;
/// So much of a body that is too large is still taken, so that the client hears why it was refused.
const HEARD: usize = 64 * 1024 * 1024;

/// The bytes of a body.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, ApiStatus> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            ApiStatus::bad_request(format!("the request's body cannot be read: {error}"))
        })?;
        length += piece.len();
        if length <= MOST {
            bytes.extend_from_slice(&piece);
        } else if length > HEARD {
            break;
        }
    }
    if length > MOST {
        let message = format!("Request entity too large: limit is {MOST}");
        return Err(ApiStatus::new(StatusReason::RequestEntityTooLarge, message));
    }
    Ok(bytes)
}

/// The media type of a body, without its parameters; JSON where none is given, as some clients send none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|given| given.split(';').next()).unwrap_or_default().trim();
    if essence.is_empty() { "application/json".into() } else { essence.to_ascii_lowercase() }
}

/// An object. An empty body is none.
pub(super) fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, ApiStatus> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let kind = media_type(headers);
    match &*kind {
        // Python's client says so with deletions that have a body.
        "application/json" | "*/*" => json(bytes),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => decode_protobuf(bytes).map_err(|error| {
            ApiStatus::bad_request(format!("the body cannot be decoded: {error}"))
        }),
        other => Err(unsupported(
            other,
            &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"],
        )),
    }
}

/// JSON of a patch or an object.
pub(super) fn json(bytes: &[u8]) -> Result<Value, ApiStatus> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiStatus::bad_request(format!("the body is no JSON: {error}")))
}

/// One document in YAML, of which JSON is a part.
pub(super) fn yaml(bytes: &[u8]) -> Result<Value, ApiStatus> {
    let mut documents = parse_documents(bytes)
        .map_err(|error| ApiStatus::bad_request(format!("the body is no YAML: {error}")))?;
    match documents.len() {
        1 => Ok(documents.remove(0).value),
        many => Err(ApiStatus::bad_request(format!(
            "the body must be one YAML document, and it has {many}"
        ))),
    }
}

/// A content type that is not read.
pub(super) fn unsupported(found: &str, accepted: &[&str]) -> ApiStatus {
    let message = format!(
        "the body of the request was in an unknown format ({found}) - accepted media types include: {}",
        accepted.join(", ")
    );
    ApiStatus::new(StatusReason::UnsupportedMediaType, message)
}
