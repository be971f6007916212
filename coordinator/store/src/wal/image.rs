//! What the records of a log add up to.

use std::collections::VecDeque;

use crate::types::{Entry, HardState, Index, Position, Term};

use super::record::Record;

/// The log that a row of records describes.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// Whether the log was ever begun, by a reset.
    pub(crate) begun: bool,
    pub(crate) base: Position,
    pub(crate) hard_state: HardState,
    pub(crate) entries: VecDeque<Entry>,
    /// Whether segments before the first one were deleted. Then entries may begin after the base
    /// that the first checkpoint tells; a later record must close that gap.
    headless: bool,
}

/// Runs of terms in a log: enough to tell the term at any index.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// First index and term of each run, in order.
    runs: Vec<(Index, Term)>,
}

// === impl Image ===

impl Image {
    /// An image for a log of which the first segments may have been deleted.
    pub(crate) fn new(headless: bool) -> Self {
        Self { headless, ..Self::default() }
    }

    /// The last position.
    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// Takes the next record. A record that does not fit is a bug or a lost piece of log.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Entry(entry) => self.append(entry),
            Record::HardState(state) => {
                self.hard_state = state;
                Ok(())
            }
            Record::Reset(at) => {
                self.entries.clear();
                (self.begun, self.base, self.headless) = (true, at, false);
                Ok(())
            }
            Record::Compact(to) => self.compact(to),
            Record::Checkpoint(base, state) if self.begun || !self.headless => {
                match (base, state) == (self.base, self.hard_state) {
                    true => Ok(()),
                    false => Err("a checkpoint tells another state than the records before it"),
                }
            }
            Record::Checkpoint(base, state) => {
                (self.begun, self.base, self.hard_state) = (true, base, state);
                Ok(())
            }
        }
    }

    /// Checks that nothing is missing between base and first entry.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.entries.front() {
            Some(first) if first.index != self.base.index.next() => {
                Err("the entries after the compaction mark are missing")
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, entry: Entry) -> Result<(), &'static str> {
        const GAP: &str = "an entry does not follow the log";
        if entry.index <= self.base.index {
            return Err(GAP);
        }
        let keep = match self.entries.front() {
            Some(first) if entry.index >= first.index => entry.index.0 - first.index.0,
            // What stood before it was in the deleted segments.
            _ if self.headless => 0,
            _ => entry.index.0 - self.base.index.next().0,
        };
        let keep = usize::try_from(keep).ok().filter(|keep| *keep <= self.entries.len());
        self.entries.truncate(keep.ok_or(GAP)?);
        self.entries.push_back(entry);
        Ok(())
    }

    fn compact(&mut self, to: Position) -> Result<(), &'static str> {
        if to.index <= self.base.index || (to.index > self.last().index && !self.headless) {
            return Err("a compaction mark lies outside of the log");
        }
        self.base = to;
        let kept = self.entries.iter().position(|entry| entry.index > to.index);
        self.entries.drain(..kept.unwrap_or(self.entries.len()));
        Ok(())
    }
}

// === impl Terms ===

impl Terms {
    pub(crate) fn of(image: &Image) -> Self {
        let mut terms = Self::default();
        terms.reset(image.base);
        image.entries.iter().for_each(|entry| terms.append(entry.position()));
        terms
    }

    /// Starts over after a position.
    pub(crate) fn reset(&mut self, at: Position) {
        self.runs = vec![(at.index, at.term)];
    }

    /// Notes the entry at an index; what was known at and after it is void.
    pub(crate) fn append(&mut self, at: Position) {
        while self.runs.last().is_some_and(|(first, _)| *first >= at.index) {
            self.runs.pop();
        }
        if self.runs.last().is_none_or(|(_, term)| *term != at.term) {
            self.runs.push((at.index, at.term));
        }
    }

