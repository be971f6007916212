//! A broken promise.

use std::fmt;

/// A promise that was not kept, where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) promise: &'static str,
    pub(crate) detail: String,
}

impl Violation {
    pub(crate) fn safety(promise: &'static str, detail: impl Into<String>) -> Self {
        Self { promise, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' does not hold: {}", self.promise, self.detail)
    }
}

/// Fails unless the promise holds.
pub(crate) fn demand(
    holds: bool,
    promise: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { promise, detail: detail() }) }
}
