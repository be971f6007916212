//! When to plan. A lone job is placed at once. While many clients submit at the same time, planning waits until they pause:
//! jobs that arrive together are placed together, so that the first of them is not started by what the others need to be
//! accepted. Slurm's `batch_sched_delay` does the same, with up to 3 s.

use std::time::{Duration, Instant};

/// So many submissions within [`QUIET`] are a burst.
const BURST: u64 = 4;
/// A burst is over when there were fewer in so long.
const QUIET: Duration = Duration::from_millis(25);
/// However long it lasts, planning waits no longer.
const LONGEST: Duration = Duration::from_millis(500);

/// Decides when to plan, from how many submissions there were at which moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// When submissions were last counted from the start, and how many there were then.
    window: (Instant, u64),
    /// When the burst was noticed that lasts now.
    burst: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { window: (now, 0), burst: None }
    }

    /// Whether to plan now; otherwise after how long to ask again.
    pub(super) fn plan_now(&mut self, now: Instant, submissions: u64) -> Result<(), Duration> {
        let (since, before) = self.window;
        let arrived = submissions.saturating_sub(before);
        let window_is_over = now.duration_since(since) >= QUIET;
        if window_is_over {
            self.window = (now, submissions);
        }
        match self.burst {
            Some(began) if now.duration_since(began) < LONGEST => {
                if window_is_over && arrived < BURST {
                    self.burst = None;
                    return Ok(());
                }
                Err(QUIET)
            }
            // It goes on, and what has come so far is placed.
            Some(_) => {
                self.burst = Some(now);
                Ok(())
            }
            None if !window_is_over && arrived >= BURST => {
                self.burst = Some(now);
                Err(QUIET)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is decided at these moments, in milliseconds, with so many submissions until then.
    fn decisions(asked: &[(u64, u64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let ask = |&(at, submissions)| {
            pace.plan_now(start + Duration::from_millis(at), submissions).is_ok()
        };
        asked.iter().map(ask).collect()
    }

    #[test]
    fn a_lone_job_and_one_after_the_other_are_placed_at_once() {
        assert_eq!(decisions(&[(1000, 1)]), [true]);
        let one_by_one: Vec<_> = (1..50).map(|n| (1000 + n * 10, n)).collect();
        assert_eq!(decisions(&one_by_one), vec![true; 49]);
    }

    #[test]
    fn many_jobs_of_one_call_are_placed_at_once() {
        assert_eq!(decisions(&[(1000, 1), (1002, 1)]), [true, true]);
    }

    #[test]
    fn a_burst_is_placed_when_it_pauses() {
        let asked = [(1000, 1), (1003, 3), (1008, 6), (1033, 20), (1058, 40), (1083, 41)];
        assert_eq!(decisions(&asked), [true, true, false, false, false, true]);
    }

    #[test]
    fn a_burst_without_an_end_is_placed_every_half_second() {
        let asked: Vec<_> = (0..200).map(|n| (1000 + n * 25, n * 10)).collect();
        let decided = decisions(&[&[(999, 0), (999, 9)], asked.as_slice()].concat());
        let rounds = decided.iter().filter(|planned| **planned).count();
        // Five seconds, of which the first round is the lone one.
        assert!((9..=12).contains(&rounds), "{rounds}: {decided:?}");
        let longest = decided.split(|planned| *planned).map(<[bool]>::len).max();
        assert!(longest.is_some_and(|rounds| rounds <= 21), "{decided:?}");
    }
}
