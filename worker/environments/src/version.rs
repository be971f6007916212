//! Version numbers as far as tags and Python interpreters need them: digits with dots between them.
//!
//! Numbers compare by value, not by text, and a missing component is zero: 2.4 = 2.4.0 < 2.13.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A dotted version number.
#[derive(Debug, Clone)]
pub struct Version {
    numbers: Vec<u32>,
}

impl Version {
    /// Reads `2`, `2.4` or `2.4.1`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = text
            .split('.')
            .map(|part| {
                // `parse` alone would take a sign.
                let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                if digits { part.parse().ok() } else { None }
            })
            .collect();
        numbers.map(|numbers| Self { numbers })
    }

    /// How many numbers it has.
    #[must_use]
    pub fn components(&self) -> usize {
        self.numbers.len()
    }

    /// The number at a place; zero where it is not written.
    #[must_use]
    pub fn component(&self, index: usize) -> u32 {
        self.numbers.get(index).copied().unwrap_or(0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        (0..longest)
            .map(|i| self.component(i).cmp(&other.component(i)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// A Python minor version, such as 3.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PythonMinor {
    /// The 3 of 3.11.
    pub major: u32,
    /// The 11 of 3.11.
    pub minor: u32,
}

impl PythonMinor {
    /// The oldest Python that environments are built with.
    pub const OLDEST: Self = Self { major: 3, minor: 9 };

    /// Reads `3.11` or `3.11.4`. `None` without a minor version, and for Python 2.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Version::parse(text).as_ref().and_then(Self::of)
    }

    /// The minor version that a version number belongs to.
    #[must_use]
    pub fn of(version: &Version) -> Option<Self> {
        (version.components() >= 2 && version.component(0) == 3)
            .then(|| Self { major: 3, minor: version.component(1) })
    }
}

impl fmt::Display for PythonMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Which Python an environment would like: one minor version, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonWish {
    /// `3.11`
    Exactly(PythonMinor),
    /// `>=3.9,<3.12`; either end may be open.
    Between {
        /// The oldest that will do.
        from: Option<PythonMinor>,
        /// The first that will not do.
        below: Option<PythonMinor>,
    },
}

impl PythonWish {
    /// Reads `3.11`, `3.11.4`, `>=3.9`, `<3.12` or `>=3.9,<3.12`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(minor) = PythonMinor::parse(text.trim()) {
            return Some(Self::Exactly(minor));
        }
        let (mut from, mut below) = (None, None);
        for part in text.split(',').map(str::trim) {
            if let Some(version) = part.strip_prefix(">=") {
                from = Some(PythonMinor::parse(version.trim())?);
            } else {
                below = Some(PythonMinor::parse(part.strip_prefix('<')?.trim())?);
            }
        }
        Some(Self::Between { from, below })
    }

    /// Whether an interpreter of this minor version is what was asked for.
    #[must_use]
    pub fn accepts(&self, minor: PythonMinor) -> bool {
        match *self {
            Self::Exactly(wanted) => wanted == minor,
            Self::Between { from, below } => {
                from.is_none_or(|from| minor >= from) && below.is_none_or(|below| minor < below)
            }
        }
    }
}

impl fmt::Display for PythonWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(minor) => write!(f, "{minor}"),
            Self::Between { from, below } => {
                let mut comma = "";
                if let Some(from) = from {
                    write!(f, ">={from}")?;
                    comma = ",";
                }
                if let Some(below) = below {
                    write!(f, "{comma}<{below}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        let version = |text: &str| Version::parse(text).expect(text);
        assert!(version("2.4.1") < version("2.13"));
        assert_eq!(version("2.4"), version("2.4.0"));
        for bad in ["", ".", "1.", ".1", "1..2", "+1", "1a", "99999999999"] {
            assert!(Version::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn python_wishes_are_a_minor_version_or_a_range() {
        let minor = |text: &str| PythonMinor::parse(text).expect(text);
        for (wish, accepted, refused) in [
            ("3.11", "3.11", "3.12"),
            ("3.11.4", "3.11", "3.10"),
            (">=3.9", "3.13", "3.8"),
            ("<3.12", "3.11", "3.12"),
            (">=3.9, <3.12", "3.9", "3.12"),
        ] {
            let wish = PythonWish::parse(wish).expect(wish);
            assert!(wish.accepts(minor(accepted)), "{wish} {accepted}");
            assert!(!wish.accepts(minor(refused)), "{wish} {refused}");
        }
        for bad in ["", "3", "2.7", "python3", ">=3", "=3.11", ">=3.9;<3.12", "<="] {
            assert_eq!(PythonWish::parse(bad), None, "{bad:?}");
        }
        assert_eq!(
            PythonWish::parse(">=3.9,<3.12").map(|w| w.to_string()).as_deref(),
            Some(">=3.9,<3.12")
        );
    }
}
