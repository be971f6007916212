//! Strategic merge patches: merge patches in which lists of things with names are merged by these
//! (`k8s.io/apimachinery/pkg/util/strategicpatch`). Clients send them for kinds that they have compiled in.

use serde_json::{Map, Value};

use crate::patch::PatchError;

/// The field that tells the items of a list apart, by the list's name; the facts are the `patchMergeKey` marks of
/// `k8s.io/api/core/v1` and `meta/v1`. Lists that are not here are replaced as a whole.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "secrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "conditions" | "addresses" => "type",
        "ownerReferences" => "uid",
        _ => return None,
    })
}

/// Lists of texts that are merged as sets.
fn is_set(list: &str) -> bool {
    matches!(list, "finalizers" | "podCIDRs")
}

/// Applies a strategic merge patch.
///
/// # Errors
/// When it is no object, or an item of a merged list lacks its key.
pub fn strategic_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(fields) = patch else {
        return Err(PatchError::Form("a strategic merge patch is a JSON object".into()));
    };
    let mut new = target.clone();
    merge(&mut new, fields)?;
    Ok(new)
}

fn merge(target: &mut Value, patch: &Map<String, Value>) -> Result<(), PatchError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let kept = patch.iter().filter(|(name, _)| !name.starts_with('$'));
            *target =
                Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        None | Some("merge") => {}
        Some(other) => {
            return Err(PatchError::Form(format!(
                "$patch: {other:?} is none of merge, replace, delete"
            )));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(into) = target else { return Ok(()) };
    if let Some(Value::Array(kept)) = patch.get("$retainKeys") {
        into.retain(|name, _| kept.iter().any(|one| one == name.as_str()));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (into.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !name.starts_with('$') {
            field(into, name, value)?;
        }
    }
    // Last, so that what is new has its place too.
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(items)), Value::Array(order)) = (into.get_mut(list), value)
        {
            let key = merge_key(list);
            let of = |item: &Value| match key {
                Some(key) => item[key].clone(),
                None => item.clone(),
            };
            let place = |item: &Value| order.iter().position(|one| of(one) == of(item));
            items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
        }
    }
    Ok(())
}

fn field(into: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), PatchError> {
    match (value, merge_key(name)) {
        (Value::Null, _) => {
            into.shift_remove(name);
        }
        (Value::Object(fields), _) => {
            let target = into.entry(name).or_insert(Value::Null);
            merge(target, fields)?;
        }
        (Value::Array(items), Some(key)) if items.iter().all(Value::is_object) => {
            let target = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if !target.is_array() {
                *target = Value::Array(Vec::new());
            }
            if let Value::Array(old) = target {
                merge_list(old, items, (name, key))?;
            }
        }
        (Value::Array(items), None) if is_set(name) => {
            let target = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(old) = target {
                let new = items.iter().filter(|item| !old.contains(item)).cloned();
                let new: Vec<Value> = new.collect();
                old.extend(new);
            }
        }
        (other, _) => {
            into.insert(name.to_owned(), other.clone());
        }
    }
    Ok(())
}

fn merge_list(
    old: &mut Vec<Value>,
    patch: &[Value],
    (name, key): (&str, &str),
) -> Result<(), PatchError> {
    if patch.iter().any(|item| item["$patch"] == "replace" && item.get(key).is_none()) {
        *old = patch.iter().filter(|item| item.get("$patch").is_none()).cloned().collect();
        return Ok(());
    }
    for item in patch {
        let Value::Object(fields) = item else { continue };
        let Some(id) = fields.get(key) else {
            return Err(PatchError::Form(format!(
                "{name}: an item lacks {key}, which tells items apart"
            )));
        };
        let place = old.iter().position(|one| one.get(key) == Some(id));
        match (place, fields.get("$patch").and_then(Value::as_str)) {
            (Some(place), Some("delete")) => {
                old.remove(place);
            }
            (None, Some("delete")) => {}
            (Some(place), _) => merge(&mut old[place], fields)?,
            (None, _) => {
                let mut new = Value::Object(Map::new());
                merge(&mut new, fields)?;
                old.push(new);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_named_things_are_merged_and_ordered_by_their_names() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]},
            {"name": "b", "image": "y"},
        ], "tolerations": [{"key": "t"}]}, "metadata": {"finalizers": ["f"], "labels": {"l": "1"}}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [
                {"name": "a", "image": "z", "env": [{"name": "L", "value": "2"}]},
                {"name": "b", "$patch": "delete"},
                {"name": "c", "image": "new"},
            ],
            "tolerations": [{"key": "u"}],
        }, "metadata": {"finalizers": ["g"], "labels": {"l": null, "m": "2"}}});
        let expected = json!({"spec": {"containers": [
            {"name": "c", "image": "new"},
            {"name": "a", "image": "z", "env": [{"name": "K", "value": "1"}, {"name": "L", "value": "2"}]},
        ], "tolerations": [{"key": "u"}]}, "metadata": {"finalizers": ["f", "g"], "labels": {"m": "2"}}});
        assert_eq!(strategic_patch(&pod, &patch).unwrap(), expected);
    }

    #[test]
    fn directives_replace_retain_and_take_away() {
        let target =
            json!({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "finalizers": ["f", "g"]});
        let patch = json!({
            "a": {"$patch": "replace", "z": 3},
            "b": {"$retainKeys": ["y"], "y": 5},
            "$deleteFromPrimitiveList/finalizers": ["f"],
        });
        let expected = json!({"a": {"z": 3}, "b": {"y": 5}, "finalizers": ["g"]});
        assert_eq!(strategic_patch(&target, &patch).unwrap(), expected);
        for wrong in
            [json!([]), json!({"a": {"$patch": "x"}}), json!({"containers": [{"image": "x"}]})]
        {
            assert!(strategic_patch(&target, &wrong).is_err(), "{wrong}");
        }
    }
}
