//! Retries as a value.

use std::time::Duration;

/// How long and how often a call that fails for a passing reason is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause after the first failure; doubles with each more.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// After this long the last error is given back.
    pub give_up: Duration,
}

impl RetryPolicy {
    /// No retries.
    #[must_use]
    pub fn none() -> Self {
        Self { first: Duration::ZERO, longest: Duration::ZERO, give_up: Duration::ZERO }
    }

    /// The pauses between tries, in order; ends when it is time to give up.
    pub fn pauses(self) -> impl Iterator<Item = Duration> {
        let mut next = self.first;
        let mut spent = Duration::ZERO;
        std::iter::from_fn(move || {
            if next.is_zero() || spent >= self.give_up {
                return None;
            }
            let pause = next.min(self.give_up - spent);
            spent += pause;
            next = (next * 2).min(self.longest);
            Some(pause)
        })
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            longest: Duration::from_millis(400),
            give_up: Duration::from_secs(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_deadline() {
        let policy = RetryPolicy {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(400),
            give_up: Duration::from_millis(1000),
        };
        let pauses: Vec<u128> = policy.pauses().map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 300]);
        assert_eq!(RetryPolicy::none().pauses().count(), 0);
    }
}
