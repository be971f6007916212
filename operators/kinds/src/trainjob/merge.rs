//! Strategic merges of pod templates, as far as patches of a runtime need them (`k8s.io/apimachinery`
//! `strategicpatch`): objects are merged field by field, a null takes a field away, some lists are merged by a key of their
//! items, and all other values are replaced.

use serde_json::{Map, Value};

/// The lists that are merged, and the key of their items.
const KEYED: [(&str, &str); 8] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("schedulingGates", "name"),
    ("volumeMounts", "mountPath"),
    ("ports", "containerPort"),
];

/// Merges `patch` into `base`.
pub(super) fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Some(into) = base.as_object_mut() else { return };
    for (name, value) in fields {
        if value.is_null() {
            into.shift_remove(name);
            continue;
        }
        let slot = into.entry(name.as_str()).or_insert(Value::Null);
        match (key_of(name), slot, value) {
            (Some(key), Value::Array(items), Value::Array(patches)) => {
                merge_items(items, patches, key);
            }
            (_, slot, value) => merge(slot, value),
        }
    }
}

fn key_of(list: &str) -> Option<&'static str> {
    KEYED.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// Items with the key of an item that is there are merged into it, the others are added.
fn merge_items(items: &mut Vec<Value>, patches: &[Value], key: &str) {
    for patch in patches {
        let same = items.iter_mut().find(|item| {
            let value = patch.get(key);
            value.is_some() && item.get(key) == value
        });
        match same {
            Some(item) => merge(item, patch),
            None => items.push(patch.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut base: Value, patch: Value) -> Value {
        merge(&mut base, &patch);
        base
    }

    #[test]
    fn objects_are_merged_and_nulls_take_away() {
        let base = json!({"a": {"b": 1, "c": 2}, "d": 3});
        assert_eq!(
            merged(base, json!({"a": {"b": null, "e": 4}, "d": [1]})),
            json!({"a": {"c": 2, "e": 4}, "d": [1]})
        );
        assert_eq!(merged(json!(1), json!({"a": null, "b": 2})), json!({"b": 2}));
    }

    #[test]
    fn containers_are_merged_by_name_and_tolerations_are_replaced() {
        let base = json!({
            "containers": [{"name": "node", "image": "i"}, {"name": "side"}],
            "tolerations": [{"key": "a"}],
        });
        let patch = json!({
            "containers": [
                {"name": "node", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                {"name": "new"},
            ],
            "tolerations": [{"key": "b"}],
        });
        assert_eq!(
            merged(base, patch),
            json!({
                "containers": [
                    {"name": "node", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                    {"name": "side"},
                    {"name": "new"},
                ],
                "tolerations": [{"key": "b"}],
            })
        );
    }

    #[test]
    fn items_without_a_key_are_added() {
        assert_eq!(
            merged(json!({"env": [{"value": "1"}]}), json!({"env": [{"value": "2"}]})),
            json!({"env": [{"value": "1"}, {"value": "2"}]})
        );
    }
}
