//! Names of jobs, namespaces and nodes, checked once where they enter.
//!
//! The rules are those of Kubernetes (`k8s.io/apimachinery/pkg/util/validation`): a DNS-1035 label for
//! jobs and namespaces, because the names of their ranks are host names, and a DNS-1123
//! subdomain for nodes.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a DNS-1035 label.
    #[error(
        "{0:?} must be at most 63 lower-case letters, digits or '-', start with a letter and end with a letter or digit"
    )]
    Label(String),
    /// Not a DNS-1123 subdomain.
    #[error(
        "{0:?} must be at most 253 lower-case letters, digits, '-' or '.', each part starting and ending with a letter or digit"
    )]
    Subdomain(String),
}

/// Whether a text is a DNS-1035 label.
#[must_use]
pub fn is_dns1035_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && is_dns1123_label(text)
}

fn is_dns1123_label(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| edge(*b) || *b == b'-')
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
}

/// Whether a text is a DNS-1123 subdomain.
#[must_use]
pub fn is_dns1123_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns1123_label)
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $check:path, $error:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            /// When the text does not follow the rule of the type.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if $check(&text) { Ok(Self(text)) } else { Err($error(text)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_name!(
    /// A job's name: a DNS-1035 label.
    JobName,
    is_dns1035_label,
    NameError::Label
);
checked_name!(
    /// A namespace: a DNS-1035 label.
    Namespace,
    is_dns1035_label,
    NameError::Label
);
checked_name!(
    /// A node's name: a DNS-1123 subdomain, unique in the cluster.
    NodeName,
    is_dns1123_subdomain,
    NameError::Subdomain
);

impl Namespace {
    /// The namespace of objects that name none.
    #[must_use]
    pub fn default_namespace() -> Self {
        Self("default".into())
    }
}

/// The kind of a job, such as `PyTorchJob`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobKind(pub String);

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a job uniquely: its kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The namespace; first, so that keys of one namespace stand together.
    pub namespace: Namespace,
    /// The kind.
    pub kind: JobKind,
    /// The name.
    pub name: JobName,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_dns_1035() {
        for good in ["a", "ddp-mnist", "a1", &"a".repeat(63)] {
            assert!(JobName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a.b", "ä", &"a".repeat(64)] {
            assert!(JobName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn node_names_may_have_dots_and_start_with_digits() {
        assert!(NodeName::new("10-0-0-1.rack7.example").is_ok());
        for bad in ["", ".", "a..b", "a.", "-a.b", "A.b"] {
            assert!(NodeName::new(bad).is_err(), "{bad}");
        }
    }
}
