//! The options in a URL (`ListOptions`, `PatchOptions` and their like in `k8s.io/apimachinery/pkg/apis/meta/v1`).

use std::collections::BTreeMap;

use thiserror::Error;

/// A query that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// A `%` that is not followed by two hexadecimal digits, or text that is no UTF-8.
    #[error("the query is not properly escaped: {0:?}")]
    Escape(String),
    /// A number that is none.
    #[error("the query parameter {name} must be a whole number, and {value:?} is none")]
    Number {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
}

/// The options of a request. Where a name comes several times, the first counts, except for [`Query::all`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads what stands after the `?`. Empty pairs are skipped: some clients send `?&limit=500`.
    ///
    /// # Errors
    /// When it is not properly escaped.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.entry(unescape(name)?).or_default().push(unescape(value)?);
        }
        Ok(Self(found))
    }

    /// An option that is given and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.first()?;
        (!value.is_empty()).then_some(value)
    }

    /// Every value of an option.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether an option is set. As in Kubernetes, `0` and `false` mean no, and everything else yes, also nothing.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        let value = self.0.get(name).and_then(|values| values.first());
        value.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A number that is given.
    ///
    /// # Errors
    /// When it is no number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, QueryError> {
        let read = |value: &str| {
            value.parse().map_err(|_| QueryError::Number { name: name.into(), value: value.into() })
        };
        self.get(name).map(read).transpose()
    }
}

/// Undoes percent encoding; `+` is a space in queries.
fn unescape(text: &str) -> Result<String, QueryError> {
    let wrong = || QueryError::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_kubernetes_reads_them() {
        let query = Query::parse("&limit=500&watch=True&a=0&b=FALSE&c&d=").unwrap();
        assert_eq!(query.number("limit"), Ok(Some(500)));
        let set = ["watch", "a", "b", "c", "d", "e"].map(|name| query.flag(name));
        assert_eq!(set, [true, false, false, true, true, false]);
        assert!(Query::parse("limit=x").unwrap().number("limit").is_err());
    }

    #[test]
    fn escapes_are_undone() {
        let query = Query::parse("labelSelector=a+in+%28b%2Cc%29&x=1&x=2").unwrap();
        assert_eq!(query.get("labelSelector"), Some("a in (b,c)"));
        assert_eq!(query.all("x").collect::<Vec<_>>(), ["1", "2"]);
        for wrong in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
