//! The leader's clock: the only place in the coordinator that reads the time for the state.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_model::Timestamp;

/// Reads the system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock;

impl Clock {
    /// Now. A clock before 1970 reads as 1970; the state never goes back in any case.
    pub(crate) fn now(self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
