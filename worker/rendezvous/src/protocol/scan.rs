//! Finds where a request ends, without reading any part of it twice.
//!
//! torch sends a request in pieces of 1,440 bytes, so most long ones arrive so. A [`Scan`] remembers how far it
//! came and goes on from there when more bytes are in; lengths are judged as soon as they are seen, so a
//! client that announces too much is refused before it sends it.

use super::{Field, Limit, MAX_KEY, MAX_KEYS, MAX_VALUE, Opcode, Violation};

/// How far one request has been read. It starts at the operation's byte.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    opcode: Option<Opcode>,
    /// The field under way.
    field: usize,
    /// The strings that are left of a list; `None` before its count.
    left: Option<u64>,
    /// The offset of what was not read yet.
    at: usize,
}

/// What [`Scan::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The request is whole, and so long.
    Whole { opcode: Opcode, len: usize },
    /// More is needed.
    Partial {
        /// The request is at least so long.
        at_least: usize,
        /// It is exactly so long.
        exact: bool,
    },
}

/// A field, or a part of it, whose bytes are not all there.
struct Missing {
    until: usize,
    exact: bool,
}

const LENGTH: usize = 8;

impl Scan {
    /// Reads on in `bytes`, which begin with the request and may hold more than it.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Scanned, Violation> {
        let Some(opcode) = self.opcode(bytes)? else {
            return Ok(Scanned::Partial { at_least: 1, exact: false });
        };
        let fields = opcode.fields();
        while let Some(field) = fields.get(self.field) {
            if let Err(Missing { until, exact }) = self.skip(*field, bytes)? {
                let exact = exact && self.field + 1 == fields.len();
                return Ok(Scanned::Partial { at_least: until, exact });
            }
            self.field += 1;
            self.left = None;
        }
        Ok(Scanned::Whole { opcode, len: self.at })
    }

    fn opcode(&mut self, bytes: &[u8]) -> Result<Option<Opcode>, Violation> {
        if let (None, Some(&byte)) = (self.opcode, bytes.first()) {
            let opcode = Opcode::from_byte(byte).ok_or(match byte {
                0 => Violation::SecondValidate,
                other => Violation::UnknownOpcode(other),
            })?;
            self.opcode = Some(opcode);
            self.at = 1;
        }
        Ok(self.opcode)
    }

    fn skip(&mut self, field: Field, bytes: &[u8]) -> Result<Result<(), Missing>, Violation> {
        match field {
            Field::Key => self.string(bytes, Limit::Key),
            Field::Value => self.string(bytes, Limit::Value),
            Field::Word => Ok(self.fixed(bytes, 8)),
            Field::Nonce => Ok(self.fixed(bytes, 4)),
            Field::Keys => self.list(bytes, false),
            Field::Pairs => self.list(bytes, true),
        }
    }

    fn fixed(&mut self, bytes: &[u8], len: usize) -> Result<(), Missing> {
        let until = self.at + len;
        if bytes.len() < until {
            return Err(Missing { until, exact: true });
        }
        self.at = until;
        Ok(())
    }

    fn string(&mut self, bytes: &[u8], limit: Limit) -> Result<Result<(), Missing>, Violation> {
        let Some(len) = word_at(bytes, self.at) else {
            return Ok(Err(Missing { until: self.at + LENGTH, exact: false }));
        };
        let most = if limit == Limit::Key { MAX_KEY } else { MAX_VALUE };
        if len > most {
            return Err(Violation::OverLimit { limit, size: len });
        }
        let until = self.at + LENGTH + len as usize;
        if bytes.len() < until {
            return Ok(Err(Missing { until, exact: true }));
        }
        self.at = until;
        Ok(Ok(()))
    }

    /// Keys, or keys and values by turns.
    fn list(&mut self, bytes: &[u8], pairs: bool) -> Result<Result<(), Missing>, Violation> {
        let mut left = match self.left {
            Some(left) => left,
            None => {
                let Some(count) = word_at(bytes, self.at) else {
                    return Ok(Err(Missing { until: self.at + LENGTH, exact: false }));
                };
                if count > MAX_KEYS {
                    return Err(Violation::OverLimit { limit: Limit::Keys, size: count });
                }
                self.at += LENGTH;
                if pairs { count * 2 } else { count }
            }
        };
        while left > 0 {
            let value = pairs && left % 2 == 1;
            let limit = if value { Limit::Value } else { Limit::Key };
            if let Err(missing) = self.string(bytes, limit)? {
                self.left = Some(left);
                let until = missing.until + (left as usize - 1) * LENGTH;
                return Ok(Err(Missing { until, exact: missing.exact && left == 1 }));
            }
            left -= 1;
        }
        self.left = Some(0);
        Ok(Ok(()))
    }
}

/// The little-endian word at an offset.
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<LENGTH>()?;
    Some(u64::from_le_bytes(*word))
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
