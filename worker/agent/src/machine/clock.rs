//! The clock by which replicas are stopped: it goes on while the machine sleeps, and is the same for all processes of a boot.

use muster_model::Millis;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine was booted (`CLOCK_BOOTTIME`, clock_gettime(2)).
#[must_use]
pub(crate) fn since_boot() -> Millis {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Millis(seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000)
}
