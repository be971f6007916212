//! Readiness as a set of latches: a part takes a latch when it is made and drops it when it has
//! come up; the daemon is ready once none is held. The idea is linkerd2-proxy's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether a daemon is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    held: Arc<AtomicUsize>,
}

/// Holds the daemon back from being ready until it is dropped.
#[derive(Debug)]
pub struct Latch {
    held: Arc<AtomicUsize>,
}

impl Readiness {
    /// Takes a latch.
    #[must_use]
    pub fn latch(&self) -> Latch {
        self.held.fetch_add(1, Ordering::AcqRel);
        Latch { held: Arc::clone(&self.held) }
    }

    /// Whether no latch is held.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.held.load(Ordering::Acquire) == 0
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_latch_is_dropped() {
        let readiness = Readiness::default();
        let (store, brain) = (readiness.latch(), readiness.latch());
        assert!(!readiness.is_ready());
        drop(store);
        assert!(!readiness.is_ready());
        drop(brain);
        assert!(readiness.is_ready());
    }
}
