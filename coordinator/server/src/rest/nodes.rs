//! Changes of nodes: `kubectl cordon`, `uncordon` and `label`.

use std::collections::BTreeMap;

use muster_apimachinery::{ApiStatus, Cause};
use muster_model::{LABEL_KEY, LABEL_VALUE, is_label_key, is_label_value};
use muster_state::{Body, CordonNode, LabelNode};
use serde_json::Value;

use super::answer::{self, Answer, brain_status};
use super::body;
use super::read::found;
use super::serve::{Asked, RestContext};

pub(super) async fn patch(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let kind = body::media_type(&asked.headers);
    let accepted = ["application/merge-patch+json", "application/strategic-merge-patch+json"];
    if !accepted.contains(&&*kind) {
        return Err(body::unsupported(&kind, &accepted));
    }
    let patch = body::json(&asked.bytes)?;
    // It must be there before anything about it is judged.
    let (object, _) = found(context, asked).await?;
    let name = asked.target.name.clone();
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    let empty = serde_json::Map::new();
    let top = patch.as_object().unwrap_or(&empty);
    for (part, fields) in top {
        for (field, value) in fields.as_object().unwrap_or(&empty) {
            match (part.as_str(), field.as_str()) {
                ("spec", "unschedulable") => {
                    let cordon = value.as_bool().unwrap_or(false);
                    changes.push(Body::CordonNode(CordonNode { name: name.clone(), cordon }));
                }
                ("metadata", "labels") => {
                    let labels = labels(value, &mut wrong);
                    let labels = LabelNode { name: name.clone(), labels, overwrite: true };
                    changes.push(Body::LabelNode(labels));
                }
                ("metadata", "name" | "resourceVersion" | "uid") => {}
                _ => wrong.push(cause(
                    &format!("{part}.{field}"),
                    "of a node only metadata.labels and spec.unschedulable can be patched; `muster nodes taint` taints".into(),
                )),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(ApiStatus::invalid(asked.target.info(), &name, wrong));
    }
    if asked.query.get("dryRun").is_some() {
        return Ok(answer::json(200, &object));
    }
    for change in changes {
        context.brain.submit(None, change).await.map_err(|error| brain_status(&error))?;
    }
    let (object, _) = found(context, asked).await?;
    Ok(answer::json(200, &object))
}

fn cause(field: &str, message: String) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message, field: field.into() }
}

fn labels(value: &Value, wrong: &mut Vec<Cause>) -> BTreeMap<String, Option<String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("metadata.labels[{key}]");
        if !is_label_key(key) {
            wrong.push(cause(&at, format!("Invalid value: {key:?}: {LABEL_KEY}")));
        }
        let text = match value {
            Value::Null => None,
            Value::String(text) if is_label_value(text) => Some(text.clone()),
            other => {
                wrong.push(cause(&at, format!("Invalid value: {other}: {LABEL_VALUE}")));
                None
            }
        };
        labels.insert(key.clone(), text);
    }
    labels
}
