//! The bytes: the opening of a connection, and where a request ends.

mod fields;
mod greeting;
mod opcode;
mod scan;

use std::fmt;

pub(crate) use fields::Fields;
pub(crate) use greeting::{Greeting, Stranger, greet};
pub(crate) use opcode::{Field, Opcode};
pub(crate) use scan::{Scan, Scanned};

/// The longest key in bytes, with the `/` that torch puts before it.
pub(crate) const MAX_KEY: u64 = 8 << 10;
/// The longest value of one request in bytes.
pub(crate) const MAX_VALUE: u64 = 8 << 20;
/// The most keys of one request.
pub(crate) const MAX_KEYS: u64 = 128 << 10;

/// A request that is not served; its connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    UnknownOpcode(u8),
    SecondValidate,
    OverLimit { limit: Limit, size: u64 },
    NotANumber { key: String },
}

/// What a request may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// A key's length: 8,192 bytes.
    Key,
    /// A value's length: 8 MiB.
    Value,
    /// The keys of one request: 131,072.
    Keys,
    /// [`Options::memory_limit`](crate::Options::memory_limit).
    Memory,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => write!(f, "a key may have {MAX_KEY} bytes"),
            Self::Value => write!(f, "a value may have {MAX_VALUE} bytes"),
            Self::Keys => write!(f, "one call may have {MAX_KEYS} keys"),
            Self::Memory => write!(f, "its memory is limited"),
        }
    }
}
