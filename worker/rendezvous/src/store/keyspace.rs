//! The values and queues of one namespace.

use std::collections::{HashMap, VecDeque};

use super::number;
use crate::ledger::{Blob, Ledger};

/// The values and queues of one namespace. A value and a queue may have the same key; they do not know of each
/// other, but for [`Keyspace::has`].
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    values: HashMap<Blob, Blob>,
    queues: HashMap<Blob, VecDeque<Blob>>,
}

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared<'a> {
    /// The new value is in place.
    Swapped(&'a Blob),
    /// Another value is there.
    Differs(&'a Blob),
    /// There is no value, and one was expected.
    Missing,
}

impl Keyspace {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Blob> {
        self.values.get(key)
    }

    /// Whether there is a value, or something in the queue.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.values.contains_key(key) || self.queues.contains_key(key)
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Blob, ledger: &Ledger) {
        if let Some(old) = self.values.get_mut(key) {
            *old = value;
        } else {
            self.values.insert(ledger.blob(key), value);
        }
    }

    pub(crate) fn append(&mut self, key: &[u8], more: &[u8], ledger: &Ledger) {
        if let Some(value) = self.values.get_mut(key) {
            value.append(more);
        } else {
            self.values.insert(ledger.blob(key), ledger.blob(more));
        }
    }

    /// Adds to the decimal number at the key, and says the sum; `None` if the value is not a number. It wraps, as
    /// upstream's does.
    pub(crate) fn add(&mut self, key: &[u8], amount: i64, ledger: &Ledger) -> Option<i64> {
        let mut text = number::Text::default();
        if let Some(value) = self.values.get_mut(key) {
            let sum = number::parse(value.as_slice())?.wrapping_add(amount);
            value.replace(text.of(sum));
            return Some(sum);
        }
        self.values.insert(ledger.blob(key), ledger.blob(text.of(amount)));
        Some(amount)
    }

    /// Replaces the value if it is the expected one. An absent value counts as an empty one.
    pub(crate) fn compare_set(
        &mut self,
        key: &[u8],
        [expected, new]: [&[u8]; 2],
        ledger: &Ledger,
    ) -> Compared<'_> {
        if !self.values.contains_key(key) {
            if !expected.is_empty() {
                return Compared::Missing;
            }
            let value = self.values.entry(ledger.blob(key)).insert_entry(ledger.blob(new));
            return Compared::Swapped(value.into_mut());
        }
        let current = self.values.get_mut(key).expect("it was just found");
        if current.as_slice() == expected {
            *current = ledger.blob(new);
            Compared::Swapped(current)
        } else {
            Compared::Differs(current)
        }
    }

    /// Whether there was a value.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        self.values.remove(key).is_some()
    }

    pub(crate) fn queue_push(&mut self, key: &[u8], value: Blob, ledger: &Ledger) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.push_back(value);
        } else {
            self.queues.insert(ledger.blob(key), VecDeque::from([value]));
        }
    }

    /// The length before, and the oldest value.
    pub(crate) fn queue_pop(&mut self, key: &[u8]) -> Option<(usize, Blob)> {
        let queue = self.queues.get_mut(key)?;
        let len = queue.len();
        let value = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(key);
        }
        Some((len, value))
    }

    pub(crate) fn queue_len(&self, key: &[u8]) -> usize {
        self.queues.get(key).map_or(0, VecDeque::len)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The keys of the values.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Blob> {
        self.values.keys()
    }
}
