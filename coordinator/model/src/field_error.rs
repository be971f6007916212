//! What is wrong with a field of a manifest, where, and what to do. The kinds of problems are those of
//! `k8s.io/apimachinery/pkg/util/validation/field`, so that clients can branch on them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of a field in a manifest, such as `spec.pytorchReplicaSpecs.Master.replicas`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldPath(String);

impl FieldPath {
    /// The manifest itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of this object. A name that is no plain word is put in brackets.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let plain = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        match (plain, self.0.is_empty()) {
            (true, true) => Self(name.to_owned()),
            (true, false) => Self(format!("{}.{name}", self.0)),
            (false, _) => Self(format!("{}[{name}]", self.0)),
        }
    }

    /// An item of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path with `to` in place of its beginning `from`; `None` when it does not begin so.
    #[must_use]
    pub fn rebase(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(&from.0)?;
        let ends_there = rest.is_empty() || rest.starts_with(['.', '[']);
        ends_there.then(|| Self(format!("{}{rest}", to.0)))
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(document)" } else { &self.0 })
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Problem {
    /// The field must be there.
    Required,
    /// The value cannot be used.
    Invalid {
        /// The value as written, shortened.
        value: String,
    },
    /// The value has another type than the field.
    WrongType {
        /// The type it should have.
        expected: String,
        /// The type it has.
        found: String,
    },
    /// The value is none of the allowed ones.
    NotSupported {
        /// The value as written.
        value: String,
        /// The allowed values.
        supported: Vec<String>,
    },
    /// The field may not be set here.
    Forbidden,
    /// A value that must be unique stands twice.
    Duplicate {
        /// The value.
        value: String,
    },
    /// Too much of something.
    TooLong {
        /// How much is allowed.
        limit: u64,
    },
}

/// One problem of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where.
    pub path: FieldPath,
    /// What.
    pub problem: Problem,
    /// Why it is a problem and what to do about it, as the end of a sentence.
    pub advice: String,
}

impl FieldError {
    /// One problem.
    #[must_use]
    pub fn new(path: FieldPath, problem: Problem, advice: impl Into<String>) -> Self {
        Self { path, problem, advice: advice.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.problem {
            Problem::Required => f.write_str("required")?,
            Problem::Invalid { value } => write!(f, "invalid value {value}")?,
            Problem::WrongType { expected, found } => {
                write!(f, "must be {expected}, found {found}")?;
            }
            Problem::NotSupported { value, supported } => {
                write!(f, "unsupported value {value:?}; use one of: {}", supported.join(", "))?;
            }
            Problem::Forbidden => f.write_str("forbidden")?,
            Problem::Duplicate { value } => write!(f, "duplicate value {value:?}")?,
            Problem::TooLong { limit } => write!(f, "too long, at most {limit} are allowed")?,
        }
        if self.advice.is_empty() { Ok(()) } else { write!(f, ": {}", self.advice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_place_problem_advice() {
        let path = FieldPath::root().field("spec").field("containers").index(0).field("image");
        let error = FieldError::new(path, Problem::Required, "name the image");
        assert_eq!(error.to_string(), "spec.containers[0].image: required: name the image");
        let odd = FieldPath::root().field("metadata").field("labels").field("a.b/c");
        assert_eq!(odd.as_str(), "metadata.labels[a.b/c]");
    }

    #[test]
    fn the_beginning_of_a_path_can_be_replaced() {
        let from = FieldPath::root().field("a").field("b");
        let to = FieldPath::root().field("c");
        let rebased = |path: FieldPath| path.rebase(&from, &to).map(|path| path.to_string());
        assert_eq!(rebased(from.clone()).as_deref(), Some("c"));
        assert_eq!(rebased(from.index(1).field("d")).as_deref(), Some("c[1].d"));
        assert_eq!(rebased(FieldPath::root().field("a").field("bc")), None);
        assert_eq!(rebased(FieldPath::root()), None);
    }
}