    /// Forgets what is before an index.
    pub(crate) fn compact(&mut self, to: Position) {
        let later = self.runs.partition_point(|(first, _)| *first <= to.index);
        self.runs.splice(..later, [(to.index, to.term)]);
    }

    /// The term at an index, which lies between base and last.
    pub(crate) fn at(&self, index: Index) -> Option<Term> {
        let later = self.runs.partition_point(|(first, _)| *first <= index);
        Some(self.runs.get(later.checked_sub(1)?)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, term: u64) -> Position {
        Position::new(Index(index), Term(term))
    }

    fn entry(index: u64, term: u64) -> Record {
        let (index, term) = (Index(index), Term(term));
        Record::Entry(Entry { index, term, kind: 0, data: [][..].into(), context: [][..].into() })
    }

    fn image(headless: bool, records: Vec<Record>) -> Result<(u64, Vec<u64>), &'static str> {
        let mut image = Image::new(headless);
        records.into_iter().try_for_each(|record| image.apply(record))?;
        image.check()?;
        let indexes = image.entries.iter().map(|entry| entry.index.0).collect();
        Ok((image.base.index.0, indexes))
    }

    #[test]
    fn entries_follow_overwrite_and_are_forgotten() {
        let mut records = vec![Record::Reset(at(1, 1)), entry(2, 1), entry(3, 1), entry(4, 1)];
        assert_eq!(image(false, records.clone()), Ok((1, vec![2, 3, 4])));
        records.push(entry(3, 2));
        assert_eq!(image(false, records.clone()), Ok((1, vec![2, 3])));
        records.push(Record::Compact(at(2, 1)));
        assert_eq!(image(false, records.clone()), Ok((2, vec![3])));
        records.push(Record::Reset(at(9, 2)));
        assert_eq!(image(false, records), Ok((9, vec![])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let reset = || Record::Reset(at(5, 1));
        assert!(image(false, vec![reset(), entry(7, 1)]).is_err());
        assert!(image(false, vec![reset(), entry(5, 1)]).is_err());
        assert!(image(false, vec![reset(), Record::Compact(at(6, 1))]).is_err());
        assert!(image(false, vec![reset(), Record::Compact(at(5, 1))]).is_err());
        let state = HardState { vote: 1, ..HardState::default() };
        assert!(image(false, vec![reset(), Record::Checkpoint(at(5, 1), state)]).is_err());
    }

    #[test]
    fn a_log_whose_head_was_deleted_must_be_closed_by_a_compaction_mark() {
        let head = || vec![Record::Checkpoint(at(10, 1), HardState::default()), entry(20, 1)];
        assert!(image(true, head()).is_err());
        let closed = [head(), vec![entry(21, 1), Record::Compact(at(20, 1))]].concat();
        assert_eq!(image(true, closed), Ok((20, vec![21])));
        let too_low = [head(), vec![Record::Compact(at(15, 1))]].concat();
        assert!(image(true, too_low).is_err());
        let empty = vec![
            Record::Checkpoint(at(10, 1), HardState::default()),
            Record::Compact(at(50, 2)),
            entry(51, 2),
        ];
        assert_eq!(image(true, empty), Ok((50, vec![51])));
    }

    #[test]
    fn terms_are_known_at_every_index() {
        let mut terms = Terms::default();
        terms.reset(at(10, 3));
        [(11, 3), (12, 4), (13, 4), (14, 6)].into_iter().for_each(|(i, t)| terms.append(at(i, t)));
        let row = |terms: &Terms| (10..15).map(|i| terms.at(Index(i)).map(|t| t.0)).collect();
        let all: Vec<_> = row(&terms);
        assert_eq!(all, [Some(3), Some(3), Some(4), Some(4), Some(6)]);
        terms.append(at(13, 5));
        terms.append(at(14, 5));
        terms.compact(at(12, 4));
        let all: Vec<_> = row(&terms);
        assert_eq!(all, [None, None, Some(4), Some(5), Some(5)]);
    }
}
