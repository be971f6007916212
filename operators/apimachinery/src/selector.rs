//! What a list or a watch is about.
//!
//! Label selectors are equality and set based, as Kubernetes writes them (`k8s.io/apimachinery/pkg/labels`):
//! `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Field selectors know `=`, `==` and `!=` (`k8s.io/apimachinery/pkg/fields`).

use serde_json::{Map, Value};
use thiserror::Error;

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// A selector of labels: all of its requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

/// A selector of fields: all of its requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelSelector {
    /// Reads a selector; the empty text selects everything.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split(text)? {
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self(requirements))
    }

    /// Whether an object's labels satisfy every requirement.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let empty = Map::new();
        let labels = object["metadata"]["labels"].as_object().unwrap_or(&empty);
        let value = |key: &String| labels.get(key).and_then(Value::as_str);
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                value(key).is_some_and(|v| values.iter().any(|w| w == v))
            }
            Requirement::NotIn(key, values) => {
                value(key).is_none_or(|v| !values.iter().any(|w| w == v))
            }
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        })
    }
}

fn wrong(message: String) -> SelectorError {
    SelectorError(message)
}

impl FieldSelector {
    /// Reads a selector; the empty text selects everything.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, value, true)
            } else {
                let message = format!("field selector {part:?}: use FIELD=VALUE or FIELD!=VALUE");
                return Err(wrong(message));
            };
            Ok(FieldRequirement { path: path.trim().into(), value: value.trim().into(), equal })
        };
        parts.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an object's fields satisfy every requirement. A field that is missing is empty.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let found = requirement.path.split('.').try_fold(object, |value, part| value.get(part));
            let found = match found {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            (found == requirement.value) == requirement.equal
        })
    }
}

/// Splits at commas that stand outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, SelectorError> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return Err(wrong(format!("selector {text:?}: parentheses do not match")));
        }
    }
    if depth != 0 {
        return Err(wrong(format!("selector {text:?}: a parenthesis is not closed")));
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    Ok(parts)
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    let key_of = |key: &str| {
        let key = key.trim();
        let plain =
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if plain {
            Ok(key.to_owned())
        } else {
            Err(wrong(format!("selector: {key:?} is no label name")))
        }
    };
    if let Some((key, set)) = text.split_once(" notin ") {
        return Ok(Requirement::NotIn(key_of(key)?, values(set)?));
    }
    if let Some((key, set)) = text.split_once(" in ") {
        return Ok(Requirement::In(key_of(key)?, values(set)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key_of(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key_of(key)?, vec![value.trim().to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(key_of(key)?)),
        None => Ok(Requirement::Exists(key_of(text)?)),
    }
}

fn values(set: &str) -> Result<Vec<String>, SelectorError> {
    let inner = set.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.ok_or_else(|| wrong(format!("selector: {set:?} must be in parentheses")))?;
    Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_hold_as_in_kubernetes() {
        let object = json!({"metadata": {"labels": {"app": "ddp", "tier": "gold"}}});
        let holds = |text: &str| LabelSelector::parse(text).expect(text).matches(&object);
        for text in [
            "",
            "app=ddp",
            "app==ddp,tier!=silver",
            "app in (a, ddp)",
            "tier",
            "!team",
            "x notin (y)",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in ["app=x", "app notin (ddp)", "!tier", "team", "app=ddp,tier in (a,b)"] {
            assert!(!holds(text), "{text}");
        }
        assert!(!LabelSelector::parse("app=x").unwrap().matches(&json!({})));
    }

    #[test]
    fn fields_are_compared_as_texts() {
        let object = json!({"spec": {"nodeName": "n1", "unschedulable": true}});
        let holds = |text: &str| FieldSelector::parse(text).expect(text).matches(&object);
        for text in ["", "spec.nodeName=n1", "spec.nodeName!=n2,spec.unschedulable=true", "a.b="] {
            assert!(holds(text), "{text}");
        }
        assert!(!holds("spec.nodeName!=n1"));
        assert!(!holds("spec.nodeName=n1,status.phase=Running"));
        assert!(FieldSelector::parse("spec.nodeName").is_err());
    }

    #[test]
    fn what_is_no_selector_says_why() {
        for text in ["a in b", "a in (b", "=x", "a,,b", "a b", "(a)"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }
}
