//! What every change has in common, whatever it changes: what was sent, patches, preconditions, options.

use muster_apimachinery::{ApiStatus, Cause, json_patch, merge_patch, strategic_patch};
use muster_model::{FieldError, Problem};
use serde_json::{Value, json};

use super::body;
use super::render::job_selector;
use super::serve::Asked;

/// The content type of configurations that the server applies.
pub(super) const APPLY: &str = "application/apply-patch+yaml";
/// How often a change that was overtaken is made again.
pub(super) const ATTEMPTS: usize = 5;

/// Whether nothing shall be kept.
pub(super) fn is_dry(asked: &Asked) -> Result<bool, ApiStatus> {
    match asked.query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(unsupported_value(asked, "dryRun", (other, &["All"]))),
    }
}

/// A value of an option that is none of those that there are.
pub(super) fn unsupported_value(
    asked: &Asked,
    option: &str,
    (value, known): (&str, &[&str]),
) -> ApiStatus {
    let known: Vec<String> = known.iter().map(|one| format!("{one:?}")).collect();
    let cause = Cause {
        reason: "FieldValueNotSupported".into(),
        message: format!("Unsupported value: {value:?}: supported values: {}", known.join(", ")),
        field: option.into(),
    };
    ApiStatus::invalid(asked.target.info(), &asked.target.name, vec![cause])
}

/// An object that was sent, as what its path says.
pub(super) fn sent(asked: &Asked, mut object: Value) -> Result<Value, ApiStatus> {
    let info = asked.target.info();
    if !object.is_object() {
        return Err(ApiStatus::bad_request(format!("the body must be a {}", info.kind)));
    }
    for (field, expected) in [("apiVersion", info.api_version()), ("kind", info.kind.to_owned())] {
        match object.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => object[field] = expected.into(),
            same if same == expected => {}
            other => {
                return Err(ApiStatus::bad_request(format!(
                    "the {field} in the data ({other}) does not match the {field} of the path ({expected})"
                )));
            }
        }
    }
    // It is shown, and comes back with what was read.
    let shown = job_selector(object["metadata"]["name"].as_str().unwrap_or_default());
    if info.kind == "Job"
        && object["spec"]["selector"] == shown
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.shift_remove("selector");
    }
    let namespace = asked.target.namespace_text();
    if !object.get("metadata").is_some_and(Value::is_object) {
        object["metadata"] = json!({});
    }
    match object["metadata"]["namespace"].as_str().unwrap_or_default() {
        "" => object["metadata"]["namespace"] = namespace.into(),
        same if same == namespace => {}
        other => {
            return Err(ApiStatus::bad_request(format!(
                "the namespace of the provided object ({other}) does not match the namespace of the request ({namespace})"
            )));
        }
    }
    Ok(object)
}

/// A configuration that is applied by the server. Fields have no managers here: what is applied is merged, nothing
/// conflicts, and what an earlier configuration had and this one has not stays.
pub(super) fn applied(asked: &Asked) -> Result<Value, ApiStatus> {
    if asked.query.get("fieldManager").is_none() {
        return Err(ApiStatus::bad_request("fieldManager is required for apply patch"));
    }
    let object = body::yaml(&asked.bytes)?;
    if object.is_object() {
        Ok(object)
    } else {
        Err(ApiStatus::bad_request("the body must be one object"))
    }
}

/// What a request makes of an object.
pub(super) fn changed(asked: &Asked, verb: &str, object: &Value) -> Result<Value, ApiStatus> {
    let info = asked.target.info();
    if verb == "update" {
        return sent(asked, body::object(&asked.headers, &asked.bytes)?);
    }
    let kind = body::media_type(&asked.headers);
    let invalid = |error: &dyn std::fmt::Display| {
        ApiStatus::bad_request(format!("the patch cannot be applied: {error}"))
    };
    let merged = |patch: &Value| {
        let mut new = object.clone();
        merge_patch(&mut new, patch);
        new
    };
    let new = match &*kind {
        "application/merge-patch+json" => {
            let patch = body::json(&asked.bytes)?;
            if !patch.is_object() {
                return Err(invalid(&"a merge patch is a JSON object"));
            }
            merged(&patch)
        }
        APPLY => merged(&applied(asked)?),
        "application/json-patch+json" => {
            json_patch(object, &body::json(&asked.bytes)?).map_err(|error| invalid(&error))?
        }
        "application/strategic-merge-patch+json" if info.is_builtin => {
            strategic_patch(object, &body::json(&asked.bytes)?).map_err(|error| invalid(&error))?
        }
        other => {
            let mut accepted =
                vec!["application/json-patch+json", "application/merge-patch+json", APPLY];
            if info.is_builtin {
                accepted.push("application/strategic-merge-patch+json");
            }
            return Err(body::unsupported(other, &accepted));
        }
    };
    sent(asked, new)
}

