//! Counts what clients make the server hold, and refuses what is too much.
//!
//! Everything that grows with what clients send carries a [`Charge`] or is a [`Blob`], and gives its bytes back
//! when it is dropped. So the count is exact whatever path a value takes: into the store, into a reply that a
//! slow reader has not read yet, or out of both.

use std::borrow::Borrow;
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::protocol::{Limit, Violation};

/// The bytes in use and their limit. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Rc<Account>);

#[derive(Debug)]
struct Account {
    used: Cell<usize>,
    limit: usize,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Ledger,
    bytes: usize,
}

/// Bytes that are shared, never copied, and counted once: a key, or a value.
#[derive(Clone, Debug)]
pub(crate) struct Blob(Rc<Held>);

#[derive(Debug)]
struct Held {
    /// The request that carried the bytes may lie before them.
    bytes: Vec<u8>,
    start: usize,
    charge: Charge,
}

/// What a blob costs beside its bytes: two allocations, and its places in tables.
pub(crate) const OVERHEAD: usize = 128;

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Rc::new(Account { used: Cell::new(0), limit }))
    }

    pub(crate) fn used(&self) -> usize {
        self.0.used.get()
    }

    /// Whether so many more bytes may be held.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), Violation> {
        let limit = self.0.limit;
        if self.used().saturating_add(bytes) <= limit {
            Ok(())
        } else {
            Err(Violation::OverLimit { limit: Limit::Memory, size: limit as u64 })
        }
    }

    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.0.used.set(self.used() + bytes);
        Charge { ledger: self.clone(), bytes }
    }

    /// A blob with a copy of these bytes.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Blob {
        self.blob_from(bytes.to_vec(), 0)
    }

    /// A blob of what follows `start`, without a copy.
    pub(crate) fn blob_from(&self, bytes: Vec<u8>, start: usize) -> Blob {
        let charge = self.charge(bytes.capacity() + OVERHEAD);
        Blob(Rc::new(Held { bytes, start, charge }))
    }
}

// === impl Charge ===

impl Charge {
    /// Counts this many bytes from now on.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let others = self.ledger.used() - self.bytes;
            self.ledger.0.used.set(others + bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

// === impl Blob ===

impl Blob {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0.bytes[self.0.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.bytes.len() - self.0.start
    }

    /// Adds bytes at the end. Replies under way keep what they had.
    pub(crate) fn append(&mut self, more: &[u8]) {
        if let Some(held) = Rc::get_mut(&mut self.0) {
            held.bytes.extend_from_slice(more);
            held.charge.resize(held.bytes.capacity() + OVERHEAD);
        } else {
            let whole = [self.as_slice(), more].concat();
            *self = self.0.charge.ledger.blob_from(whole, 0);
        }
    }

    /// Puts other bytes in. Replies under way keep what they had.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        if let Some(held) =
            Rc::get_mut(&mut self.0).filter(|held| held.bytes.capacity() >= bytes.len())
        {
            held.bytes.clear();
            held.bytes.extend_from_slice(bytes);
            held.start = 0;
        } else {
            *self = self.0.charge.ledger.blob(bytes);
        }
    }
}

impl Borrow<[u8]> for Blob {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Blob {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let ledger = Ledger::new(1_000_000);
        let first = ledger.blob(b"hello");
        let used = ledger.used();
        let again = first.clone();
        assert_eq!(ledger.used(), used, "a clone is the same bytes");
        drop(first);
        assert_eq!(ledger.used(), used, "the clone still holds them");
        drop(again);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_growing_value_is_counted_as_it_grows() {
        let ledger = Ledger::new(1_000_000);
        let mut value = ledger.blob(b"");
        value.append(&[7; 5_000]);
        assert!(ledger.used() >= 5_000);
        let reader = value.clone();
        value.append(b"!");
        assert_eq!((reader.len(), value.len()), (5_000, 5_001), "a reader keeps what it had");
        drop((value, reader));
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_replaced_value_is_new_for_later_readers_only() {
        let ledger = Ledger::new(1_000_000);
        let mut value = ledger.blob_from(b"headvalue".to_vec(), 4);
        assert_eq!(value.as_slice(), b"value");
        let reader = value.clone();
        value.replace(b"new");
        assert_eq!((reader.as_slice(), value.as_slice()), (&b"value"[..], &b"new"[..]));
        drop(reader);
        value.replace(b"n");
        assert_eq!(value.as_slice(), b"n");
    }

    #[test]
    fn no_more_than_the_limit_is_admitted() {
        let ledger = Ledger::new(1_000);
        let charge = ledger.charge(900);
        assert!(ledger.admit(100).is_ok());
        assert!(ledger.admit(101).is_err());
        assert!(ledger.admit(usize::MAX).is_err());
        drop(charge);
        assert!(ledger.admit(1_000).is_ok());
    }
}
