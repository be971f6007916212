//! The numbers that decide() judges by. They belong to the leader: because only it decides, two
//! versions of the program may differ in them.

use muster_model::Millis;

/// How failures are judged and how long things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Without an explicit `backoffLimit`: how many failures in a row that the program itself caused are
    /// followed by a restart. Failures caused by the surroundings are not limited then.
    pub program_restarts: u32,
    /// A generation that ran this long ends a row of failures.
    pub stable_after: Millis,
    /// The delay before the second restart in a row; the first has none. Doubles with each more.
    pub backoff_base: Millis,
    /// The longest delay before a restart.
    pub backoff_cap: Millis,
    /// How long the outcome of a request is remembered.
    pub request_memory: Millis,
    /// How many events a job keeps.
    pub events_per_job: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            program_restarts: 3,
            stable_after: Millis::from_secs(600),
            backoff_base: Millis::from_secs(1),
            backoff_cap: Millis::from_secs(60),
            request_memory: Millis::from_secs(900),
            events_per_job: 64,
        }
    }
}

impl Policy {
    /// The delay before the restart that follows the `streak`-th failure in a row.
    #[must_use]
    pub fn backoff(&self, streak: u32) -> Millis {
        match streak {
            0 | 1 => Millis(0),
            more => {
                let doubled = self.backoff_base.0.checked_shl(more - 2).unwrap_or(u64::MAX);
                // A shift that loses bits reads as smaller than it is: past 20 doublings it is the cap anyway.
                let doubled = if more > 22 { u64::MAX } else { doubled };
                Millis(doubled.min(self.backoff_cap.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_cap() {
        let policy = Policy::default();
        let delays: Vec<u64> =
            [1, 2, 3, 4, 7, 8, 9, 60, u32::MAX].map(|streak| policy.backoff(streak).0).into();
        assert_eq!(delays, [0, 1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000, 60_000]);
    }
}
