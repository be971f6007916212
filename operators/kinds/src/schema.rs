//! Which fields a manifest may have, their types, and what Muster does with each.
//!
//! The tables follow the published schemas (`k8s.io/api/core/v1`, `kubeflow.org/v1`). Checking against
//! them finds every wrong type and every unknown field, also below fields that Muster does not act
//! on, as an API server would.

pub(crate) mod core;
mod lifecycle;
mod scheduling;
pub(crate) mod training;

use muster_model::{FieldPath, Quantity};
use serde_json::Value;

use crate::findings::Findings;

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    /// Anything at all.
    Any,
    Text,
    Flag,
    Int32,
    Int64,
    /// A number or a text such as `500m`.
    Quantity,
    /// A number or a text, such as a port.
    IntOrText,
    List(&'static Type),
    /// An object with keys of the author's choice.
    Map(&'static Type),
    Object(&'static Object),
}

/// The fields of one type of object.
#[derive(Debug)]
pub(crate) struct Object {
    /// The type's name.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

impl Object {
    /// Whether the type has a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    kind: Type,
    duty: Duty,
}

/// What Muster does with a field.
#[derive(Debug, Clone, Copy)]
enum Duty {
    /// It has an effect, or its absence of effect cannot be noticed.
    Used,
    /// Nothing; the author is told, with this advice.
    Ignored(&'static str),
    /// A job that needs it cannot work; the advice says what to use.
    Refused(&'static str),
}

/// A field that has an effect.
pub(crate) const fn used(name: &'static str, kind: Type) -> Field {
    let duty = Duty::Used;
    Field { name, kind, duty }
}

/// A field without effect that no job misses, such as the name of the cluster's scheduler.
pub(crate) const fn quiet(name: &'static str, kind: Type) -> Field {
    used(name, kind)
}

/// A field without effect that is worth a warning.
pub(crate) const fn ignored(name: &'static str, kind: Type) -> Field {
    instead(name, kind, "")
}

/// As [`ignored`], with what to do instead.
pub(crate) const fn instead(name: &'static str, kind: Type, advice: &'static str) -> Field {
    let duty = Duty::Ignored(advice);
    Field { name, kind, duty }
}

/// A field that makes a job impossible.
pub(crate) const fn refused(name: &'static str, kind: Type, advice: &'static str) -> Field {
    let duty = Duty::Refused(advice);
    Field { name, kind, duty }
}

/// Checks an object and everything below it.
pub(crate) fn check(value: &Value, schema: &'static Object, path: &FieldPath, to: &mut Findings) {
    let Some(entries) = value.as_object() else {
        return to.wrong_type(path, "an object", value);
    };
    for (key, value) in entries {
        let path = path.field(key);
        let Some(field) = schema.fields.iter().find(|field| field.name == key) else {
            to.unknown_field(&path, key, schema.fields.iter().map(|field| field.name));
            continue;
        };
        if value.is_null() {
            continue;
        }
        match field.duty {
            Duty::Used => {}
            // A volume source without details is still one.
            Duty::Refused(advice) if value.is_object() || !is_empty(value) => {
                to.forbidden(&path, format!("not supported yet; {advice}"));
                continue;
            }
            Duty::Ignored(advice) if !is_empty(value) => {
                to.not_acted_on(&path, (schema.name, field.name), advice);
            }
            Duty::Refused(_) | Duty::Ignored(_) => {}
        }
        check_type(value, field.kind, &path, to);
    }
}

/// Whether a value says as little as an absent one.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn check_type(value: &Value, kind: Type, path: &FieldPath, to: &mut Findings) {
    let expected = match kind {
        Type::Any => return,
        Type::Object(schema) => return check(value, schema, path, to),
        Type::List(item) => match value {
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    check_type(value, *item, &path.index(index), to);
                }
                return;
            }
            _ => "a list",
        },
        Type::Map(entry) => match value {
            Value::Object(entries) => {
                for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
                    check_type(value, *entry, &path.field(key), to);
                }
                return;
            }
            _ => "an object",
        },
        Type::Quantity => match value {
            Value::String(_) | Value::Number(_) => {
                if let Err(sentence) = quantity(value) {
                    to.invalid(path, value.clone(), sentence);
                }
                return;
            }
            _ => "a quantity such as 500m or 2Gi",
        },
        Type::Text if value.is_string() => return,
        Type::Text => "a text",
        Type::Flag if value.is_boolean() => return,
        Type::Flag => "true or false",
        Type::Int32 if value.as_i64().is_some_and(|int| i32::try_from(int).is_ok()) => return,
        Type::Int64 if value.is_i64() => return,
        Type::IntOrText if value.is_i64() || value.is_string() => return,
        Type::Int32 => "a whole number of 32 bits",
        Type::Int64 => "a whole number",
        Type::IntOrText => "a whole number or a text",
    };
    to.wrong_type(path, expected, value);
}

/// A quantity from a text or a number, or the sentence that says what is wrong with it.
pub(crate) fn quantity(value: &Value) -> Result<Quantity, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.parse().map_err(|error| format!("the quantity {error}"))
}

#[cfg(test)]
mod tests;
