//! The syntax of labels, as Kubernetes defines it (`k8s.io/apimachinery/pkg/util/validation`), and of the changes that
//! `kubectl label` takes: `key=value` sets, `key-` takes away.

use thiserror::Error;

use crate::names::is_dns1123_subdomain;

/// What [`is_label_key`] wants.
pub const LABEL_KEY: &str = "a key has up to 63 letters, digits, '-', '_' or '.', starts and ends with a letter or digit, and may follow a DNS name and '/'";

/// What [`is_label_value`] wants.
pub const LABEL_VALUE: &str = "a label has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit";

/// Whether a text can be a label or annotation key, or the name of a resource.
#[must_use]
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_label_name(text),
        Some((prefix, name)) => is_dns1123_subdomain(prefix) && is_label_name(name),
    }
}

/// Whether a text can be the value of a label.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A change of one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelChange {
    /// The label.
    pub key: String,
    /// Its new value; `None` takes it away.
    pub value: Option<String>,
}

/// Why a text is no change of a label.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Neither `key=value` nor `key-`.
    #[error("{0:?} is no change of a label: write key=value to set it, or key- to take it away")]
    Shape(String),
    /// The key cannot be used.
    #[error("{0:?} is no label key: {LABEL_KEY}")]
    Key(String),
    /// The value cannot be used.
    #[error("{0:?} is no label value: {LABEL_VALUE}")]
    Value(String),
}

impl LabelChange {
    /// Checks key and value.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(key: impl Into<String>, value: Option<String>) -> Result<Self, LabelError> {
        let key = key.into();
        if !is_label_key(&key) {
            return Err(LabelError::Key(key));
        }
        match value {
            Some(value) if !is_label_value(&value) => Err(LabelError::Value(value)),
            value => Ok(Self { key, value }),
        }
    }
}

impl std::str::FromStr for LabelChange {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => Self::new(key, Some(value.to_owned())),
            (None, Some(key)) => Self::new(key, None),
            (None, None) => Err(LabelError::Shape(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_follow_their_rules() {
        let long = "a".repeat(64);
        for key in ["a", "A_b.c-1", "example.com/gpu", &long[..63]] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "-a", "a-", "a/b/c", "/a", "a/", "Ex.com/a", "a b", &long] {
            assert!(!is_label_key(key), "{key}");
        }
        for value in ["", "1", "v1.2_3"] {
            assert!(is_label_value(value), "{value}");
        }
        for value in ["-", "a b", "ä", &long] {
            assert!(!is_label_value(value), "{value}");
        }
    }

    #[test]
    fn changes_are_written_as_for_kubectl() {
        let change = |text: &str| text.parse::<LabelChange>().map(|c| (c.key, c.value));
        assert_eq!(change("zone=a"), Ok(("zone".into(), Some("a".into()))));
        assert_eq!(change("zone="), Ok(("zone".into(), Some(String::new()))));
        assert_eq!(change("example.com/zone-"), Ok(("example.com/zone".into(), None)));
        assert_eq!(change("zone"), Err(LabelError::Shape("zone".into())));
        assert_eq!(change("-=a"), Err(LabelError::Key("-".into())));
        assert_eq!(change("a=b c"), Err(LabelError::Value("b c".into())));
        assert_eq!(change("-"), Err(LabelError::Key(String::new())));
    }
}
