//! The scheduler's numbers.

use muster_model::Millis;

/// How gangs are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A gang that has waited this long is no longer overtaken by younger ones, even by such that would fit,
    /// so that a large gang is not starved by a stream of small ones.
    pub patience: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self { patience: Millis::from_secs(300) }
    }
}
