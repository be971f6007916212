//! Simulated time, in microseconds since the start.

use std::fmt;
use std::ops::Add;

/// A point in simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct SimTime(pub(crate) u64);

/// A length of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span(pub(crate) u64);

impl Span {
    pub(crate) const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    pub(crate) const fn millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }
}

impl SimTime {
    /// Whole milliseconds since the start.
    pub(crate) fn as_millis(self) -> u64 {
        self.0 / 1000
    }
}

impl Add<Span> for SimTime {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0 + span.0)
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
