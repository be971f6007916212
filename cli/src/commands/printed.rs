//! What has been printed of each log, so that one that is read again after a lost connection is not printed twice.
//!
//! Many lines may have the same time, so what counts is the last time and how many lines had it.

use std::collections::BTreeMap;

use muster_client::api;

/// A log: a replica's in one generation.
type Log = (String, u32);

/// How far a log was printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// The time of the last line in nanoseconds.
    time: u64,
    /// How many of the last lines have that time.
    lines: u64,
}

/// How far each log was printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    marks: BTreeMap<Log, Mark>,
    /// Logs that are read again, and what of them is not to be printed again.
    skip: BTreeMap<Log, Mark>,
}

impl Printed {
    /// From now on all logs are read from their beginning again.
    pub(super) fn read_again(&mut self) {
        self.skip = self.marks.clone();
    }

    /// Leaves of a piece what was not printed yet, and takes that as printed.
    pub(super) fn take(&mut self, chunk: &mut api::LogChunk) {
        let log = (chunk.replica.clone(), chunk.generation);
        if let Some(mut skip) = self.skip.remove(&log) {
            let old = chunk.lines.iter().take_while(|line| skip.covers(line.time_ns)).count();
            let caught_up = old < chunk.lines.len();
            chunk.lines.drain(..old);
            if !caught_up {
                self.skip.insert(log, skip);
                return;
            }
        }
        let mark = self.marks.entry(log).or_default();
        chunk.lines.iter().for_each(|line| mark.add(line.time_ns));
    }
}

impl Mark {
    fn add(&mut self, time: u64) {
        self.lines = if time == self.time { self.lines + 1 } else { 1 };
        self.time = time;
    }

    /// Whether a line is among those printed, when they come again in their order.
    fn covers(&mut self, time: u64) -> bool {
        if time == self.time {
            let left = self.lines > 0;
            self.lines = self.lines.saturating_sub(1);
            return left;
        }
        time < self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(times: &[u64]) -> api::LogChunk {
        let line = |(number, time): (usize, &u64)| api::LogLine {
            time_ns: *time,
            text: number.to_string().into(),
            ..api::LogLine::default()
        };
        let lines = times.iter().enumerate().map(line).collect();
        api::LogChunk { replica: "worker-0".into(), generation: 1, lines, ..Default::default() }
    }

    fn left(printed: &mut Printed, times: &[u64]) -> Vec<u64> {
        let mut chunk = chunk(times);
        printed.take(&mut chunk);
        chunk.lines.iter().map(|line| line.time_ns).collect()
    }

    #[test]
    fn lines_of_one_moment_that_come_in_pieces_are_all_printed() {
        let mut printed = Printed::default();
        assert_eq!(left(&mut printed, &[5, 5]), [5, 5]);
        assert_eq!(left(&mut printed, &[5, 5, 6]), [5, 5, 6]);
    }

    #[test]
    fn a_log_that_is_read_again_goes_on_where_it_was() {
        let mut printed = Printed::default();
        left(&mut printed, &[1, 5, 5]);
        printed.read_again();
        assert!(left(&mut printed, &[1, 5]).is_empty());
        assert_eq!(left(&mut printed, &[5, 5, 5, 7]), [5, 5, 7]);
        assert_eq!(left(&mut printed, &[7, 8]), [7, 8]);
        printed.read_again();
        assert_eq!(left(&mut printed, &[1, 5, 5, 5, 5, 7, 7, 8, 9]), [9]);
    }

    #[test]
    fn a_clock_that_was_set_back_loses_nothing() {
        let mut printed = Printed::default();
        assert_eq!(left(&mut printed, &[9, 3, 4]), [9, 3, 4]);
        assert_eq!(left(&mut printed, &[2]), [2]);
    }
}
