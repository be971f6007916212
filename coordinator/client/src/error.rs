//! What can go wrong between a client and a coordinator.

use thiserror::Error;
use tonic::{Code, Status};

/// Why a call did not succeed.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The coordinator cannot be reached, or went away.
    #[error("no coordinator answers at {address}: {why}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the transport said.
        why: String,
    },
    /// The coordinator refused.
    #[error("{message}")]
    Refused {
        /// The stable code, such as `M1004`, if there is one.
        code: Option<String>,
        /// The kind of refusal.
        kind: Code,
        /// What is wrong and what to do.
        message: String,
        /// HOST:PORT of the member that leads, when the one that was asked does not and knows who does.
        leader: Option<String>,
    },
    /// The address is no address.
    #[error("{address:?} is no address of a coordinator; write it as http://HOST:PORT")]
    Address {
        /// What was given.
        address: String,
    },
    /// TLS is spoken there, and nothing says whom to believe.
    #[error(
        "{address} speaks TLS, and nothing here says whom to believe there: log in with `muster login`, or name a user \
         token with --token-file"
    )]
    NoAuthority {
        /// What was given.
        address: String,
    },
    /// The credential is for TLS, and the address is not.
    #[error(
        "{address} would be spoken to in the clear, and the token or certificate is for TLS; write it as https://HOST:PORT"
    )]
    Tls {
        /// What was given.
        address: String,
    },
}

impl Error {
    pub(crate) fn of(status: &Status, address: &str) -> Self {
        let code = status.metadata().get("muster-code").and_then(|value| value.to_str().ok());
        let from_transport = code.is_none()
            && matches!(status.code(), Code::Unavailable | Code::Unknown)
            && std::error::Error::source(status).is_some();
        if from_transport {
            return Self::Unreachable { address: address.to_owned(), why: deepest(status) };
        }
        let leader = status.metadata().get("muster-leader").and_then(|value| value.to_str().ok());
        Self::Refused {
            code: code.map(ToOwned::to_owned),
            kind: status.code(),
            message: status.message().to_owned(),
            leader: leader.map(ToOwned::to_owned),
        }
    }

    /// The member that leads, if the one that was asked has told it.
    pub(crate) fn leader(&self) -> Option<&str> {
        match self {
            Self::Refused { leader, .. } => leader.as_deref(),
            _ => None,
        }
    }

    /// Whether another member may do better: this one does not answer, stops, or knows no leader.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { kind, .. } => *kind == Code::Unavailable,
            Self::Address { .. } | Self::NoAuthority { .. } | Self::Tls { .. } => false,
        }
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { kind, .. } => matches!(kind, Code::Unavailable | Code::Aborted),
            Self::Address { .. } | Self::NoAuthority { .. } | Self::Tls { .. } => false,
        }
    }

    /// The stable code, such as `M1004`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            Self::Unreachable { .. } => Some("M5001"),
            Self::Address { .. } | Self::NoAuthority { .. } | Self::Tls { .. } => Some("M5002"),
        }
    }

    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { kind: Code::NotFound, .. })
    }
}

/// The innermost cause, which says what really happened.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut innermost = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        innermost = error.to_string();
        source = error.source();
    }
    innermost
}
