//! Samples of a duration, and how two contestants compare.

use std::time::Duration;

/// Durations of the same thing, measured several times.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    seconds: Vec<f64>,
}

/// How often to measure: `full` in a measurement, once where the benchmark is only kept alive.
#[must_use]
pub fn rounds(full: usize) -> usize {
    if is_measurement() { full } else { 1 }
}

/// Whether cargo asked for a measurement and not for a test.
#[must_use]
pub fn is_measurement() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.seconds.push(duration.as_secs_f64());
    }

    /// Adds a duration that is too short to be printed, as that of `times` of them.
    pub fn add_fine(&mut self, duration: Duration, times: u32) {
        self.seconds.push(duration.as_secs_f64() * f64::from(times));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// The sample at a share of them, 0 for the least and 1 for the greatest, in seconds.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(!sorted.is_empty(), "nothing was measured");
        let last = sorted.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the index of a sample, of which there are few"
        )]
        let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        sorted[index]
    }

    /// The median in seconds.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median, greatest] = [0.0, 0.5, 1.0].map(|share| self.quantile(share));
        write!(f, "{median:.3} s ({least:.3} to {greatest:.3}, n = {})", self.seconds.len())
    }
}

/// Prints a row of the report. The ratio is the peer's median through ours: above 1, Muster is ahead.
pub fn compare(what: &str, ours: &Samples, peer: &str, theirs: &Samples) {
    print!("| {what} | {ours} | ");
    if theirs.is_empty() {
        println!("{peer}: not measured | |");
    } else {
        println!("{peer}: {theirs} | {:.2} |", theirs.median() / ours.median());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_an_outlier() {
        let mut samples = Samples::default();
        for millis in [30, 10, 5_000, 20, 25] {
            samples.add(Duration::from_millis(millis));
        }
        assert!((samples.median() - 0.025).abs() < 1e-9);
        assert!((samples.quantile(0.0) - 0.010).abs() < 1e-9);
        assert!((samples.quantile(1.0) - 5.0).abs() < 1e-9);
    }
}
