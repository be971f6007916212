//! From refusals to gRPC statuses. There is one place for this.

use muster_model::Reason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::brain::BrainError;

/// The metadata key that carries the stable error code, such as `M1004`.
const CODE: &str = "muster-code";
/// The metadata key that carries the leader's HOST:PORT, when this member does not lead and knows who does.
const LEADER: &str = "muster-leader";

/// The status that a client gets.
pub(crate) fn status_of(error: &BrainError) -> Status {
    let (grpc, code) = match error {
        BrainError::Rejected(reason) => (grpc_code(reason), reason.code().0),
        BrainError::NotLeader { .. } => (Code::Unavailable, "M2001"),
        BrainError::Overloaded => (Code::ResourceExhausted, "M2005"),
        BrainError::DiskFull { .. } => (Code::ResourceExhausted, "M4001"),
        BrainError::Stopping => (Code::Unavailable, "M2006"),
    };
    let mut status = with_code(grpc, code, error.to_string());
    if let BrainError::NotLeader { address: Some(address), .. } = error
        && let Ok(value) = address.parse()
    {
        status.metadata_mut().insert(LEADER, value);
    }
    status
}

/// The leader's HOST:PORT, as another member told it in refusing.
pub(crate) fn leader_of(status: &Status) -> Option<String> {
    let value = status.metadata().get(LEADER)?;
    value.to_str().ok().map(ToOwned::to_owned)
}

/// A status with a stable error code.
pub(crate) fn with_code(grpc: Code, code: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(grpc, message);
    status.metadata_mut().insert(CODE, MetadataValue::from_static(code));
    status
}

fn grpc_code(reason: &Reason) -> Code {
    match reason {
        Reason::Invalid { .. } => Code::InvalidArgument,
        Reason::TokenRefused { .. } => Code::PermissionDenied,
        Reason::AlreadyExists { .. }
        | Reason::TokenExists { .. }
        | Reason::ObjectExists { .. }
        | Reason::NodeNameTaken { .. } => Code::AlreadyExists,
        Reason::JobNotFound { .. }
        | Reason::NodeNotFound { .. }
        | Reason::TaintNotFound { .. }
        | Reason::TokenNotFound { .. }
        | Reason::ObjectNotFound { .. }
        | Reason::MemberNotFound { .. } => Code::NotFound,
        Reason::StalePlan { .. } | Reason::Conflict { .. } => Code::Aborted,
        Reason::TooLarge { .. } | Reason::TooManyTokens { .. } => Code::ResourceExhausted,
        Reason::Immutable { .. }
        | Reason::BeingDeleted { .. }
        | Reason::Finished { .. }
        | Reason::NodeInUse { .. }
        | Reason::NodeNotCordoned { .. }
        | Reason::NotToRestart { .. }
        | Reason::NodeHasOther { .. }
        | Reason::MemberAddressTaken { .. }
        | Reason::TooManyMembers { .. }
        | Reason::LastMember { .. } => Code::FailedPrecondition,
    }
}
