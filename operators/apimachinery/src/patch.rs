//! Patches: JSON merge patch (RFC 7396) and JSON patch (RFC 6902).

use serde_json::{Map, Value};
use thiserror::Error;

/// A patch that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatchError {
    /// It is no patch.
    #[error("{0}")]
    Form(String),
    /// What it changes is not there.
    #[error("operation {place}: there is nothing at {path:?}")]
    Missing {
        /// The place of the operation in the patch.
        place: usize,
        /// A JSON pointer.
        path: String,
    },
    /// What it expects is not so.
    #[error("operation {place}: testing value {path:?} failed")]
    Test {
        /// The place of the operation in the patch.
        place: usize,
        /// A JSON pointer.
        path: String,
    },
}

/// Applies a merge patch (RFC 7396).
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(into) = target else { return };
    for (name, value) in fields {
        if value.is_null() {
            into.shift_remove(name);
        } else {
            merge_patch(into.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Applies a JSON patch (RFC 6902): all of it, or nothing.
///
/// # Errors
/// What cannot be applied, and where.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Form("a JSON patch is a list of operations".into()));
    };
    let mut value = target.clone();
    for (place, operation) in operations.iter().enumerate() {
        apply(&mut value, operation, place)?;
    }
    Ok(value)
}

fn apply(target: &mut Value, operation: &Value, place: usize) -> Result<(), PatchError> {
    let text = |field: &str| {
        operation[field]
            .as_str()
            .ok_or_else(|| PatchError::Form(format!("operation {place}: {field} must be a text")))
    };
    let new = || {
        operation
            .get("value")
            .cloned()
            .ok_or_else(|| PatchError::Form(format!("operation {place}: value is missing")))
    };
    let path = text("path")?;
    let missing = |path: &str| PatchError::Missing { place, path: path.to_owned() };
    let copied = |target: &Value| -> Result<Value, PatchError> {
        let from = text("from")?;
        target.pointer(from).cloned().ok_or_else(|| missing(from))
    };
    match text("op")? {
        "add" => add(target, path, new()?).ok_or_else(|| missing(path)),
        "remove" => remove(target, path).map(|_| ()).ok_or_else(|| missing(path)),
        "replace" => {
            let new = new()?;
            *target.pointer_mut(path).ok_or_else(|| missing(path))? = new;
            Ok(())
        }
        "copy" => {
            let value = copied(target)?;
            add(target, path, value).ok_or_else(|| missing(path))
        }
        "move" => {
            let value = copied(target)?;
            let from = text("from")?;
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(PatchError::Form(format!(
                    "operation {place}: {from:?} cannot move into itself"
                )));
            }
            remove(target, from);
            add(target, path, value).ok_or_else(|| missing(path))
        }
        "test" => {
            let found = target.pointer(path).unwrap_or(&Value::Null);
            if *found == new()? {
                Ok(())
            } else {
                Err(PatchError::Test { place, path: path.to_owned() })
            }
        }
        other => Err(PatchError::Form(format!(
            "operation {place}: op {other:?} is none of add, remove, replace, move, copy, test"
        ))),
    }
}

/// What a pointer's last token is in, and the token.
fn parent<'t>(target: &'t mut Value, path: &str) -> Option<(&'t mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((target.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

/// A place in a list; leading zeros are not allowed (RFC 6901, section 4).
fn index(token: &str) -> Option<usize> {
    let plain =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| token.parse().ok())?
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, token) = parent(target, path)?;
    match parent {
        Value::Object(fields) => {
            fields.insert(token, value);
        }
        Value::Array(items) if token == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&token).filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, token) = parent(target, path)?;
    match parent {
        Value::Object(fields) => fields.shift_remove(&token),
        Value::Array(items) => {
            let at = index(&token).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_follows_the_examples_of_the_standard() {
        // RFC 7396, appendix A.
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge_patch(&mut target, &patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn operations_are_applied_in_their_order_or_not_at_all() {
        let object = json!({"a": {"b": [1, 2]}, "x/y": 1});
        let patch = json!([
            {"op": "test", "path": "/a/b/1", "value": 2},
            {"op": "add", "path": "/a/b/1", "value": 9},
            {"op": "add", "path": "/a/b/-", "value": 3},
            {"op": "remove", "path": "/a/b/0"},
            {"op": "copy", "from": "/a/b", "path": "/c"},
            {"op": "move", "from": "/x~1y", "path": "/z"},
            {"op": "replace", "path": "/a/b", "value": []},
        ]);
        assert_eq!(
            json_patch(&object, &patch).unwrap(),
            json!({"a": {"b": []}, "c": [9, 2, 3], "z": 1})
        );
        let failing = [
            json!({"op": "remove", "path": "/nope"}),
            json!({"op": "replace", "path": "/a/b/2", "value": 1}),
            json!({"op": "add", "path": "/a/b/7", "value": 1}),
            json!({"op": "add", "path": "/a/b/01", "value": 1}),
            json!({"op": "test", "path": "/a/b/0", "value": 7}),
            json!({"op": "move", "from": "/a", "path": "/a/b"}),
            json!({"op": "jump", "path": "/a"}),
            json!({"op": "add", "path": "/a"}),
            json!({"op": "add", "path": 1, "value": 1}),
        ];
        for operation in failing {
            assert!(json_patch(&object, &json!([operation])).is_err(), "{operation}");
        }
        assert!(json_patch(&object, &json!({})).is_err());
    }
}
