//! Taints keep gangs off a node, tolerations let them on it again; both mean what they mean in Kubernetes
//! (`core/v1` Taint and Toleration, and `kubectl taint` for the text form).

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::labels::{LABEL_KEY, LABEL_VALUE, is_label_key, is_label_value};
use crate::time::Millis;

/// What a taint does to gangs that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaintEffect {
    /// They are not placed on the node.
    NoSchedule,
    /// They are placed on it only when they fit nowhere else.
    PreferNoSchedule,
    /// They are not placed on it, and those that are there are evicted.
    NoExecute,
}

/// A mark on a node. A node has at most one of a key and an effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// How a toleration compares values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tolerated {
    /// Any value.
    Any,
    /// This one.
    Value(String),
}

/// A pod template's leave to run on tainted nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// The taint's key; `None` is any.
    pub key: Option<String>,
    /// The taint's value.
    pub value: Tolerated,
    /// The taint's effect; `None` is any.
    pub effect: Option<TaintEffect>,
    /// How long a `NoExecute` taint is tolerated (`tolerationSeconds`); `None` is for ever.
    pub lasts: Option<Millis>,
}

/// A change of a node's taints, as `kubectl taint` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaintChange {
    /// `key=value:Effect` or `key:Effect`.
    Set(Taint),
    /// `key:Effect-`, or `key-` for every effect. A value in between (`key=value:Effect-`) does not matter.
    Remove {
        /// The key.
        key: String,
        /// The effect; `None` is every one.
        effect: Option<TaintEffect>,
    },
}

/// Why a text is no change of a taint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaintError {
    /// Not of the right shape.
    #[error(
        "{0:?} is no change of a taint: write key=value:EFFECT or key:EFFECT to set one, key:EFFECT- or key- to take it away"
    )]
    Shape(String),
    /// The key cannot be used.
    #[error("{0:?} is no taint key: {LABEL_KEY}")]
    Key(String),
    /// The value cannot be used.
    #[error("{0:?} is no taint value: {LABEL_VALUE}")]
    Value(String),
    /// There is no such effect.
    #[error("{0:?} is no taint effect; there are NoSchedule, PreferNoSchedule and NoExecute")]
    Effect(String),
}

impl TaintEffect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute];

    /// The name as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    /// Whether it keeps gangs away for certain.
    #[must_use]
    pub fn forbids(self) -> bool {
        self != Self::PreferNoSchedule
    }
}

impl std::str::FromStr for TaintEffect {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        let found = Self::ALL.into_iter().find(|effect| effect.as_str() == text);
        found.ok_or_else(|| TaintError::Effect(text.to_owned()))
    }
}

impl Taint {
    /// Checks key and value.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn new(
        key: impl Into<String>,
        value: impl Into<String>,
        effect: TaintEffect,
    ) -> Result<Self, TaintError> {
        let (key, value) = (key.into(), value.into());
        if !is_label_key(&key) {
            return Err(TaintError::Key(key));
        }
        if !is_label_value(&value) {
            return Err(TaintError::Value(value));
        }
        Ok(Self { key, value, effect })
    }

    /// Whether a node can have only one of the two.
    #[must_use]
    pub fn is_same_mark(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{}", self.key, self.value, self.effect.as_str())
    }
}

impl Toleration {
    /// Whether it covers a taint.
    #[must_use]
    pub fn covers(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.effect.is_none_or(|effect| effect == taint.effect)
            && match &self.value {
                Tolerated::Any => true,
                Tolerated::Value(value) => *value == taint.value,
            }
    }
}

impl std::str::FromStr for TaintChange {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        let (body, removes) = match text.strip_suffix('-') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let (mark, effect) = match body.rsplit_once(':') {
            Some((mark, effect)) => (mark, Some(effect.parse::<TaintEffect>()?)),
            None => (body, None),
        };
        let (key, value) = mark.split_once('=').unwrap_or((mark, ""));
        match (removes, effect) {
            (false, Some(effect)) => Taint::new(key, value, effect).map(Self::Set),
            (false, None) => Err(TaintError::Shape(text.to_owned())),
            (true, effect) => Self::removal(key, effect),
        }
    }
}

impl TaintChange {
    /// Takes a taint away.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn removal(
        key: impl Into<String>,
        effect: Option<TaintEffect>,
    ) -> Result<Self, TaintError> {
        let key = key.into();
        if is_label_key(&key) {
            Ok(Self::Remove { key, effect })
        } else {
            Err(TaintError::Key(key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(text: &str) -> Taint {
        match text.parse() {
            Ok(TaintChange::Set(taint)) => taint,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn changes_are_written_as_for_kubectl() {
        for text in ["gpu=a100:NoSchedule", "gpu:PreferNoSchedule", "a.b/c=d:NoExecute"] {
            assert_eq!(taint(text).to_string(), text);
        }
        let remove = |key: &str, effect| Ok(TaintChange::Remove { key: key.into(), effect });
        assert_eq!("gpu-".parse(), remove("gpu", None));
        assert_eq!("gpu:NoExecute-".parse(), remove("gpu", Some(TaintEffect::NoExecute)));
        assert_eq!("gpu=a100:NoSchedule-".parse(), remove("gpu", Some(TaintEffect::NoSchedule)));
        let error = |text: &str| text.parse::<TaintChange>().unwrap_err();
        assert_eq!(error("gpu=a100"), TaintError::Shape("gpu=a100".into()));
        assert_eq!(error("gpu:Never"), TaintError::Effect("Never".into()));
        assert_eq!(error(":NoExecute"), TaintError::Key(String::new()));
        assert_eq!(error("gpu=-:NoExecute"), TaintError::Value("-".into()));
        assert_eq!(error("a b-"), TaintError::Key("a b".into()));
    }

    #[test]
    fn a_toleration_covers_what_it_names() {
        let toleration = |key: Option<&str>, value: Option<&str>, effect| Toleration {
            key: key.map(ToOwned::to_owned),
            value: value.map_or(Tolerated::Any, |value| Tolerated::Value(value.into())),
            effect,
            lasts: None,
        };
        let (schedule, execute) = (taint("gpu=a100:NoSchedule"), taint("gpu=a100:NoExecute"));
        assert!(toleration(None, None, None).covers(&schedule));
        assert!(toleration(Some("gpu"), None, None).covers(&execute));
        assert!(toleration(Some("gpu"), Some("a100"), None).covers(&schedule));
        assert!(!toleration(Some("gpu"), Some("h100"), None).covers(&schedule));
        assert!(!toleration(Some("gpu"), Some(""), None).covers(&schedule));
        assert!(!toleration(Some("zone"), None, None).covers(&schedule));
        let only = toleration(Some("gpu"), None, Some(TaintEffect::NoSchedule));
        assert!(only.covers(&schedule) && !only.covers(&execute));
    }
}
