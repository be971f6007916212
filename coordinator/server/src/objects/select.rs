//! Label selectors, equality and set based, as Kubernetes writes them
//! (`k8s.io/apimachinery/pkg/labels`): `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

use serde_json::{Map, Value};

/// A selector: all of its requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads a selector; the empty text selects everything.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split(text)? {
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self(requirements))
    }

    /// Whether an object's labels satisfy every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
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

/// Splits at commas that stand outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
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
            return Err(format!("selector {text:?}: parentheses do not match"));
        }
    }
    if depth != 0 {
        return Err(format!("selector {text:?}: a parenthesis is not closed"));
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    Ok(parts)
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let key_of = |key: &str| {
        let key = key.trim();
        let plain =
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if plain { Ok(key.to_owned()) } else { Err(format!("selector: {key:?} is no label name")) }
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

fn values(set: &str) -> Result<Vec<String>, String> {
    let inner = set.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.ok_or_else(|| format!("selector: {set:?} must be in parentheses"))?;
    Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_hold_as_in_kubernetes() {
        let object = json!({"metadata": {"labels": {"app": "ddp", "tier": "gold"}}});
        let holds = |text: &str| Selector::parse(text).expect(text).matches(&object);
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
        assert!(!Selector::parse("app=x").unwrap().matches(&json!({})));
    }

    #[test]
    fn what_is_no_selector_says_why() {
        for text in ["a in b", "a in (b", "=x", "a,,b", "a b", "(a)"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
