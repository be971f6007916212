//! Refusals as `Status` objects (`k8s.io/apimachinery/pkg/api/errors`). Client libraries branch on the reason and the
//! code, and people read the message, so that the wording is the upstream one where clients compare it.

use serde_json::{Map, Value, json};

use crate::resource::ResourceInfo;

/// Why, as clients know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusReason {
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 406.
    NotAcceptable,
    /// 409, on creation.
    AlreadyExists,
    /// 409, on update.
    Conflict,
    /// 410.
    Expired,
    /// 413.
    RequestEntityTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    Invalid,
    /// 429.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    ServiceUnavailable,
    /// 504.
    Timeout,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What kind of wrong, such as `FieldValueInvalid`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Where: a field path.
    pub field: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiStatus {
    /// Why.
    pub reason: StatusReason,
    /// A sentence.
    pub message: String,
    /// What it is about.
    pub details: Box<Details>,
    /// After how many seconds the client shall try again by itself.
    pub retry_after: Option<u32>,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// The object's name, where there is one.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The resource; the kind in one about what is invalid.
    pub kind: String,
    /// What is wrong, in its parts.
    pub causes: Vec<Cause>,
}

impl StatusReason {
    /// The HTTP status code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The name that clients compare.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }
}

impl ApiStatus {
    /// A refusal with nothing but a sentence.
    #[must_use]
    pub fn new(reason: StatusReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: Box::default(), retry_after: None }
    }

    /// Says which object it is about.
    #[must_use]
    pub fn about(mut self, resource: &ResourceInfo, name: &str) -> Self {
        resource.group.clone_into(&mut self.details.group);
        resource.plural.clone_into(&mut self.details.kind);
        name.clone_into(&mut self.details.name);
        self
    }

    /// The request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusReason::BadRequest, message)
    }

    /// There is no such object.
    #[must_use]
    pub fn not_found(resource: &ResourceInfo, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(StatusReason::NotFound, message).about(resource, name)
    }

    /// There is no such path. The wording is what `kubectl` shows for a type that the server does not have.
    #[must_use]
    pub fn no_such_resource() -> Self {
        Self::new(StatusReason::NotFound, "the server could not find the requested resource")
    }

    /// There is one already.
    #[must_use]
    pub fn already_exists(resource: &ResourceInfo, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(StatusReason::AlreadyExists, message).about(resource, name)
    }

    /// It was changed since.
    #[must_use]
    pub fn conflict(resource: &ResourceInfo, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(StatusReason::Conflict, message).about(resource, name)
    }

    /// It was changed since it was read.
    #[must_use]
    pub fn modified(resource: &ResourceInfo, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// The object is not valid; `causes` say all of why.
    #[must_use]
    pub fn invalid(resource: &ResourceInfo, name: &str, causes: Vec<Cause>) -> Self {
        let listed: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let listed = match &listed[..] {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {listed}", resource.qualified_kind());
        let mut status = Self::new(StatusReason::Invalid, message).about(resource, name);
        resource.kind.clone_into(&mut status.details.kind);
        status.details.causes = causes;
        status
    }

    /// What was there is not kept any more.
    #[must_use]
    pub fn expired(wanted: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {wanted} ({oldest})");
        Self::new(StatusReason::Expired, message)
    }

    /// Try again by yourself.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_after: u32) -> Self {
        let mut status = Self::new(StatusReason::ServiceUnavailable, message);
        status.retry_after = Some(retry_after);
        status
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// The object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut details = Map::new();
        let texts = [
            ("name", &self.details.name),
            ("group", &self.details.group),
            ("kind", &self.details.kind),
        ];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            details.insert(field.into(), text.as_str().into());
        }
        if !self.details.causes.is_empty() {
            let causes = self.details.causes.iter().map(|cause| {
                json!({"reason": cause.reason, "message": cause.message, "field": cause.field})
            });
            details.insert("causes".into(), causes.collect());
        }
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.name(),
        });
        if !details.is_empty() {
            status["details"] = details.into();
        }
        status["code"] = self.code().into();
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: ResourceInfo = ResourceInfo {
        group: "kubeflow.org",
        version: "v1",
        plural: "pytorchjobs",
        singular: "pytorchjob",
        kind: "PyTorchJob",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: &[],
        subresources: &[],
        is_builtin: false,
    };

    #[test]
    fn what_is_missing_is_said_as_kubernetes_says_it() {
        let status = ApiStatus::not_found(&JOBS, "nope").to_value();
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pytorchjobs.kubeflow.org \"nope\" not found", "reason": "NotFound",
            "details": {"name": "nope", "group": "kubeflow.org", "kind": "pytorchjobs"}, "code": 404,
        });
        assert_eq!(status, expected);
    }

    #[test]
    fn what_is_invalid_names_the_kind_and_all_causes() {
        let cause = |field: &str| Cause {
            reason: "FieldValueInvalid".into(),
            message: "Invalid value: -1".into(),
            field: field.into(),
        };
        let one = ApiStatus::invalid(&JOBS, "b", vec![cause("spec.a")]);
        assert_eq!(
            one.message,
            "PyTorchJob.kubeflow.org \"b\" is invalid: spec.a: Invalid value: -1"
        );
        let two = ApiStatus::invalid(&JOBS, "b", vec![cause("spec.a"), cause("spec.b")]);
        assert!(two.message.ends_with("[spec.a: Invalid value: -1, spec.b: Invalid value: -1]"));
        assert_eq!(two.to_value()["details"]["causes"].as_array().map(Vec::len), Some(2));
        assert_eq!(two.to_value()["details"]["kind"], "PyTorchJob");
    }
}