/// Refuses what was made from another object than the one that is there, as in Kubernetes.
pub(super) fn preconditions(asked: &Asked, new: &Value, current: &Value) -> Result<(), ApiStatus> {
    let (info, name) = (asked.target.info(), &*asked.target.name);
    let given = |field: &str| new["metadata"][field].as_str().filter(|text| !text.is_empty());
    if given("name").is_some_and(|given| given != name) {
        return Err(ApiStatus::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            given("name").unwrap_or_default()
        )));
    }
    has_uid(asked, given("uid"), current)?;
    let version = current["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if given("resourceVersion").is_some_and(|given| given != version) {
        return Err(ApiStatus::modified(info, name));
    }
    Ok(())
}

/// Refuses when an object must have a uid and has another one.
fn has_uid(asked: &Asked, wanted: Option<&str>, current: &Value) -> Result<(), ApiStatus> {
    let is = uid(current);
    match wanted.filter(|wanted| *wanted != is) {
        None => Ok(()),
        Some(wanted) => {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}"
            );
            Err(ApiStatus::conflict(asked.target.info(), &asked.target.name, &why))
        }
    }
}

/// An object's uid.
pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// What a deletion asks for, from its body or its query.
pub(super) struct Deletion {
    uid: Option<String>,
    pub(super) dry: bool,
}

impl Deletion {
    /// Refuses when it is about another object than the one that is there.
    pub(super) fn check(&self, asked: &Asked, current: &Value) -> Result<(), ApiStatus> {
        has_uid(asked, self.uid.as_deref(), current)
    }
}

pub(super) fn deletion(asked: &Asked) -> Result<Deletion, ApiStatus> {
    let options = body::object(&asked.headers, &asked.bytes)?;
    let policy = options["propagationPolicy"].as_str().or(asked.query.get("propagationPolicy"));
    if policy == Some("Orphan") {
        return Err(ApiStatus::bad_request(
            "propagationPolicy Orphan: replicas do not outlive their job; use Background or Foreground",
        ));
    }
    let dry = options["dryRun"].as_array().is_some_and(|values| !values.is_empty());
    Ok(Deletion {
        uid: options["preconditions"]["uid"].as_str().map(str::to_owned),
        dry: dry || is_dry(asked)?,
    })
}

/// A problem of a field, as clients show it.
pub(super) fn cause(error: &FieldError) -> Cause {
    let reason = match error.problem {
        Problem::Required => "FieldValueRequired",
        Problem::Invalid { .. } => "FieldValueInvalid",
        Problem::WrongType { .. } => "FieldValueTypeInvalid",
        Problem::NotSupported { .. } => "FieldValueNotSupported",
        Problem::Forbidden => "FieldValueForbidden",
        Problem::Duplicate { .. } => "FieldValueDuplicate",
        Problem::TooLong { .. } => "FieldValueTooLong",
    };
    let (field, whole) = (error.path.to_string(), error.to_string());
    let message =
        whole.strip_prefix(&field).map_or(whole.as_str(), |rest| rest.trim_start_matches(": "));
    Cause { reason: reason.into(), message: message.to_owned(), field }
}

#[cfg(test)]
mod tests {
    use muster_model::FieldPath;

    use super::*;

    #[test]
    fn a_cause_says_the_field_once() {
        let path = FieldPath::root().field("spec").field("x");
        let error =
            FieldError::new(path, Problem::Invalid { value: "-1".into() }, "must be at least 0");
        let cause = cause(&error);
        assert_eq!(cause.field, "spec.x");
        assert!(!cause.message.contains("spec.x"), "{}", cause.message);
        assert!(cause.message.contains("must be at least 0"));
    }
}
